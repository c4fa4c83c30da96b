"""Checking again whenever a file changes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from flowc.discover import PLAN_SUFFIX, files_below

_EVERY_S = 0.5
_SHARE = 0.1  # of a core at most that looking for changes may take, in a project with very many files

Snapshot = dict[str, tuple[int, int]]


def watch(check: Callable[[], Iterable[str]], paths: Sequence[str]) -> NoReturn:
    """Call `check` now and after every change, for ever.

    A change of what? Of the Python files and plans in the paths, of the files that `check` returns, and of
    what lies beside them: that may be the module that was missing.
    """
    also: tuple[str, ...] = ()
    while True:
        # Taken before: what changes while it is being checked is checked once more.
        before = snapshot(paths, also)
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[3J\x1b[H", end="", flush=True)
        also = tuple(check())
        before = snapshot(paths, also) | before
        print("watching for changes; Ctrl-C ends", file=sys.stderr, flush=True)
        while True:
            start = time.monotonic()
            now = snapshot(paths, also)
            if now != before:
                break
            time.sleep(max(_EVERY_S, (time.monotonic() - start) / _SHARE))


def snapshot(paths: Iterable[str], also: Iterable[str]) -> Snapshot:
    """When the files that matter were changed, and how large they are."""
    files: set[Path] = {Path(file).absolute() for file in also}
    for path in map(Path, paths):
        files |= {file.absolute() for file in files_below(path)} if path.is_dir() else {path.absolute()}
    for folder in {file.parent for file in files}:
        files |= {*folder.glob("*.py"), *folder.glob(f"*{PLAN_SUFFIX}")}
    found = {}
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            found[str(file)] = (status.st_mtime_ns, status.st_size)
    return found

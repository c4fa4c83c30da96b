"""Checking again whenever a file changes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from flowc.checks.discover import PLAN_SUFFIX, files_below

_EVERY_S = 0.5
_SHARE = 0.1  # of a core at most that looking for changes may take, in a project with very many files

Snapshot = dict[str, dict[str, tuple[int, int]]]


def watch(check: Callable[[], Iterable[str]], paths: Sequence[str]) -> NoReturn:
    """Call `check` now and after every change, for ever.

    A change of what? Of the Python files and plans in the paths, of the files that `check` returns, and of
    what lies beside them: that may be the module that was missing.
    """
    also: set[str] = set()  # only ever more: a module that stops to import is the one to keep an eye on
    while True:
        # Taken before: what changes while it is being checked is checked once more.
        before = snapshot(paths, also)
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[3J\x1b[H", end="", flush=True)
        also |= set(check())
        # Folders that matter as of now; in those that did before, what is new is a change.
        before = snapshot((), also) | before
        print("watching for changes; Ctrl-C ends", file=sys.stderr, flush=True)
        while True:
            start = time.monotonic()
            now = snapshot(paths, also)
            if now != before:
                break
            time.sleep(max(_EVERY_S, (time.monotonic() - start) / _SHARE))


def snapshot(paths: Iterable[str], also: Iterable[str]) -> Snapshot:
    """The files that matter, by folder: when they were changed, and how large they are."""
    files: set[Path] = {Path(file).absolute() for file in also}
    for path in map(Path, paths):
        files |= {file.absolute() for file in files_below(path)} if path.is_dir() else {path.absolute()}
    found: Snapshot = {}
    for folder in {file.parent for file in files}:
        stamps = found[str(folder)] = {}
        names = os.listdir(folder) if folder.is_dir() else ()
        for name in names:
            with contextlib.suppress(OSError):  # gone meanwhile
                if name.endswith((".py", PLAN_SUFFIX)):
                    status = (folder / name).stat()
                    stamps[name] = (status.st_mtime_ns, status.st_size)
    return found

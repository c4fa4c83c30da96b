"""Files that are there whole or not at all, also after a power failure."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def write_durably(target: Path, pieces: Iterable[bytes | memoryview], mode: int = 0o644) -> None:
    """Write a file under another name, flush it to disk, rename it, flush its folder; or `OSError`."""
    make_folder(target.parent)
    # Unpredictable, as `tempfile` would name it, whose import costs more than writing the file.
    partial = target.parent / f".partial-{os.urandom(8).hex()}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.rename(partial, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    _sync(target.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; what is made is flushed to disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

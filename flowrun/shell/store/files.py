"""Files that are there whole or not at all, also after a power failure."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

PARTIAL = ".partial-"  # what the names of files begin with that are being written
# What a finished file's time of modification is set to, as Nix does: any other tells that it was written to.
SEALED_NS = 1_000_000_000
LARGE_BYTES = 1024 * 1024  # from here on it pays to write, to hash and to flush at the same time
_SYNC_FILE_RANGE_WRITE = 2  # of sync_file_range(2)


class Partial:
    """A new file under a name of its own, until it is whole.

    It is locked (`flock`) as long as somebody writes it: one that is not was left by a process that died.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        while True:
            # Unpredictable, as `tempfile` would name it, whose import costs more than writing the file.
            self.path = folder / f"{PARTIAL}{os.urandom(8).hex()}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self.descriptor = os.open(self.path, flags, 0o600)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            if os.fstat(self.descriptor).st_nlink:  # else it was taken for left before it was locked
                return
            os.close(self.descriptor)

    def write(self, data: memoryview) -> None:
        """Append data. Much of it is on its way to the disk by the time that `seal` waits for the rest."""
        size = len(data)
        while data:
            data = data[os.write(self.descriptor, data) :]
        if size >= LARGE_BYTES:
            _begin_to_flush(self.descriptor, os.lseek(self.descriptor, 0, os.SEEK_CUR) - size, size)

    def seal(self) -> None:
        """Make it read-only, and flush it to disk."""
        os.fchmod(self.descriptor, 0o444)
        os.utime(self.descriptor, ns=(SEALED_NS, SEALED_NS))
        os.fsync(self.descriptor)

    def rename(self, target: Path) -> None:
        """Give it its name, in a folder that is there. `sync` that folder afterwards."""
        os.rename(self.path, target)
        self._close()

    def drop(self) -> None:
        """It is not wanted any more; more than once does nothing."""
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            self._close()

    def _close(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1


def _begin_to_flush(descriptor: int, start: int, size: int) -> None:
    """Have the kernel begin now to write a part of a file to disk, and do not wait for it."""
    import ctypes

    with contextlib.suppress(AttributeError):  # a C library without it: it is written later
        libc = ctypes.CDLL(None)
        libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
        libc.sync_file_range(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)


def remove_left(partial: Path, dry_run: bool = False) -> bool:
    """Remove a file that nobody writes any more; whether it was such a one."""
    try:
        descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Removed while it is locked: who has made it just now finds that out when it gets the lock.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not dry_run:
            os.unlink(partial)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; what is made is flushed to disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Flush a folder to disk: which files are in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

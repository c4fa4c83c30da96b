"""A file that lines are added to, by several processes; when it is full it is put aside and another begun.

FILE is the current one, FILE.1 the one before it. Lines of one `write` stand together. Whoever renames or
removes the file from outside, as logrotate does, finds a new one begun.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from flowc.plan.diagnostics import Place, refuse

_MODE = 0o640  # what clients ask is not everybody's


class Rotating:
    """Opened when it is first written to."""

    def __init__(self, path: Path, bytes_max: int, files: int) -> None:
        """`files` are kept, the current one among them, each of at most `bytes_max` bytes and one write."""
        self._path = path
        self._bytes_max = bytes_max
        self._files = files
        self._file = -1
        self._torn = False

    def write(self, lines: bytes) -> None:
        """Add whole lines. Raises `OSError` when they are not all written."""
        self._follow()
        if os.fstat(self._file).st_size + len(lines) > self._bytes_max:
            self._rotate(len(lines))
        # A line that is half written, as when the disk is full, gets an end, and is no line's beginning.
        data = b"\n" + lines if self._torn else lines
        written = os.write(self._file, data)
        self._torn = written < len(data) and not data[:written].endswith(b"\n")
        if written < len(data):
            raise OSError(f"{written} of {len(data)} bytes were written to {self._path}")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _follow(self) -> None:
        """Have the file open that the path names now."""
        if self._file >= 0 and self._is_current():
            return
        self.close()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def _is_current(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            found, own = os.stat(self._path), os.fstat(self._file)
            return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)
        return False

    def _rotate(self, wanted: int) -> None:
        """Begin another file, unless another process has while this one waited for its turn."""
        fcntl.flock(self._file, fcntl.LOCK_EX)  # ends with the file
        size = os.fstat(self._file).st_size
        if size and size + wanted > self._bytes_max and self._is_current():
            for number in range(self._files - 1, 0, -1):
                before = Path(f"{self._path}.{number - 1}") if number > 1 else self._path
                with contextlib.suppress(FileNotFoundError):
                    os.replace(before, f"{self._path}.{number}")
            if self._files == 1:
                os.unlink(self._path)
        else:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._follow()


def check_writable(file: str) -> None:
    """Refuse (FS291) a log that cannot be written to."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE))
    except OSError as error:
        refuse("FS291", f"the log cannot be written: {(error.strerror or str(error)).lower()}", Place(file))

"""What requests leave with a server for all of its processes: notes in a folder of its own, a file each.

A note is there, whole and for everybody, from the moment at which its file has its name. Nobody has to be
told, and a process that is started again finds what there is.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Note(NamedTuple):
    """A note as it was read. The same one is returned until another is in its place."""

    text: bytes
    inode: int
    changed_ns: int


class Board:
    """Notes by their names, which may be any text."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is the server's; one process alone may have one that goes with it."""
        self._own = None if folder is not None else tempfile.TemporaryDirectory(prefix="flowserve-")
        self._folder = folder or Path(self._own.name if self._own else "")
        self._folder.mkdir(exist_ok=True)
        self._read: dict[str, Note] = {}
        self._numbers = itertools.count()

    def get(self, name: str) -> Note | None:
        """The note that is there now."""
        path = self._path(name)
        try:
            status = os.stat(path)
            note = self._read.get(name)
            if note is None or (note.inode, note.changed_ns) != (status.st_ino, status.st_mtime_ns):
                with open(path, "rb") as file:
                    status = os.fstat(file.fileno())
                    note = self._read[name] = Note(file.read(), status.st_ino, status.st_mtime_ns)
            return note
        except FileNotFoundError:
            self._read.pop(name, None)
            return None

    def add(self, name: str, text: bytes) -> bool:
        """Leave a note. False where there is one of that name: it stays."""
        with self._written(text) as written:
            try:
                os.link(written, self._path(name))
            except FileExistsError:
                return False
        return True

    def put(self, name: str, text: bytes) -> None:
        """Leave a note, in place of one that may be there."""
        with self._written(text) as written:
            os.replace(written, self._path(name))

    def remove(self, name: str) -> None:
        """Take a note away, if it is there."""
        self._path(name).unlink(missing_ok=True)

    def texts(self) -> list[bytes]:
        """All notes, the oldest first."""
        found: list[tuple[int, bytes]] = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
                if not entry.name.startswith("."):
                    found.append((entry.stat().st_mtime_ns, Path(entry.path).read_bytes()))
        return [text for _, text in sorted(found)]

    def _path(self, name: str) -> Path:
        return (
            self._folder / hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        )

    @contextlib.contextmanager
    def _written(self, text: bytes) -> Iterator[Path]:
        """A file with a text, whose name nobody looks for."""
        path = self._folder / f".{os.getpid()}-{next(self._numbers)}"
        try:
            path.write_bytes(text)
            yield path
        finally:
            path.unlink(missing_ok=True)

"""POSIX shared memory that clients register: read and written, never mapped.

Nothing from outside is trusted: a key is a bare name, never a path; what it names must be a regular file of
the server's own user, and no link. A mapping would end the process by a signal if a client cut its memory
short (and would show what the client changes after it was checked), so bytes are copied with `pread` and
`pwrite`, which say so instead.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.shared import NoRegion, Region
from flowserve.core.wording import cut
from flowserve.shell.wire.board import Board, Note

_REGIONS_MAX = 1024
_BYTES_MAX = 2**30  # of one region: a file with holes may be larger than the memory that a copy of it takes
_KEY = re.compile(r"/?([^/\0]{1,250})")


class Registered(msgspec.Struct, frozen=True):
    """A region as a client registered it: `size` bytes from `offset` of the memory `key`."""

    name: str
    key: str
    offset: int
    size: int = msgspec.field(name="byte_size")


_registered = msgspec.json.Decoder(Registered).decode


class SharedMemory:
    """The regions of a server by the names that clients gave them, which are on its `board`.

    A process opens a region when it is registered there, or asked for the first time.
    """

    def __init__(self, board: Board, folder: Path = Path("/dev/shm")) -> None:
        self._board = board
        self._folder = folder
        self._open: dict[str, tuple[Note, _Region]] = {}

    def get(self, name: str) -> Region:
        """Return a region. Raises `Refused` FS232, and FS231 if what was registered is not there any more."""
        note = self._board.get(name)
        if note is None:
            self._open.pop(name, None)
            raise NoRegion(name)
        known = self._open.get(name)
        if known is None or known[0] is not note:
            known = self._open[name] = note, self._opened(_registered(note.text))
        return known[1]

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Open what `shm_open(key)` would. Raises `Refused` FS231."""
        wanted = Registered(name, key, offset, size)
        if self._board.get(name) is not None:
            refuse("FS231", f"the shared-memory region `{cut(name)}` is registered already")
        if len(self._board.texts()) >= _REGIONS_MAX:
            refuse("FS231", f"there are {_REGIONS_MAX} shared-memory regions, which is the limit")
        region = self._opened(wanted)
        if not self._board.add(name, msgspec.json.encode(wanted)):
            refuse("FS231", f"the shared-memory region `{cut(name)}` is registered already")
        if (note := self._board.get(name)) is not None:
            self._open[name] = note, region

    def unregister(self, name: str = "") -> None:
        """Forget a region, or all; requests that have it keep it. One that is not there is no error."""
        for known in [name] if name else [region.name for region in self._all()]:
            self._board.remove(known)
            self._open.pop(known, None)

    def status(self, name: str = "") -> list[Registered]:
        """Describe a region, or all. Raises `Refused` FS232."""
        if not name:
            return self._all()
        self.get(name)
        return [region for region in self._all() if region.name == name]

    def _all(self) -> list[Registered]:
        return [_registered(text) for text in self._board.texts()]

    def _opened(self, wanted: Registered) -> _Region:
        key, offset, size = wanted.key, wanted.offset, wanted.size
        if size > _BYTES_MAX:
            refuse("FS231", f"`byte_size` must be at most {_BYTES_MAX}, got {size}")
        found = _KEY.fullmatch(key)
        if not found or found[1] in (".", ".."):
            refuse("FS231", f"`key` must be the name of POSIX shared memory, as in `/name`, got `{cut(key)}`")
        try:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            file = os.open(self._folder / found[1], flags)
        except OSError as error:
            refuse("FS231", f"the shared memory `{cut(key)}` cannot be opened: {_reason(error)}")
        region = _Region(wanted, file)  # closes the file with itself
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            refuse("FS231", f"the shared memory `{cut(key)}` must be of the server's own user")
        if offset + size > status.st_size:
            refuse(
                "FS231", f"`offset` and `byte_size` must be within the {status.st_size} bytes of `{cut(key)}`"
            )
        return region


class _Region:
    def __init__(self, registered: Registered, file: int) -> None:
        self._name = registered.name
        self._offset = registered.offset
        self._size = registered.size
        self._file = file

    def __del__(self) -> None:
        os.close(self._file)

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        data = os.pread(self._file, size, self._offset + offset)
        if len(data) < size:
            refuse("FS232", f"the shared-memory region `{cut(self._name)}` has been cut short by its owner")
        return data

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        if self._offset + offset + len(data) > os.fstat(self._file).st_size:
            refuse("FS232", f"the shared-memory region `{cut(self._name)}` has been cut short by its owner")
        written = 0
        while written < len(data):
            written += os.pwrite(self._file, memoryview(data)[written:], self._offset + offset + written)

    def _check(self, offset: int, size: int) -> None:
        if offset + size > self._size:
            refuse(
                "FS232",
                f"bytes {offset} to {offset + size} are not within the {self._size} bytes of the "
                f"shared-memory region `{cut(self._name)}`",
            )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

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
from typing import Any

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.shared import Region
from flowserve.core.wording import cut

_REGIONS_MAX = 1024
_BYTES_MAX = 2**30  # of one region: a file with holes may be larger than the memory that a copy of it takes
_KEY = re.compile(r"/?([^/\0]{1,250})")


class SharedMemory:
    """The regions of a server by the names that clients gave them."""

    def __init__(self, folder: Path = Path("/dev/shm")) -> None:
        self._folder = folder
        self._regions: dict[str, _Region] = {}

    def get(self, name: str) -> Region:
        """Return a region. Raises `Refused` FS232."""
        region = self._regions.get(name)
        if region is None:
            refuse("FS232", f"there is no shared-memory region `{cut(name)}`: it must be registered first")
        return region

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Open what `shm_open(key)` would, `size` bytes from `offset` of it. Raises `Refused` FS231."""
        if name in self._regions:
            refuse("FS231", f"the shared-memory region `{cut(name)}` is registered already")
        if len(self._regions) >= _REGIONS_MAX:
            refuse("FS231", f"there are {_REGIONS_MAX} shared-memory regions, which is the limit")
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
        region = _Region(name, key, file, offset, size)  # closes the file with itself
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            refuse("FS231", f"the shared memory `{cut(key)}` must be of the server's own user")
        if offset + size > status.st_size:
            refuse(
                "FS231", f"`offset` and `byte_size` must be within the {status.st_size} bytes of `{cut(key)}`"
            )
        self._regions[name] = region

    def unregister(self, name: str = "") -> None:
        """Forget a region, or all; requests that have it keep it. One that is not there is no error."""
        if name:
            self._regions.pop(name, None)
        else:
            self._regions.clear()

    def status(self, name: str = "") -> list[dict[str, Any]]:
        """Describe a region, or all. Raises `Refused` FS232."""
        if name:
            self.get(name)
        return [
            {"name": region.name, "key": region.key, "offset": region.offset, "byte_size": region.size}
            for region in self._regions.values()
            if name in ("", region.name)
        ]


class _Region:
    def __init__(self, name: str, key: str, file: int, offset: int, size: int) -> None:
        self.name = name
        self.key = key
        self.offset = offset
        self.size = size
        self._file = file

    def __del__(self) -> None:
        os.close(self._file)

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        data = os.pread(self._file, size, self.offset + offset)
        if len(data) < size:
            refuse("FS232", f"the shared-memory region `{cut(self.name)}` has been cut short by its owner")
        return data

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        if self.offset + offset + len(data) > os.fstat(self._file).st_size:
            refuse("FS232", f"the shared-memory region `{cut(self.name)}` has been cut short by its owner")
        written = 0
        while written < len(data):
            written += os.pwrite(self._file, memoryview(data)[written:], self.offset + offset + written)

    def _check(self, offset: int, size: int) -> None:
        if offset + size > self.size:
            refuse(
                "FS232",
                f"bytes {offset} to {offset + size} are not within the {self.size} bytes of the "
                f"shared-memory region `{cut(self.name)}`",
            )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

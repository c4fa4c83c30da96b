"""Shared memory as a request names it. The memory itself is the host's: `flowserve.shell.wire.shared_memory`.

Source: Triton's `extension_shared_memory.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.wording import cut


class Region(Protocol):
    """A registered piece of memory that a client shares. Both raise `Refused` FS232 outside its bounds."""

    def read(self, offset: int, size: int) -> bytes:
        """Return a copy: what the client does to its memory later must not change a checked request."""

    def write(self, offset: int, data: bytes) -> None:
        """Copy an output to its place."""


Regions = Callable[[str], Region]
"""From a region's name to the region. Raises `Refused` FS232 where there is none."""


class NoRegion(Refused):
    """FS232: no region of this name is registered."""

    def __init__(self, name: str) -> None:
        message = f"there is no shared-memory region `{cut(name)}`: it must be registered first"
        super().__init__(Diagnostic("FS232", message))


class Slot(msgspec.Struct, frozen=True):
    """Where in which region a tensor stands: `offset` and `size` in bytes, from the region's beginning."""

    name: str
    region: Region
    offset: int
    size: int

    def put(self, data: bytes, at: str) -> dict[str, str | int]:
        """Write an output, and return the parameters that say so. Raises `Refused` FS232 if it is larger."""
        if len(data) > self.size:
            refuse("FS232", f"{at} needs {len(data)} bytes, but {self.size} were given to it")
        self.region.write(self.offset, data)
        where: dict[str, str | int] = {
            "shared_memory_region": self.name,
            "shared_memory_byte_size": len(data),
        }
        return where | ({"shared_memory_offset": self.offset} if self.offset else {})


def no_regions(name: str) -> Region:
    """What a host without shared memory gives as `Regions`."""
    raise NoRegion(name)

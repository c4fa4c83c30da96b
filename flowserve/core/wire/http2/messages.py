"""gRPC's messages in the data of a stream: a length before each.

Sources: gRPC's `PROTOCOL-HTTP2.md` and `compression.md`.
"""

from __future__ import annotations

from typing import NamedTuple

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.coding import unpacked

CODINGS = ("identity", "deflate", "gzip")
"""Of messages. What gRPC calls deflate is the zlib format, as HTTP's is."""
PREFIX_BYTES = 5


class Message(NamedTuple):
    """A message as it came."""

    data: bytes
    compressed: bool


class Messages:
    """Takes the bytes of one stream apart into messages of at most `bytes_max`."""

    __slots__ = ("_at", "_bytes_max", "_pieces", "_size", "_whole")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._pieces: list[bytes] = []
        self._size = 0  # of what is here, from `_at` on
        self._at = 0  # in the first piece: what is before it has been taken
        self._whole = 0  # the length of the next message with its prefix, 0 while that is not known

    @property
    def missing(self) -> int:
        """How many bytes of the next message are still to come; 0 when its length is not known yet."""
        return max(0, self._whole - self._size)

    @property
    def length(self) -> int:
        """Of the next message; 0 when it is not known yet."""
        return self._whole

    @property
    def empty(self) -> bool:
        """Whether nothing is left of a message."""
        return not self._size

    def feed(self, data: bytes) -> None:
        """Add what came. Raises `Refused` FS208 for a message that will be too long, FS201 for none."""
        if data:
            self._pieces.append(data)
            self._size += len(data)
            self._look()

    def next(self) -> Message | None:
        """Return the next message if all of it is here. Raises `Refused`, of the one after it."""
        whole = self._whole
        if not whole or self._size < whole:
            return None
        self._join()
        at, data = self._at, self._pieces[0]
        message = Message(data[at + PREFIX_BYTES : at + whole], data[at] == 1)
        self._at += whole
        self._size -= whole
        self._whole = 0
        if not self._size:
            self._pieces.clear()
            self._at = 0
        self._look()
        return message

    def _look(self) -> None:
        if self._whole or self._size < PREFIX_BYTES:
            return
        self._join()
        at, data = self._at, self._pieces[0]
        length = int.from_bytes(data[at + 1 : at + PREFIX_BYTES])
        if data[at] > 1:
            refuse("FS201", f"a message must begin with a byte of 0 or 1, got {data[at]}")
        if length > self._bytes_max:
            refuse("FS208", f"the message must be at most {self._bytes_max} bytes, got {length}")
        self._whole = length + PREFIX_BYTES

    def _join(self) -> None:
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]


def unpacked_message(data: bytes, coding: str, bytes_max: int) -> bytes:
    """Return a message that says that it is compressed. Raises `Refused` FS201, FS208."""
    if coding == "identity":
        refuse("FS201", "a message says that it is compressed, but `grpc-encoding` does not say how")
    return unpacked(data, coding, bytes_max)


def prefix(length: int, compressed: bool = False) -> bytes:
    """Write what stands before a message."""
    return compressed.to_bytes() + length.to_bytes(4)

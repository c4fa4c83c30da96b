"""The bytes that come over an HTTP/2 connection, taken apart into frames (RFC 9113, 4 and 6.10).

Frames that make work but bring nothing are bounded by an allowance, which answers and time refill.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from flowserve.core.wire.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    FRAME_BYTES_MAX,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    PREFACE,
    SETTINGS,
    STREAM_MAX,
    Broken,
    BrokenStream,
    ErrorCode,
    block_of,
)
from flowserve.shell.wire.http2.streams import Carrier, Stream

# Frames that bring nothing: what a peer may send of them at once, and how that grows again.
_ALLOWANCE = 1000.0
_ALLOWANCE_PER_S = 200.0
_ALLOWANCE_PER_ANSWER = 4.0


class Owner(Carrier, Protocol):
    """What the receiving half needs of its connection."""

    @property
    def deaf(self) -> bool:
        """Whether what still arrives is dropped."""

    def write(self, data: bytes) -> None:
        """Send a frame."""

    def begin(self, stream: Stream) -> None:
        """Give a stream that was opened its call, or end it."""

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream, and say why."""

    def drop(self, stream: Stream) -> None:
        """End a stream that the peer has ended."""

    def ponged(self, payload: bytes) -> None:
        """Hear the answer to a ping."""

    def bidden_farewell(self) -> None:
        """Hear that the peer will open no more streams."""


class Framing(ABC):
    """Of one connection. What each frame means, its subclass says in `_handlers`."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._limits = owner.limits
        self.settled = False
        """Whether the peer has sent what it must send first."""
        self._rest = b""  # an incomplete frame
        self._greeted = False
        self._block: tuple[int, int, bytearray] | None = None  # of stream and flags, to be continued
        self._allowance = _ALLOWANCE
        self._heard_s = 0.0
        self._rest_s = self._block_s = math.inf  # since when a frame, or a header block, is arriving
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            HEADERS: self._on_headers,
            CONTINUATION: self._on_continuation,
        }

    def feed(self, data: bytes, now: float) -> None:
        """Take what has come. Raises `Broken`."""
        self._heard_s = now
        if self._rest:
            data = self._rest + data
        at = self._take(data)
        if at == len(data):
            if self._rest:
                self._rest, self._rest_s = b"", math.inf
        else:
            if at or not self._rest:
                self._rest_s = now
            self._rest = data[at:] if at else data

    def check(self, now: float, passed_s: float) -> None:
        """Refill the allowance of `passed_s`. Raises `Broken` for what takes too long."""
        self._allowance = min(_ALLOWANCE, self._allowance + passed_s * _ALLOWANCE_PER_S)
        if now > self._block_s + self._limits.head_s or now > self._rest_s + self._limits.body_s:
            raise Broken(ErrorCode.ENHANCE_YOUR_CALM, "a frame took too long")

    @abstractmethod
    def _on_block(self, flags: int, number: int, block: bytes) -> None:
        """Take the whole header block of a stream."""

    @abstractmethod
    def _on_broken(self, number: int, broken: BrokenStream) -> None:
        """End a stream whose frame broke the rules."""

    def _take(self, data: bytes) -> int:
        """Take the frames that are complete. Returns where the rest begins. Raises `Broken`."""
        at, end = 0, len(data)
        if not self._greeted:
            if data[: len(PREFACE)] != PREFACE[:end]:
                raise Broken(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
            if end < len(PREFACE):
                return 0
            self._greeted, at = True, len(PREFACE)
        while end - at >= HEAD_BYTES:
            high, low, kind, flags, number = HEAD.unpack_from(data, at)
            length = high << 8 | low
            if length > FRAME_BYTES_MAX:
                raise Broken(ErrorCode.FRAME_SIZE_ERROR, f"a frame may have {FRAME_BYTES_MAX} bytes")
            begin = at + HEAD_BYTES
            if begin + length > end:
                break
            at = begin + length
            number &= STREAM_MAX
            if (self._block is not None and kind != CONTINUATION) or (
                not self.settled and (kind != SETTINGS or flags & ACK)
            ):
                raise Broken(ErrorCode.PROTOCOL_ERROR, "another frame is due first")
            handler = self._handlers.get(kind)
            if handler is None:  # what is not known means nothing
                self._spend()
                continue
            try:
                handler(flags, number, data[begin:at])
            except BrokenStream as broken:
                self._on_broken(number, broken)
            if self._owner.deaf:
                return end
        return at

    def _spend(self) -> None:
        self._allowance -= 1
        if self._allowance < 0:
            raise Broken(ErrorCode.ENHANCE_YOUR_CALM, "there are too many frames that bring nothing")

    def _refill(self) -> None:
        """Allow more for an answer."""
        if self._allowance < _ALLOWANCE:
            self._allowance += _ALLOWANCE_PER_ANSWER

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "a client's streams have odd numbers")
        block = block_of(flags, number, payload)
        if flags & END_HEADERS:
            self._on_block(flags, number, block)
        else:
            self._block, self._block_s = (number, flags, bytearray(block)), self._heard_s

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "there is nothing to continue")
        self._spend()
        _, first, block = self._block
        block += payload
        if len(block) > self._limits.head_bytes:
            most = self._limits.head_bytes
            raise Broken(ErrorCode.ENHANCE_YOUR_CALM, f"a header block may have {most} bytes")
        if flags & END_HEADERS:
            self._block, self._block_s = None, math.inf
            self._on_block(first, number, bytes(block))

"""The sending half of an HTTP/2 connection: what the peer's windows let through, and what waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from flowserve.core.wire.http2.frames import (
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    WINDOW,
    WINDOW_MAX,
    Broken,
    BrokenStream,
    ErrorCode,
    data_head,
    frame,
)
from flowserve.core.wire.http2.hpack import TABLE_BYTES_MAX
from flowserve.core.wire.http2.messages import PREFIX_BYTES, prefix
from flowserve.core.wire.http2.rpc import ANSWER, OK

# The beginnings of frames that all answers have, up to the number of the stream.
_ANSWER_HEAD = frame(HEADERS, END_HEADERS, 0, ANSWER)[:5]
_OK_HEAD = frame(HEADERS, END_HEADERS | END_STREAM, 0, OK)[:5]
_LAST = END_HEADERS | END_STREAM
# A larger frame would only make others wait longer.
_FRAME_BYTES_MAX = 2**16


class Outgoing:
    """What is to be sent on one stream."""

    __slots__ = ("last", "number", "parts", "queued", "stuck", "unsent_bytes", "waiting", "window")

    def __init__(self, number: int, window: int) -> None:
        self.number = number
        self.window = window
        self.parts: deque[memoryview] | None = None  # made for what does not go out at once
        self.unsent_bytes = 0
        self.last = b""
        """The header block that ends the stream, once everything before it is sent."""
        self.queued = False
        self.waiting = False
        self.stuck = 0.0, 0
        """When it was last seen to move, and how much was unsent then."""


class Sender:
    """Writes answers.

    `ended` hears of each stream whose last frame is written, `drained` of one that had to wait and has
    nothing to send any more.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        ended: Callable[[Outgoing], None],
        drained: Callable[[Outgoing], None],
    ) -> None:
        self._transport = transport
        self._ended = ended
        self._drained = drained
        self._ready: deque[Outgoing] = deque()  # have something to send, and a window for it
        self._frame_max = FRAME_BYTES_MAX
        self._window = WINDOW
        self.first_window = WINDOW
        """Of a new stream."""
        self._first = b""  # what the next header block must begin with
        self._table_bytes = TABLE_BYTES_MAX
        self.writable = True
        self.unsent_bytes = 0
        """Of all streams: what waits for the peer."""

    def answer(self, out: Outgoing, message: bytes) -> bool:
        """Send a whole answer of one message at once, all or nothing. Returns whether it went out."""
        size = len(message) + PREFIX_BYTES
        if (
            size > out.window
            or size > self._window
            or size > self._frame_max
            or self._ready
            or self._first
            or not self.writable
        ):
            return False
        self._window -= size
        stream = out.number.to_bytes(4)
        self._transport.write(
            b"".join(
                (
                    _ANSWER_HEAD,
                    stream,
                    ANSWER,
                    size.to_bytes(3),
                    b"\0\0",
                    stream,
                    b"\0",
                    (size - PREFIX_BYTES).to_bytes(4),
                    message,
                    _OK_HEAD,
                    stream,
                    OK,
                )
            )
        )
        return True

    def begin(self, out: Outgoing, block: bytes) -> None:
        """Send the header block before messages."""
        self._transport.write(frame(HEADERS, END_HEADERS, out.number, self._first + block))
        self._first = b""

    def message(self, out: Outgoing, message: bytes, compressed: bool) -> None:
        """Send a message, as soon as it may be."""
        if out.parts is None:
            out.parts = deque()
        # The prefix would be a frame of its own: it goes with as much as fits into its frame.
        first = self._frame_max - PREFIX_BYTES
        out.parts.append(memoryview(prefix(len(message), compressed) + message[:first]))
        if len(message) > first:
            out.parts.append(memoryview(message)[first:])
        out.unsent_bytes += len(message) + PREFIX_BYTES
        self.unsent_bytes += len(message) + PREFIX_BYTES
        self._enqueue(out)
        self.pump()
        out.waiting = bool(out.parts)

    def end(self, out: Outgoing, block: bytes) -> None:
        """Send the header block that ends a stream, after its messages."""
        out.last = block
        if not out.parts:
            self._end(out)

    def drop(self, out: Outgoing) -> None:
        """Forget what a stream still had to send."""
        if out.parts:
            self.unsent_bytes -= out.unsent_bytes
            out.unsent_bytes = 0
            out.parts.clear()

    def widen(self, out: Outgoing | None, more: int) -> None:
        """Let more be sent: on one stream, or in all. Raises `Broken` or `BrokenStream`."""
        if out is None:
            self._window += more
            if self._window > WINDOW_MAX:
                raise Broken(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is above 2^31 - 1")
        else:
            out.window += more
            if out.window > WINDOW_MAX:
                raise BrokenStream(ErrorCode.FLOW_CONTROL_ERROR, "the stream's window is above 2^31 - 1")
            self._enqueue(out)
        if self._ready:
            self.pump()

    def heed(self, settings: Iterable[tuple[int, int]], streams: Iterable[Outgoing]) -> None:
        """Take the peer's settings, as far as they are about sending. Raises `Broken`."""
        for key, value in settings:
            if key == MAX_FRAME_SIZE:
                self._frame_max = min(value, _FRAME_BYTES_MAX)
            elif key == HEADER_TABLE_SIZE and value < self._table_bytes:
                # The table is not used, but that it is smaller now has to be said. None is as small as any.
                self._table_bytes, self._first = 0, b"\x20"
            elif key == INITIAL_WINDOW_SIZE:
                more, self.first_window = value - self.first_window, value
                for out in streams:
                    out.window += more
                    if out.window > WINDOW_MAX:
                        raise Broken(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is above 2^31 - 1")
                    self._enqueue(out)
        self.pump()

    def pump(self) -> None:
        """Send what may be sent, the streams in turn, a frame each."""
        ready = self._ready
        while ready and self._window > 0 and self.writable:
            out = ready.popleft()
            out.queued = False
            if not out.parts or out.window <= 0:
                continue
            part = out.parts[0]
            size = min(len(part), out.window, self._window, self._frame_max)
            self._transport.writelines((data_head(size, 0, out.number), part[:size]))
            self._window -= size
            out.window -= size
            out.unsent_bytes -= size
            self.unsent_bytes -= size
            if size == len(part):
                out.parts.popleft()
            else:
                out.parts[0] = part[size:]
            if out.parts:
                self._enqueue(out)
            elif out.last:
                self._end(out)
            elif out.waiting:
                out.waiting = False
                self._drained(out)

    def _enqueue(self, out: Outgoing) -> None:
        if out.parts and out.window > 0 and not out.queued:
            out.queued = True
            self._ready.append(out)

    def _end(self, out: Outgoing) -> None:
        self._transport.write(frame(HEADERS, _LAST, out.number, self._first + out.last))
        self._first = b""
        self._ended(out)

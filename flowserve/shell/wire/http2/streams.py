"""One stream of an HTTP/2 connection: a gRPC call, as the bytes of it come and go."""

from __future__ import annotations

import math
from typing import Protocol

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.wire.http2.frames import BrokenStream, ErrorCode
from flowserve.core.wire.http2.messages import PREFIX_BYTES, Messages, unpacked_message
from flowserve.core.wire.http2.rpc import ANSWER, ANSWERS, OK, Head, plain, refusal_trailers, trailers
from flowserve.core.wire.limits import Limits
from flowserve.shell.wire.http2.sending import Outgoing, Sender

WINDOW_BYTES = 2**18
"""What a client may send of a stream unasked. A longer message is let through once its length is known."""
_CUT_SHORT = Refused(Diagnostic("FS201", "the request must be whole messages, but ends within one"))
_LATE = "[FS201] the request must arrive in time: this one took too long"


class Call(Protocol):
    """What answers a stream. It hears of nothing any more once it has ended its stream."""

    @property
    def ready(self) -> bool:
        """Whether it takes another message now; after it has become so again, it calls `Stream.pull`."""

    @property
    def patient(self) -> bool:
        """Whether the client may take its time between messages."""

    def message(self, data: bytes, compressed: bool) -> None:
        """Take a message."""

    def ended(self) -> None:
        """Hear that there will be no more messages."""

    def cancel(self) -> None:
        """Hear that nobody waits for the answer any more."""


class Carrier(Protocol):
    """What a stream needs of its connection."""

    limits: Limits
    sender: Sender
    reserved_bytes: int
    """Of all streams: long messages that are let through."""

    @property
    def peer(self) -> object:
        """Who is at the other end."""

    @property
    def local(self) -> bool:
        """Whether the client is on this host."""

    def now(self) -> float:
        """Seconds, on the loop's clock."""

    def widen(self, stream: Stream, more: int) -> None:
        """Let the client send more."""

    def answer(self, stream: Stream, message: bytes) -> bool:
        """Send a whole answer at once. Returns whether that could be."""


class Stream(Outgoing):
    """A call on its way. What a `Call` says to it goes to the client, unless that has left."""

    __slots__ = (
        "begun",
        "call",
        "connection",
        "due_s",
        "ended",
        "expires_s",
        "head",
        "messages",
        "over",
        "received_bytes",
        "reserved_bytes",
        "told",
        "window_in",
    )

    def __init__(self, connection: Carrier, number: int, head: Head, window: int) -> None:
        """`window` is what may be sent."""
        super().__init__(number, window)
        self.connection = connection
        self.head = head
        self.call: Call | None = None
        self.messages: Messages | None = None  # made for what does not come in one piece
        self.window_in = WINDOW_BYTES
        self.ended = False  # the client has sent all
        self.told = False  # and the call has heard so
        self.begun = False  # the answer has begun
        self.over = False  # it has ended, or the stream was reset
        self.received_bytes = 0
        self.reserved_bytes = 0
        self.due_s = math.inf
        """By when what is arriving must be here, on the loop's clock."""
        self.expires_s = math.inf
        """When the client's own deadline is."""

    # What comes

    def take(self, payload: bytes, length: int, last: bool) -> None:
        """Take data, of a frame of `length` bytes. Raises `BrokenStream`."""
        self.window_in -= length
        if self.window_in < 0:
            raise BrokenStream(ErrorCode.FLOW_CONTROL_ERROR, "the stream's window is used up")
        self.received_bytes += len(payload)
        if last:
            self.end()
        call = self.call
        if call is None:  # refused before all of it was here
            return
        if last and self.messages is None and call.ready and self._is_message(payload):
            self.told = True
            call.message(payload[PREFIX_BYTES:], payload[0] == 1)
            if self.call is not None:
                call.ended()
            return
        if self.messages is None:
            self.messages = Messages(self.connection.limits.body_bytes)
        try:
            self.messages.feed(payload)
        except Refused as refused:
            self.refuse(refused)
        else:
            self.pull()

    def end(self) -> None:
        """Hear that the client has sent all. Raises `BrokenStream`."""
        self.ended = True
        self.due_s = math.inf
        if self.head.length is not None and self.head.length != self.received_bytes:
            raise BrokenStream(ErrorCode.PROTOCOL_ERROR, "`content-length` is not what has come")

    def pull(self) -> None:
        """Give the call what messages are here, as far as it takes them, and let more come."""
        messages = self.messages
        while (call := self.call) is not None and call.ready and messages is not None:
            try:
                message = messages.next()
            except Refused as refused:
                self.refuse(refused)
                return
            if message is None:
                break
            self.release()
            call.message(message.data, message.compressed)
        if (call := self.call) is None:
            return
        if not self.ended:
            self._let_more()
        elif call.ready and not self.told:
            if messages is not None and not messages.empty:
                self.refuse(_CUT_SHORT)
            else:
                self.told = True
                call.ended()

    def unpacked(self, data: bytes, compressed: bool) -> bytes:
        """Return a message as it was before it was compressed, if it was. Raises `Refused` FS201, FS208."""
        if not compressed:
            return data
        return unpacked_message(data, self.head.coding, self.connection.limits.body_bytes)

    def release(self) -> None:
        """Have no long message on its way any more."""
        self.connection.reserved_bytes -= self.reserved_bytes
        self.reserved_bytes = 0

    def check(self, now: float) -> None:
        """Act on deadlines that have passed. Raises `BrokenStream` where the client does not read."""
        if now > self.expires_s or now > self.due_s:
            if (call := self.call) is not None:
                self.fail("DEADLINE_EXCEEDED", _LATE if now > self.due_s else "the deadline has passed")
                call.cancel()
            self.expires_s = self.due_s = math.inf
        if self.parts:
            since_s, unsent_bytes = self.stuck
            if self.unsent_bytes != unsent_bytes or not since_s:
                self.stuck = now, self.unsent_bytes
            elif now > since_s + self.connection.limits.idle_s:
                raise BrokenStream(ErrorCode.CANCEL, "the client does not read")

    def _is_message(self, payload: bytes) -> bool:
        """Whether data is one message and no more, as most calls are."""
        length = len(payload) - PREFIX_BYTES
        return (
            0 <= length <= self.connection.limits.body_bytes
            and int.from_bytes(payload[1:PREFIX_BYTES]) == length
            and payload[0] < 2
        )

    def _let_more(self) -> None:
        messages, connection = self.messages, self.connection
        limits = connection.limits
        assert self.call is not None
        if messages is None or messages.empty:
            if self.call.patient:
                self.due_s = math.inf
        elif self.due_s == math.inf:
            self.due_s = connection.now() + limits.body_s
        if messages is not None and messages.missing > self.window_in:
            length, most = messages.length, 2 * limits.body_bytes + PREFIX_BYTES
            if connection.reserved_bytes + length > most:
                why = f"the messages on their way over one connection may have {most} bytes in all"
                self.refuse(Refused(Diagnostic("FS208", why)))
                return
            self.reserved_bytes = length
            connection.reserved_bytes += length
            self.due_s += messages.missing / limits.body_bytes_per_s
            connection.widen(self, messages.missing - self.window_in + WINDOW_BYTES)
        elif self.window_in < WINDOW_BYTES // 2 and self.call.ready:
            connection.widen(self, WINDOW_BYTES - self.window_in)

    # What goes

    def answer(self, message: bytes, coding: str = "") -> None:
        """Send the only message of an answer, in a coding if it is compressed, and end well."""
        if self.over or self.last:
            return
        self.call = None
        if coding or not self.connection.answer(self, message):
            self.send(message, coding)
            self.finish()

    def send(self, message: bytes, coding: str = "") -> None:
        """Send one of the messages of an answer; all that are compressed are of one coding."""
        if self.over:
            return
        if not self.begun:
            self.begun = True
            self.connection.sender.begin(self, ANSWERS[coding or "identity"])
        self.connection.sender.message(self, message, bool(coding))

    def finish(self) -> None:
        """End well."""
        self._end(OK)

    def refuse(self, refused: Refused) -> None:
        """End with a refusal."""
        self._end(refusal_trailers(refused))

    def fail(self, status: str, said: str, accepts: bool = False) -> None:
        """End with a status of gRPC; `accepts` tells which codings there are."""
        self._end(trailers(status, said, accepts=accepts))

    def answer_plainly(self, status: int) -> None:
        """Answer what is not gRPC with a status of HTTP."""
        self.begun = True
        self._end(plain(status))

    def _end(self, block: bytes) -> None:
        if self.over or self.last:  # what came first stands, if it still waits for the client's window
            return
        self.call = None
        self.connection.sender.end(self, block if self.begun else ANSWER + block)

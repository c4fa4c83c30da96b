"""One HTTP/2 connection (RFC 9113) that carries gRPC: its beginning, its deadlines and its end.

Everything is called back, on the event loop.
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol, cast

from flowserve.core.wire.http2.frames import (
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    PING,
    STREAM_MAX,
    WINDOW,
    WINDOW_MAX,
    Broken,
    BrokenStream,
    ErrorCode,
    frame,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from flowserve.core.wire.limits import Limits
from flowserve.shell.wire.connections import Connections, is_local, peer_of
from flowserve.shell.wire.http2.receiving import Receiver
from flowserve.shell.wire.http2.sending import Outgoing, Sender
from flowserve.shell.wire.http2.streams import WINDOW_BYTES, Stream

_LEAVING, _ALIVE = b"leaving\0", b"alive?\0\0"
_LEAVE_S = 1.0
_SILENT_S = 120.0
"""A peer that says nothing for so long while it waits for an answer is asked whether it is alive."""


class Host(Protocol):
    """What a connection needs of its server."""

    limits: Limits
    connections: Connections[Http2Connection]

    def begin(self, stream: Stream) -> None:
        """Give a stream its call, or end it."""


class Http2Connection(asyncio.Protocol):
    """Bytes in, bytes out. All methods run on the event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.limits = host.limits
        self.now = asyncio.get_running_loop().time
        self.reserved_bytes = 0
        self._leaving = False
        self.deaf = False
        """Whether what still arrives is dropped."""
        self._unread_bytes = 0
        self._peer: object = None
        # On the loop's clock: when something was last heard, checked, seen to be read ...
        self._heard_s = self._checked_s = self._unread_s = self._opened_s = self.now()
        self._asked_s = self._end_s = math.inf  # ... when it was asked if it lives, and when it is over.
        self._receiver = Receiver(self)

    @property
    def active(self) -> bool:
        """Whether a call is arriving or being answered, or may be on its way."""
        return not self.deaf and bool(
            self._receiver.streams or (self._leaving and self._receiver.final == STREAM_MAX)
        )

    @property
    def peer(self) -> object:
        """Who is at the other end."""
        return self._peer

    @property
    def local(self) -> bool:
        """Whether the client is on this host."""
        return is_local(self._peer)

    def leave(self) -> None:
        """Ask for no more calls. Those that were on their way are answered; then the connection ends."""
        if not (self._leaving or self.deaf):
            self._leaving = True
            self._end_s = self.now() + _LEAVE_S  # should the peer not say that it has heard
            self._transport.write(goaway(STREAM_MAX, ErrorCode.NO_ERROR) + frame(PING, 0, 0, _LEAVING))

    def close(self) -> None:
        """Answer what has come, and close."""
        if not self.deaf:
            self._leaving = True
            if self._receiver.final == STREAM_MAX:
                self._receiver.final = self._receiver.last
                self._transport.write(goaway(self._receiver.last, ErrorCode.NO_ERROR))
            if not self._receiver.streams:
                self._hang_up()

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""
        passed_s, self._checked_s = now - self._checked_s, now
        if self.deaf:
            if now > self._end_s:
                self._transport.abort()
        elif self._is_stuck(now) or now > self._asked_s + self.limits.write_s:
            self._give_up()
            self._transport.abort()
        else:
            try:
                self._check_peer(now)
                self._receiver.check(now, passed_s)
            except Broken as broken:
                self._break(broken)
        for stream in list(self._receiver.streams.values()):
            try:
                stream.check(now)
            except BrokenStream as broken:
                self.reset(stream, broken.code)

    def _check_peer(self, now: float) -> None:
        """Part with a peer that has nothing to say. Raises `Broken`."""
        limits, receiver = self.limits, self._receiver
        if not (receiver.settled and receiver.acknowledged) and now > self._opened_s + limits.head_s:
            raise Broken(ErrorCode.SETTINGS_TIMEOUT, "the settings took too long")
        if not receiver.streams and now > min(self._end_s, self._heard_s + limits.idle_s):
            self.leave() if not self._leaving else self.close()
        elif receiver.streams and now > self._heard_s + _SILENT_S and self._asked_s == math.inf:
            self._asked_s = now
            self._transport.write(frame(PING, 0, 0, _ALIVE))

    # For streams

    def answer(self, stream: Stream, message: bytes) -> bool:
        """Send a whole answer at once. Returns whether that could be."""
        if not self.sender.answer(stream, message):
            return False
        self._over(stream)
        return True

    def widen(self, stream: Stream, more: int) -> None:
        """Let the client send more."""
        stream.window_in += more
        self._transport.write(window_update(stream.number, more))

    def begin(self, stream: Stream) -> None:
        """Give a stream that was opened its call, or end it."""
        self._host.begin(stream)

    def write(self, data: bytes) -> None:
        """Send a frame."""
        self._transport.write(data)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream, and say why."""
        self._transport.write(rst_stream(stream.number, code))
        self.drop(stream)

    def drop(self, stream: Stream) -> None:
        """End a stream, and have nobody answer it."""
        self._receiver.forget(stream, answered=False)
        self.sender.drop(stream)
        if (call := stream.call) is not None:
            stream.call = None
            call.cancel()
        self._settle()

    def ponged(self, payload: bytes) -> None:
        """Hear the answer to a ping: what came before it, came before the peer knew that this side leaves."""
        if self._leaving and payload == _LEAVING:
            self.close()

    def bidden_farewell(self) -> None:
        """Hear that the peer will open no more streams: the connection ends when all are answered."""
        self._end_s = 0.0

    def _over(self, out: Outgoing) -> None:
        """Hear that the last frame of a stream is written."""
        stream = self._receiver.streams[out.number]
        self._receiver.forget(stream, answered=True)
        if not stream.ended:  # the client need not send the rest
            self._transport.write(rst_stream(out.number, ErrorCode.NO_ERROR))
        self._settle()

    def _drained(self, out: Outgoing) -> None:
        self._receiver.streams[out.number].pull()

    def _settle(self) -> None:
        if not self._receiver.streams:
            if self._receiver.final != STREAM_MAX:
                self.close()
            self._host.connections.settled()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what is taken, or refuse when there are too many connections."""
        # uvloop's transports have the methods of asyncio's, but are not a subclass.
        self._transport = cast(asyncio.Transport, transport)
        self.sender = Sender(self._transport, self._over, self._drained)
        self._peer = peer_of(transport)
        values = {
            MAX_CONCURRENT_STREAMS: self.limits.streams,
            INITIAL_WINDOW_SIZE: WINDOW_BYTES,
            MAX_HEADER_LIST_SIZE: self.limits.head_bytes,
        }
        self._transport.write(settings(values) + window_update(0, WINDOW_MAX - WINDOW))
        if not self._host.connections.opened(self):
            self._transport.write(goaway(0, ErrorCode.ENHANCE_YOUR_CALM, "there are too many connections"))
            self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything, and have nobody answer."""
        self._give_up()
        self._host.connections.closed(self)

    def data_received(self, data: bytes) -> None:
        """Take frames apart, and answer what is complete."""
        if self.deaf:
            return
        self._heard_s, self._asked_s = self.now(), math.inf
        try:
            self._receiver.feed(data, self._heard_s)
        except Broken as broken:
            self._break(broken)

    def eof_received(self) -> bool:
        """Keep a half-closed connection as long as there is something to answer."""
        self.close()
        return bool(self._receiver.streams)

    def pause_writing(self) -> None:
        """The peer does not read: take nothing more from it until it does."""
        self.sender.writable = False
        self._unread_bytes, self._unread_s = self._transport.get_write_buffer_size(), self.now()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.sender.writable = True
        if not self._transport.is_closing():
            self._transport.resume_reading()
        if not self.deaf:
            self.sender.pump()

    def _is_stuck(self, now: float) -> bool:
        if self.sender.writable:
            return False
        unread_bytes, self._unread_bytes = self._unread_bytes, self._transport.get_write_buffer_size()
        if self._unread_bytes < unread_bytes:
            self._unread_s = now
        return now > self._unread_s + self.limits.write_s

    def _give_up(self) -> None:
        """Have nobody answer anything."""
        self.deaf = True
        for stream in list(self._receiver.streams.values()):
            self.drop(stream)

    def _hang_up(self) -> None:
        """Close once what was written is sent, if the peer reads it at all."""
        self.deaf = True
        self._end_s = self.now() + self.limits.write_s
        self._transport.close()

    def _break(self, broken: Broken) -> None:
        """Say what is wrong, and close once the peer has had time to read it."""
        self._give_up()
        self._transport.write(goaway(self._receiver.last, broken.code, str(broken)))
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._end_s = self.now() + self.limits.linger_s
        else:
            self._transport.close()
        self._host.connections.settled()

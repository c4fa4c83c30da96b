"""One HTTP/2 connection (RFC 9113) that carries gRPC: takes frames apart, and gives each stream its own.

Everything is called back, on the event loop. What a peer may make this side keep or do is bounded: streams,
header lists and messages by the limits, data by windows, and frames that make work but bring nothing by an
allowance, which answers and time refill.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol, assert_never, cast

from flowserve.core.wire.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    GOAWAY,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_MAX,
    WINDOW,
    WINDOW_MAX,
    WINDOW_UPDATE,
    Broken,
    BrokenStream,
    ErrorCode,
    block_of,
    frame,
    goaway,
    read_settings,
    rst_stream,
    settings,
    unpadded,
    window_update,
)
from flowserve.core.wire.http2.hpack import Decoder, HpackError
from flowserve.core.wire.http2.rpc import Asked, Head, Malformed, TooLong, Trailers, read_head
from flowserve.shell.wire.connections import Connections, is_local, peer_of
from flowserve.shell.wire.limits import Limits
from flowserve.shell.wire.sending import Outgoing, Sender
from flowserve.shell.wire.streams import WINDOW_BYTES, Stream

# Frames that bring nothing: what a peer may send of them at once, and how that grows again.
_ALLOWANCE = 1000.0
_ALLOWANCE_PER_S = 200.0
_ALLOWANCE_PER_ANSWER = 4.0
_WIDENED_MIN = 256  # a window that grows by less is made to have much to do
_CLOSED_MAX = 256
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
        self._decoder: Decoder[Asked] = Decoder(self.limits.head_bytes, read_head)
        self._streams: dict[int, Stream] = {}
        self._last = 0  # the highest stream that the peer has opened
        self._final = STREAM_MAX  # the highest that is answered
        # The newest of the streams that are over; negative where the client had not ended its side.
        self._closed: deque[int] = deque(maxlen=_CLOSED_MAX)
        self._window = WINDOW_MAX  # of all streams, which bound it by their own
        self._rest = b""  # an incomplete frame
        self._greeted = self._settled = False  # the preface and the first settings have come
        self._block: tuple[int, int, bytearray] | None = None  # of stream and flags, to be continued
        self._allowance = _ALLOWANCE
        self._leaving = False
        self._deaf = False  # what still arrives is dropped
        self._unread_bytes = 0
        self._peer: object = None
        # On the loop's clock: when something was last heard, checked, or seen to be read ...
        self._heard_s = self._checked_s = self._unread_s = self._opened_s = self.now()
        self._rest_s = self._block_s = math.inf  # ... since when a frame or a header block is arriving ...
        self._asked_s = self._end_s = math.inf  # ... when it was asked if it lives, and when it is over.
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            DATA: self._on_data,
            HEADERS: self._on_headers,
            PRIORITY: self._on_priority,
            RST_STREAM: self._on_rst_stream,
            SETTINGS: self._on_settings,
            PUSH_PROMISE: self._on_push_promise,
            PING: self._on_ping,
            GOAWAY: self._on_goaway,
            WINDOW_UPDATE: self._on_window_update,
            CONTINUATION: self._on_continuation,
        }

    @property
    def active(self) -> bool:
        """Whether a call is arriving or being answered, or may be on its way."""
        return not self._deaf and bool(self._streams or (self._leaving and self._final == STREAM_MAX))

    @property
    def local(self) -> bool:
        """Whether the client is on this host."""
        return is_local(self._peer)

    def leave(self) -> None:
        """Ask for no more calls. Those that were on their way are answered; then the connection ends."""
        if not (self._leaving or self._deaf):
            self._leaving = True
            self._end_s = self.now() + _LEAVE_S  # should the peer not say that it has heard
            self._transport.write(goaway(STREAM_MAX, ErrorCode.NO_ERROR) + frame(PING, 0, 0, _LEAVING))

    def close(self) -> None:
        """Answer what has come, and close."""
        if not self._deaf:
            self._leaving = True
            if self._final == STREAM_MAX:
                self._final = self._last
                self._transport.write(goaway(self._last, ErrorCode.NO_ERROR))
            if not self._streams:
                self._deaf = True
                self._transport.close()

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""
        limits = self.limits
        self._allowance = min(_ALLOWANCE, self._allowance + (now - self._checked_s) * _ALLOWANCE_PER_S)
        self._checked_s = now
        if self._deaf:
            if now > self._end_s:
                self._transport.abort()
            return
        if not self._settled and now > self._opened_s + limits.head_s:
            self._break(Broken(ErrorCode.SETTINGS_TIMEOUT, "the first frame took too long"))
        elif now > self._block_s + limits.head_s or now > self._rest_s + limits.body_s:
            self._break(Broken(ErrorCode.ENHANCE_YOUR_CALM, "a frame took too long"))
        elif self._is_stuck(now) or now > self._asked_s + limits.write_s:
            self._transport.abort()
        elif not self._streams and now > min(self._end_s, self._heard_s + limits.idle_s):
            self.leave() if not self._leaving else self.close()
        elif self._streams and now > self._heard_s + _SILENT_S and self._asked_s == math.inf:
            self._asked_s = now
            self._transport.write(frame(PING, 0, 0, _ALIVE))
        for stream in list(self._streams.values()):
            try:
                stream.check(now)
            except BrokenStream as broken:
                self._reset(stream, broken.code)

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

    def _over(self, out: Outgoing) -> None:
        """Hear that the last frame of a stream is written."""
        stream = self._streams.pop(out.number)
        stream.over = True
        stream.release()
        self._closed.append(out.number if stream.ended else -out.number)
        if not stream.ended:  # the client need not send the rest
            self._transport.write(rst_stream(out.number, ErrorCode.NO_ERROR))
        if self._allowance < _ALLOWANCE:
            self._allowance += _ALLOWANCE_PER_ANSWER
        if not self._streams:
            self._settle()

    def _drained(self, out: Outgoing) -> None:
        self._streams[out.number].pull()

    def _reset(self, stream: Stream, code: ErrorCode) -> None:
        self._transport.write(rst_stream(stream.number, code))
        self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        """Forget a stream, and have nobody answer it."""
        del self._streams[stream.number]
        self._closed.append(stream.number if stream.ended else -stream.number)
        stream.over = True
        stream.release()
        self.sender.drop(stream)
        if (call := stream.call) is not None:
            stream.call = None
            call.cancel()
        if not self._streams:
            self._settle()

    def _settle(self) -> None:
        if self._final != STREAM_MAX:
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
            self._deaf = True
            self._transport.write(goaway(0, ErrorCode.ENHANCE_YOUR_CALM, "there are too many connections"))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything, and have nobody answer."""
        self._deaf = True
        for stream in list(self._streams.values()):
            self._drop(stream)
        self._host.connections.closed(self)

    def data_received(self, data: bytes) -> None:
        """Take frames apart, and answer what is complete."""
        if self._deaf:
            return
        self._heard_s, self._asked_s = self.now(), math.inf
        if self._rest:
            data = self._rest + data
        try:
            at = self._take(data)
        except Broken as broken:
            self._break(broken)
            return
        if at == len(data):
            if self._rest:
                self._rest, self._rest_s = b"", math.inf
        else:
            if at or not self._rest:
                self._rest_s = self._heard_s
            self._rest = data[at:] if at else data

    def eof_received(self) -> bool:
        """Keep a half-closed connection as long as there is something to answer."""
        self.close()
        return bool(self._streams)

    def pause_writing(self) -> None:
        """The peer does not read: take nothing more from it until it does."""
        self.sender.writable = False
        self._unread_bytes, self._unread_s = self._transport.get_write_buffer_size(), self.now()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.sender.writable = True
        self._transport.resume_reading()
        if not self._deaf:
            self.sender.pump()

    def _is_stuck(self, now: float) -> bool:
        if self.sender.writable:
            return False
        unread_bytes, self._unread_bytes = self._unread_bytes, self._transport.get_write_buffer_size()
        if self._unread_bytes < unread_bytes:
            self._unread_s = now
        return now > self._unread_s + self.limits.write_s

    def _break(self, broken: Broken) -> None:
        """Say what is wrong, and close once the peer has had time to read it."""
        self._deaf = True
        for stream in list(self._streams.values()):
            self._drop(stream)
        self._transport.write(goaway(self._last, broken.code, str(broken)))
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._end_s = self.now() + self.limits.linger_s
        else:
            self._transport.close()
        self._host.connections.settled()

    # Frames

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
                not self._settled and (kind != SETTINGS or flags & ACK)
            ):
                raise Broken(ErrorCode.PROTOCOL_ERROR, "another frame is due first")
            handler = self._handlers.get(kind)
            if handler is None:  # what is not known means nothing
                self._spend()
                continue
            try:
                handler(flags, number, data[begin:at])
            except BrokenStream as broken:
                self._spend()
                if (stream := self._streams.get(number)) is not None:
                    self._reset(stream, broken.code)
                else:
                    self._transport.write(rst_stream(number, broken.code))
            if self._deaf:
                return end
        return at

    def _spend(self) -> None:
        self._allowance -= 1
        if self._allowance < 0:
            raise Broken(ErrorCode.ENHANCE_YOUR_CALM, "there are too many frames that bring nothing")

    def _stream(self, number: int) -> Stream | None:
        """A stream that is open, None for one that is over. Raises `Broken` for one that never was."""
        stream = self._streams.get(number)
        if stream is None and (number > self._last or not number & 1):
            raise Broken(ErrorCode.PROTOCOL_ERROR, "a frame is for a stream that was not opened")
        return stream

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        length = len(payload)
        self._window -= length
        if self._window < WINDOW_MAX // 2:
            self._transport.write(window_update(0, WINDOW_MAX - self._window))
            self._window = WINDOW_MAX
        stream = self._streams.get(number) or self._stream(number)
        if stream is None or stream.ended:
            if stream is None and (-number in self._closed or number > self._final):
                self._spend()  # sent before the client heard of the end
                return
            raise BrokenStream(ErrorCode.STREAM_CLOSED, "the stream has ended")
        if flags & PADDED:
            payload = unpadded(flags, payload)
        last = flags & END_STREAM
        if not (payload or last):
            self._spend()
        stream.take(payload, length, bool(last))

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
        if len(block) > self.limits.head_bytes:
            most = self.limits.head_bytes
            raise Broken(ErrorCode.ENHANCE_YOUR_CALM, f"a header block may have {most} bytes")
        if flags & END_HEADERS:
            self._block, self._block_s = None, math.inf
            self._on_block(first, number, bytes(block))

    def _on_block(self, flags: int, number: int, block: bytes) -> None:
        try:
            asked = self._decoder.decode(block)
        except HpackError as error:
            raise Broken(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        if number > self._last:
            self._open(flags, number, asked)
            return
        stream = self._streams.get(number)
        if stream is None:
            if -number in self._closed:  # sent before the client heard of the end
                self._spend()
                return
            known = number in self._closed
            code = ErrorCode.STREAM_CLOSED if known else ErrorCode.PROTOCOL_ERROR
            raise Broken(code, "a stream can only be opened once, and none after a higher one")
        if stream.ended:
            raise BrokenStream(ErrorCode.STREAM_CLOSED, "the stream has ended")
        if not (isinstance(asked, Trailers) and flags & END_STREAM):
            raise BrokenStream(ErrorCode.PROTOCOL_ERROR, "a request can have trailers only after its head")
        stream.end()
        stream.pull()

    def _open(self, flags: int, number: int, asked: Asked) -> None:
        self._last = number
        if number > self._final:  # the client has heard that it would not be answered
            return
        if len(self._streams) >= self.limits.streams:
            raise BrokenStream(ErrorCode.REFUSED_STREAM, "there are too many streams")
        match asked:
            case Head():
                head = asked
            case TooLong():
                said = f"the metadata may have {self.limits.head_bytes} bytes"
                head = Head("", (), fault=("RESOURCE_EXHAUSTED", said))
                self._spend()
            case Malformed() | Trailers():
                raise BrokenStream(ErrorCode.PROTOCOL_ERROR, "the header list is not that of a request")
            case _:
                assert_never(asked)
        stream = self._streams[number] = Stream(self, number, head, self.sender.first_window)
        if head.timeout_ms is not None:
            stream.expires_s = self._heard_s + head.timeout_ms / 1e3
        if flags & END_STREAM:
            stream.end()
            self._host.begin(stream)
            stream.pull()
        else:
            stream.due_s = self._heard_s + self.limits.body_s
            self._host.begin(stream)

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:
        self._spend()
        if not number:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "PRIORITY must be of a stream")
        if len(payload) != 5:
            raise BrokenStream(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY must have five bytes")
        if int.from_bytes(payload[:4]) & STREAM_MAX == number:
            raise BrokenStream(ErrorCode.PROTOCOL_ERROR, "a stream cannot depend on itself")

    def _on_rst_stream(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM must have four bytes")
        stream = self._stream(number)
        if stream is None or self._heard_s < stream.expires_s:
            self._spend()
        if stream is not None:
            self._drop(stream)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "SETTINGS must be of the connection")
        self._spend()
        if flags & ACK:
            if payload:
                raise Broken(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement must be empty")
            return
        self.sender.heed(list(read_settings(payload)), self._streams.values())
        self._settled = True
        self._transport.write(frame(SETTINGS, ACK, 0))

    def _on_push_promise(self, flags: int, number: int, payload: bytes) -> None:
        raise Broken(ErrorCode.PROTOCOL_ERROR, "a client cannot push")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "PING must be of the connection")
        if len(payload) != 8:
            raise Broken(ErrorCode.FRAME_SIZE_ERROR, "PING must have eight bytes")
        self._spend()
        if not flags & ACK:
            self._transport.write(frame(PING, ACK, 0, payload))
        elif self._leaving and payload == _LEAVING:
            self.close()

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "GOAWAY must be of the connection")
        if len(payload) < 8:
            raise Broken(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY must have eight bytes")
        self._spend()
        self._end_s = 0.0  # as soon as all is answered

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE must have four bytes")
        stream = self._stream(number) if number else None
        more = int.from_bytes(payload) & STREAM_MAX
        if more < _WIDENED_MIN or not self.sender.unsent_bytes:
            self._spend()
        if not more:
            raise (BrokenStream if number else Broken)(ErrorCode.PROTOCOL_ERROR, "a window must grow")
        if stream is not None or not number:
            self.sender.widen(stream, more)

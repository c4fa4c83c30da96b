"""The receiving half of an HTTP/2 connection (RFC 9113): frames to streams.

What a peer may make this side keep or do is bounded: streams, header lists and messages by the limits, data
by windows, and frames that make work but bring nothing by an allowance.
"""

from __future__ import annotations

from collections import deque
from typing import assert_never

from flowserve.core.wire.http2.frames import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_MAX,
    WINDOW_MAX,
    WINDOW_UPDATE,
    Broken,
    BrokenStream,
    ErrorCode,
    frame,
    read_settings,
    rst_stream,
    unpadded,
    window_update,
)
from flowserve.core.wire.http2.hpack import Decoder, HpackError
from flowserve.core.wire.http2.rpc import Asked, Head, Malformed, TooLong, Trailers, read_head
from flowserve.shell.wire.http2.framing import Framing, Owner
from flowserve.shell.wire.http2.streams import Stream

_WIDENED_MIN = 256  # a window that grows by less is made to have much to do
_CLOSED_MAX = 256


class Receiver(Framing):
    """Keeps a connection's streams while they are open."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner)
        self._decoder: Decoder[Asked] = Decoder(owner.limits.head_bytes, read_head)
        self.streams: dict[int, Stream] = {}
        self.last = 0
        """The highest stream that the peer has opened."""
        self.final = STREAM_MAX
        """The highest that is answered."""
        self.acknowledged = False
        """Whether it has taken note of what this side bears."""
        # The newest of the streams that are over; negative where the client had not ended its side.
        self._closed: deque[int] = deque(maxlen=_CLOSED_MAX)
        self._window = WINDOW_MAX  # of all streams, which bound it by their own
        self._handlers |= {
            DATA: self._on_data,
            PRIORITY: self._on_priority,
            RST_STREAM: self._on_rst_stream,
            SETTINGS: self._on_settings,
            PUSH_PROMISE: self._on_push_promise,
            PING: self._on_ping,
            GOAWAY: self._on_goaway,
            WINDOW_UPDATE: self._on_window_update,
        }

    def forget(self, stream: Stream, answered: bool) -> None:
        """Keep a stream that is over no longer."""
        del self.streams[stream.number]
        stream.over = True
        stream.release()
        self._closed.append(stream.number if stream.ended else -stream.number)
        if answered:
            self._refill()

    def _stream(self, number: int) -> Stream | None:
        """A stream that is open, None for one that is over. Raises `Broken` for one that never was."""
        stream = self.streams.get(number)
        if stream is None and (number > self.last or not number & 1):
            raise Broken(ErrorCode.PROTOCOL_ERROR, "a frame is for a stream that was not opened")
        return stream

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        length = len(payload)
        self._window -= length
        if self._window < WINDOW_MAX // 2:
            self._owner.write(window_update(0, WINDOW_MAX - self._window))
            self._window = WINDOW_MAX
        stream = self.streams.get(number) or self._stream(number)
        if stream is None or stream.ended:
            if stream is None and (-number in self._closed or number > self.final):
                self._spend()  # sent before the client heard of the end
                return
            raise BrokenStream(ErrorCode.STREAM_CLOSED, "the stream has ended")
        if flags & PADDED:
            payload = unpadded(flags, payload)
        last = flags & END_STREAM
        if not (payload or last):
            self._spend()
        stream.take(payload, length, bool(last))

    def _on_broken(self, number: int, broken: BrokenStream) -> None:
        if self.acknowledged or broken.code != ErrorCode.REFUSED_STREAM:
            self._spend()  # how many streams there may be, it has not known before
        if (stream := self.streams.get(number)) is not None:
            self._owner.reset(stream, broken.code)
        else:
            self._owner.write(rst_stream(number, broken.code))

    def _on_block(self, flags: int, number: int, block: bytes) -> None:
        try:
            asked = self._decoder.decode(block)
        except HpackError as error:
            raise Broken(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        if number > self.last:
            self._open(flags, number, asked)
            return
        stream = self.streams.get(number)
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
        self.last = number
        if number > self.final:  # the client has heard that it would not be answered
            return
        if len(self.streams) >= self._limits.streams:
            raise BrokenStream(ErrorCode.REFUSED_STREAM, "there are too many streams")
        match asked:
            case Head():
                head = asked
            case TooLong():
                said = f"the metadata may have {self._limits.head_bytes} bytes"
                head = Head("", (), fault=("RESOURCE_EXHAUSTED", said))
                self._spend()
            case Malformed() | Trailers():
                raise BrokenStream(ErrorCode.PROTOCOL_ERROR, "the header list is not that of a request")
            case _:
                assert_never(asked)
        stream = self.streams[number] = Stream(self._owner, number, head, self._owner.sender.first_window)
        if head.timeout_ms is not None:
            stream.expires_s = self._heard_s + head.timeout_ms / 1e3
        if flags & END_STREAM:
            stream.end()
            self._owner.begin(stream)
            stream.pull()
        else:
            stream.due_s = self._heard_s + self._limits.body_s
            self._owner.begin(stream)

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
            self._owner.drop(stream)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "SETTINGS must be of the connection")
        self._spend()
        if flags & ACK:
            if payload:
                raise Broken(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement must be empty")
            self.acknowledged = True
            return
        self._owner.sender.heed(list(read_settings(payload)), self.streams.values())
        self.settled = True
        self._owner.write(frame(SETTINGS, ACK, 0))

    def _on_push_promise(self, flags: int, number: int, payload: bytes) -> None:
        raise Broken(ErrorCode.PROTOCOL_ERROR, "a client cannot push")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "PING must be of the connection")
        if len(payload) != 8:
            raise Broken(ErrorCode.FRAME_SIZE_ERROR, "PING must have eight bytes")
        self._spend()
        if not flags & ACK:
            self._owner.write(frame(PING, ACK, 0, payload))
        else:
            self._owner.ponged(payload)

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "GOAWAY must be of the connection")
        if len(payload) < 8:
            raise Broken(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY must have eight bytes")
        self._spend()
        self._owner.bidden_farewell()

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE must have four bytes")
        stream = self._stream(number) if number else None
        more = int.from_bytes(payload) & STREAM_MAX
        if more < _WIDENED_MIN or not self._owner.sender.unsent_bytes:
            self._spend()
        if not more:
            raise (BrokenStream if number else Broken)(ErrorCode.PROTOCOL_ERROR, "a window must grow")
        if stream is not None or not number:
            self._owner.sender.widen(stream, more)

"""HTTP/2's frames (RFC 9113), without the streams: bytes to payloads, and frames of this server's own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = struct.Struct(">HBBBL")
"""Of a frame: its length in 24 bits, kind, flags, stream."""
HEAD_BYTES = 9
FRAME_BYTES_MAX = 2**14
"""Of a payload that is taken: what every peer begins with."""
WINDOW_MAX = 2**31 - 1
WINDOW = 2**16 - 1
"""What a peer may send before it hears otherwise, of a stream and in all."""
STREAM_MAX = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113, 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Broken(Exception):
    """The peer has broken the protocol in a way that ends the connection."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        super().__init__(why)
        self.code = code


class BrokenStream(Exception):
    """The peer has broken the protocol in a way that ends the stream only."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        super().__init__(why)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write a frame, of at most 2^24 - 1 bytes."""
    length = len(payload)
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def data_head(length: int, flags: int, stream: int) -> bytes:
    """Write what stands before `length` bytes of data."""
    return HEAD.pack(length >> 8, length & 0xFF, DATA, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    """Write a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", key, value) for key, value in values.items()))


def window_update(stream: int, more: int) -> bytes:
    """Write a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """Write an RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4))


def goaway(last: int, code: ErrorCode, why: str = "") -> bytes:
    """Write a GOAWAY frame; `last` is the highest stream that is or may still be answered."""
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last, code) + why.encode())


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Read what a SETTINGS frame says, each value within what it may be. Raises `Broken`."""
    if len(payload) % 6:
        raise Broken(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS must have six bytes a setting")
    for key, value in struct.iter_unpack(">HL", payload):
        if key == ENABLE_PUSH and value > 1:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH must be 0 or 1")
        if key == INITIAL_WINDOW_SIZE and value > WINDOW_MAX:
            raise Broken(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE must be below 2^31")
        if key == MAX_FRAME_SIZE and not FRAME_BYTES_MAX <= value < 2**24:
            raise Broken(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE must be from 2^14 to 2^24 - 1")
        yield key, value


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return a payload without its padding. Raises `Broken`."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Broken(ErrorCode.PROTOCOL_ERROR, "a frame is shorter than its padding")
    return payload[1 : len(payload) - payload[0]]


def block_of(flags: int, stream: int, payload: bytes) -> bytes:
    """Return what a HEADERS frame has of a header block. Raises `Broken` and `BrokenStream`."""
    block = unpadded(flags, payload)
    if not flags & WITH_PRIORITY:
        return block
    if len(block) < 5:
        raise Broken(ErrorCode.FRAME_SIZE_ERROR, "HEADERS is shorter than its priority")
    if int.from_bytes(block[:4]) & STREAM_MAX == stream:
        raise Broken(ErrorCode.PROTOCOL_ERROR, "a stream cannot depend on itself")
    return block[5:]

"""HTTP/2 connections are sent what nobody would in earnest: they answer in well-formed frames, or end."""

import asyncio
import struct
from types import SimpleNamespace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowserve.core.models.model import Model
from flowserve.core.wire.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from flowserve.core.wire.http2.frames import settings as settings_frame
from flowserve.core.wire.http2.rpc import literal
from flowserve.core.wire.limits import Limits
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.grpc.server import GrpcServer
from flowserve.shell.wire.http2.connection import Http2Connection
from tests.flowserve.shell.wire.http2_peer import INFER, LIVE, SIGNATURE, STREAM, double, framed, request

BOUNDED = settings(
    max_examples=max(150, settings().max_examples), suppress_health_check=[HealthCheck.too_slow]
)


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written, self.closed = bytearray(), False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def writelines(self, pieces) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        self.closed = True

    write_eof = abort = close

    def can_write_eof(self) -> bool:
        return True

    def get_extra_info(self, name: str):
        return SimpleNamespace(family=0) if name == "socket" else ("127.0.0.1", 1)


def connected(pieces, then=lambda connection: None, turns: bool = True) -> Transport:
    """Have a connection receive these, one after the other, and look at what it says.

    With `turns`, the loop does what else there is to do after each of them.
    """

    async def run() -> Transport:
        engine = LoopEngine(asyncio.get_running_loop())
        serving = Serving.of([Model("double", 1, SIGNATURE, double)])
        connection = Http2Connection(GrpcServer(serving, engine, "1", Limits(body_bytes=1000, streams=4)))
        transport = Transport()
        connection.connection_made(transport)
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
            if turns:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        then(connection)
        connection.connection_lost(None)
        engine.close()
        return transport

    return asyncio.run(run())


def frames_of(written: bytes) -> list[tuple[int, int, int]]:
    """Every frame's kind, flags and stream; there is nothing between them."""
    frames, at = [], 0
    while at < len(written):
        high, low, kind, flags, number = struct.unpack_from(">HBBBL", written, at)
        at += 9 + (high << 8 | low)
        frames.append((kind, flags, number))
    assert at == len(written)
    return frames


def head(path: str) -> bytes:
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode(),
        b"content-type": b"application/grpc",
    }
    return b"".join(literal(*field) for field in fields.items())


BLOCKS = st.sampled_from([head(INFER), head(STREAM), head(LIVE), b"", literal(b"a", b"b"), b"\xbe", b"\x3f"])
PAYLOADS = st.one_of(
    st.binary(max_size=20),
    BLOCKS,
    st.sampled_from(
        [framed(request()), framed(request())[:9], framed(request())[9:], framed(b""), bytes(8), bytes(4)]
    ),
    st.sampled_from([struct.pack(">HL", 4, 5), struct.pack(">HL", 4, 2**31 - 1), b"\x7f\xff\xff\xff"]),
)
FRAMES = st.builds(
    frame,
    st.integers(0, 10),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]),
    st.sampled_from([0, 1, 1, 2, 3, 5, 7]),
    PAYLOADS,
)
CALLS = st.builds(
    lambda number, block, payload: (
        frame(HEADERS, END_HEADERS, number, block) + frame(DATA, END_STREAM, number, payload)
    ),
    st.sampled_from([1, 3, 5, 7, 9]),
    BLOCKS,
    PAYLOADS,
)


@BOUNDED
@given(st.lists(st.one_of(FRAMES, CALLS), max_size=30), st.integers(1, 200))
def test_any_frames_in_any_pieces(said, size):
    data = PREFACE + settings_frame({}) + b"".join(said)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    transport = connected(pieces)
    frames = frames_of(transport.written)
    assert [kind for kind, _, _ in frames[:2]] == [SETTINGS, WINDOW_UPDATE]
    ends = [number for kind, flags, number in frames if kind == HEADERS and flags & END_STREAM]
    assert len(ends) == len(set(ends)), "a stream was answered twice"
    farewells = [index for index, (kind, _, _) in enumerate(frames) if kind == GOAWAY]
    assert farewells in ([], [len(frames) - 1])
    # However it is cut, it means the same; but what waits for a turn may be too late for who breaks it off.
    assert connected(pieces, turns=False).written == connected([data]).written


@BOUNDED
@given(st.binary(max_size=300))
def test_any_bytes(data):
    frames_of(connected([data]).written)
    frames_of(connected([PREFACE + settings_frame({}) + data]).written)


@BOUNDED
@given(st.lists(st.one_of(FRAMES, CALLS), max_size=20))
def test_deadlines_after_anything(said):
    def wait(connection: Http2Connection) -> None:
        for s in (1, 50, 200, 400, 800):
            connection.check(connection.now() + s)

    frames_of(connected([PREFACE + settings_frame({}) + b"".join(said)], wait).written)

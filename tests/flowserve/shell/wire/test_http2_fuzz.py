"""HTTP/2 connections are sent what nobody would in earnest: they answer in well-formed frames, or end."""

import asyncio
import math
from types import SimpleNamespace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowserve.core.engine.profile import Profile
from flowserve.core.models.model import Model
from flowserve.core.wire.http2.frames import (
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
)
from flowserve.core.wire.http2.frames import settings as settings_frame
from flowserve.core.wire.limits import Limits
from flowserve.shell.engine.engine import LoopEngine, Settings
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.grpc.server import GrpcServer
from flowserve.shell.wire.http2.connection import Http2Connection
from tests.flowserve.shell.wire.http2_peer import SIGNATURE, double
from tests.flowserve.shell.wire.nonsense import CALLS, FRAMES, frames_of

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
        # All runs on the loop, however slow the machine is: what a thread answers may come too late.
        engine = LoopEngine(asyncio.get_running_loop(), Settings(inline_ms=math.inf))
        model = Model("double", 1, SIGNATURE, double)
        engine.adopt(model, Profile({1: 0.01}))
        serving = Serving.of([model])
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

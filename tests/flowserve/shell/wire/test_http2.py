"""One HTTP/2 connection, by a client that does as it likes: what is right, wrong, and too much."""

import asyncio
import struct

import pytest
from loops import on_loop

from flowserve.core.wire.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_MAX,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ErrorCode,
    frame,
    rst_stream,
    settings,
    window_update,
)
from flowserve.core.wire.http2.messages import prefix
from flowserve.core.wire.limits import Limits
from tests.flowserve.shell.wire.http2_peer import (
    INFER,
    LIVE,
    STREAM,
    Peer,
    framed,
    given,
    request,
    running,
)

BROKEN, STREAM_CLOSED = ErrorCode.PROTOCOL_ERROR, ErrorCode.STREAM_CLOSED
SIZE, FLOW = ErrorCode.FRAME_SIZE_ERROR, ErrorCode.FLOW_CONTROL_ERROR
COMPRESSION, CALM = ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM


@on_loop
async def test_a_call_and_the_same_again():
    async with running() as host:
        peer = await host.peer()
        for number in range(1, 21, 2):  # the first with a table to fill, the others all indices
            peer.send(peer.call(number, request(number)))
            answer = await peer.answer(number)
            assert answer.head == {":status": "200", "content-type": "application/grpc"}
            assert [given(message) for message in answer.messages] == [[number * 2.0]]
            assert answer.trailers == {"grpc-status": "0"}


@on_loop
async def test_bytes_may_come_one_by_one():
    async with running() as host:
        peer = await host.connect()
        said = (
            PREFACE
            + settings({})
            + frame(SETTINGS, ACK, 0)
            + peer.call(1, request(1))
            + peer.call(3, request(2))
        )
        for byte in said:
            peer.send(bytes((byte,)))
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert given((await peer.answer(1)).messages[0]) == [2.0]
        assert given((await peer.answer(3)).messages[0]) == [4.0]


@on_loop
async def test_what_frames_may_have():
    async with running() as host:
        peer = await host.peer()
        block = peer.head()
        peer.send(  # padding, a priority, and a block in three frames
            frame(HEADERS, PADDED | WITH_PRIORITY, 1, b"\x03" + b"\0\0\0\0\x10" + block[:4] + b"\0\0\0"),
            frame(CONTINUATION, 0, 1, block[4:6]),
            frame(CONTINUATION, END_HEADERS, 1, block[6:]),
            frame(DATA, PADDED, 1, b"\x02" + framed(request(1))[:7] + b"\0\0"),
            frame(PRIORITY, 0, 9, b"\0\0\0\0\x10"),
            frame(99, 255, 1, b"unknown"),
            frame(DATA, 0, 1, framed(request(1))[7:]),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, peer.encoder.encode([("x-checksum", "1")])),
        )
        assert given((await peer.answer(1)).messages[0]) == [2.0]
        peer.send(frame(PING, 0, 0, b"12345678"), settings({99: 1}))
        assert (await peer.until(PING, flags=ACK)).payload == b"12345678"
        await peer.until(SETTINGS, flags=ACK)


def opened(peer: Peer) -> bytes:
    """A stream 1 that is open."""
    return peer.open(1)


def ended(peer: Peer) -> bytes:
    """A stream 1 that the client has ended, and the server has not."""
    return peer.call(1, request(model="held"))


CONNECTION_ERRORS = [
    # 4.2, 4.3
    (SIZE, lambda p: frame(DATA, 0, 1, b"x" * (2**14 + 1))),
    (COMPRESSION, lambda p: frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff")),
    # 5.1, 5.1.1
    (BROKEN, lambda p: frame(DATA, 0, 1, b"x")),
    (BROKEN, lambda p: rst_stream(1, ErrorCode.CANCEL)),
    (BROKEN, lambda p: window_update(1, 1)),
    (BROKEN, lambda p: frame(CONTINUATION, END_HEADERS, 1, b"")),
    (BROKEN, lambda p: p.open(2)),
    (BROKEN, lambda p: p.open(5) + p.open(3)),
    (STREAM_CLOSED, lambda p: ended(p) + rst_stream(1, ErrorCode.CANCEL) + p.open(1)),
    # 6.1 to 6.10
    (BROKEN, lambda p: frame(DATA, 0, 0, b"x")),
    (BROKEN, lambda p: opened(p) + frame(DATA, PADDED, 1, b"\x05abc")),
    (BROKEN, lambda p: opened(p) + frame(DATA, PADDED, 1, b"")),
    (BROKEN, lambda p: frame(HEADERS, END_HEADERS, 0, p.head())),
    (BROKEN, lambda p: frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + p.head())),
    (BROKEN, lambda p: frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"\0\0\0\x01\0" + p.head())),
    (SIZE, lambda p: frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"\0\0")),
    (BROKEN, lambda p: frame(HEADERS, 0, 1, p.head()) + frame(PING, 0, 0, b"12345678")),
    (BROKEN, lambda p: frame(HEADERS, 0, 1, p.head()) + frame(CONTINUATION, END_HEADERS, 3, b"")),
    (BROKEN, lambda p: frame(PRIORITY, 0, 0, b"\0\0\0\0\0")),
    (BROKEN, lambda p: rst_stream(0, ErrorCode.CANCEL)),
    (SIZE, lambda p: opened(p) + frame(RST_STREAM, 0, 1, b"abc")),
    (SIZE, lambda p: frame(SETTINGS, ACK, 0, b"\0" * 6)),
    (BROKEN, lambda p: frame(SETTINGS, 0, 1)),
    (SIZE, lambda p: frame(SETTINGS, 0, 0, b"abc")),
    (BROKEN, lambda p: settings({2: 2})),
    (FLOW, lambda p: settings({INITIAL_WINDOW_SIZE: 2**31})),
    (BROKEN, lambda p: settings({MAX_FRAME_SIZE: 2**14 - 1})),
    (BROKEN, lambda p: settings({MAX_FRAME_SIZE: 2**24})),
    (BROKEN, lambda p: frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02")),
    (BROKEN, lambda p: frame(PING, 0, 1, b"12345678")),
    (SIZE, lambda p: frame(PING, 0, 0, b"1234567")),
    (BROKEN, lambda p: frame(GOAWAY, 0, 1, b"\0" * 8)),
    (SIZE, lambda p: frame(GOAWAY, 0, 0, b"\0" * 7)),
    (SIZE, lambda p: frame(WINDOW_UPDATE, 0, 0, b"\0\0\1")),
    (BROKEN, lambda p: window_update(0, 0)),
    (FLOW, lambda p: window_update(0, 2**31 - 1)),
    (FLOW, lambda p: ended(p) + window_update(1, 2**30) + settings({INITIAL_WINDOW_SIZE: 2**31 - 1})),
]


@pytest.mark.parametrize("index", range(len(CONNECTION_ERRORS)))
@on_loop
async def test_what_ends_the_connection(index):
    code, say = CONNECTION_ERRORS[index]
    async with running() as host:
        peer = await host.peer()
        peer.send(say(peer))
        assert await peer.goaway() == code
        await peer.ended()


STREAM_ERRORS = [
    (STREAM_CLOSED, lambda p: ended(p) + frame(DATA, 0, 1, b"x")),
    (
        STREAM_CLOSED,
        lambda p: ended(p) + frame(HEADERS, END_HEADERS | END_STREAM, 1, p.encoder.encode([("a", "b")])),
    ),
    (SIZE, lambda p: frame(PRIORITY, 0, 1, b"\0\0\0\0")),
    (BROKEN, lambda p: frame(PRIORITY, 0, 1, b"\0\0\0\x01\0")),
    (BROKEN, lambda p: opened(p) + window_update(1, 0)),
    (FLOW, lambda p: opened(p) + window_update(1, 2**31 - 1)),
    (BROKEN, lambda p: opened(p) + frame(HEADERS, END_HEADERS, 1, p.encoder.encode([("a", "b")]))),
    (BROKEN, lambda p: opened(p) + frame(HEADERS, END_HEADERS | END_STREAM, 1, p.head())),
    (BROKEN, lambda p: frame(HEADERS, END_HEADERS, 1, p.encoder.encode([("a", "b")]))),
    (BROKEN, lambda p: p.open(1, connection="close")),
    (BROKEN, lambda p: frame(HEADERS, END_HEADERS, 1, p.encoder.encode([(":method", "POST"), ("Te", "x")]))),
    (BROKEN, lambda p: p.call(1, b"", content_length="4")),
    (BROKEN, lambda p: frame(HEADERS, END_HEADERS | END_STREAM, 1, p.head(content_length="4"))),
]


@pytest.mark.parametrize("index", range(len(STREAM_ERRORS)))
@on_loop
async def test_what_ends_the_stream_only(index):
    code, say = STREAM_ERRORS[index]
    async with running() as host:
        peer = await host.peer()
        peer.send(say(peer))
        assert (await peer.until(RST_STREAM, 1)).code == code
        peer.send(peer.call(3, request(4)))
        assert given((await peer.answer(3)).messages[0]) == [8.0]


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE[:-1] + b"x", PREFACE + frame(PING, 0, 0, b"12345678")],
)
@on_loop
async def test_what_does_not_begin_as_it_must(said):
    async with running() as host:
        peer = await host.connect()
        peer.send(said)
        assert await peer.goaway() == BROKEN
        await peer.ended()


# Windows


@on_loop
async def test_an_answer_waits_for_the_clients_windows():
    async with running() as host:
        peer = await host.peer({INITIAL_WINDOW_SIZE: 10})
        peer.send(peer.call(1, request(1, width=8)), peer.call(3, request(2, width=8)))
        for number in (1, 3):
            assert len((await peer.until(DATA, number)).payload) == 10
        peer.send(settings({INITIAL_WINDOW_SIZE: 30}))  # what is open gets the difference
        assert len((await peer.until(DATA, 3)).payload) == 20
        peer.send(window_update(3, 1000))
        peer.kept.append(await peer.until(DATA, 3))
        assert len((await peer.until(DATA, 1)).payload) == 20
        peer.send(settings({INITIAL_WINDOW_SIZE: 0}), window_update(1, 29), frame(PING, 0, 0, b"12345678"))
        await peer.until(PING, flags=ACK)
        assert not [came for came in peer.kept if came.number == 1 and came.kind == DATA]
        peer.send(window_update(1, 1000))
        await peer.until(DATA, 1)
        await peer.until(HEADERS, 1, flags=END_STREAM)


@on_loop
async def test_the_window_of_all_is_shared():
    async with running() as host:
        peer = await host.peer({INITIAL_WINDOW_SIZE: 2**30})
        for number in range(1, 9, 2):
            peer.send(*(peer.open(number), *in_frames(number, framed(request(1, width=10_000)))))
        received = 0
        while received < 2**16 - 1:
            received += len((await peer.until(DATA)).payload)
        assert received == 2**16 - 1
        peer.send(window_update(0, 2**20))
        for number in range(1, 9, 2):
            await peer.until(HEADERS, number, flags=END_STREAM)


def in_frames(number: int, data: bytes, size: int = 2**14) -> list[bytes]:
    starts = range(0, len(data), size)
    return [
        frame(DATA, END_STREAM if start + size >= len(data) else 0, number, data[start : start + size])
        for start in starts
    ]


@on_loop
async def test_a_long_message_is_let_through_once_its_length_is_known():
    async with running() as host:
        peer = await host.peer({INITIAL_WINDOW_SIZE: 2**30})
        data = framed(request(1, width=200_000))
        peer.send(window_update(0, 2**30), peer.open(1), frame(DATA, 0, 1, data[:100]))
        more = int.from_bytes((await peer.until(WINDOW_UPDATE, 1)).payload)
        assert 2**18 + more >= len(data)
        peer.send(*in_frames(1, data[100:]))
        assert given((await peer.answer(1)).messages[0]) == [2.0] * 200_000


@on_loop
async def test_a_client_that_sends_beyond_its_window():
    async with running() as host:
        peer = await host.peer()
        peer.send(peer.open(1, STREAM), *[frame(DATA, 0, 1, framed(request(model="held")))] * 16)
        peer.send(*[frame(DATA, 0, 1, bytes(2**14))] * 16)  # more than 16 requests do not run at once
        assert (await peer.until(RST_STREAM, 1)).code == FLOW


@on_loop
async def test_messages_on_their_way_are_bounded():
    async with running(Limits(body_bytes=2**20)) as host:
        peer = await host.peer()
        for number in (1, 3, 5):
            peer.send(peer.open(number), frame(DATA, 0, number, prefix(2**20) + b"x"))
        assert (await peer.answer(5)).status == 8  # two may, a third may not
        peer.send(rst_stream(1, ErrorCode.CANCEL), peer.open(7), frame(DATA, 0, 7, prefix(2**20) + b"x"))
        assert await peer.until(WINDOW_UPDATE, 7)


@on_loop
async def test_too_many_streams():
    async with running(Limits(streams=3)) as host:
        peer = await host.peer()
        peer.send(*(peer.open(number) for number in (1, 3, 5, 7)))
        assert (await peer.until(RST_STREAM, 7)).code == ErrorCode.REFUSED_STREAM
        peer.send(rst_stream(3, ErrorCode.CANCEL), peer.call(9, request(1)))
        assert (await peer.answer(9)).status == 0


# What is too much


@pytest.mark.parametrize(
    "flood",
    [
        lambda p: frame(PING, 0, 0, b"12345678") * 1100,
        lambda p: settings({}) * 1100,
        lambda p: settings({INITIAL_WINDOW_SIZE: 1}) * 1100,
        lambda p: frame(PRIORITY, 0, 9, b"\0\0\0\0\x10") * 1100,
        lambda p: frame(99, 0, 0, b"") * 1100,
        lambda p: window_update(0, 1) * 1100,
        lambda p: p.open(1) + frame(DATA, 0, 1, b"") * 1100,
        lambda p: frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 1100,
        lambda p: frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 3000) * 5,
        lambda p: b"".join(p.open(n) + rst_stream(n, ErrorCode.CANCEL) for n in range(1, 2400, 2)),
        lambda p: b"".join(p.open(n) + window_update(n, 0) for n in range(1, 2400, 2)),
        lambda p: b"".join(p.open(n, connection="x") for n in range(1, 2400, 2)),
    ],
)
@on_loop
async def test_floods(flood):
    async with running() as host:
        peer = await host.peer()
        peer.send(flood(peer))
        assert await peer.goaway() == CALM
        await peer.ended()


@on_loop
async def test_a_header_list_beyond_the_limit():
    async with running(Limits(head_bytes=4096)) as host:
        peer = await host.peer()
        field = "x" * 2000
        peer.send(peer.call(1, request(), a=field, b=field, c=field))
        answer = await peer.answer(1)
        assert (answer.status, answer.said) == (8, "the metadata may have 4096 bytes")
        peer.send(peer.call(3, request(2)))
        assert given((await peer.answer(3)).messages[0]) == [4.0]
        bomb = peer.encoder.encode([("z", "y" * 3000)]) + peer.encoder.encode([("z", "y" * 3000)]) * 10_000
        peer.send(frame(HEADERS, END_HEADERS, 5, bomb[:16_000]))
        assert (await peer.answer(5)).status == 8


@on_loop
async def test_a_client_that_does_not_read():
    async with running(Limits(write_s=0.2, idle_s=60)) as host:
        peer = await host.peer({INITIAL_WINDOW_SIZE: 2**30})
        peer.send(window_update(0, 2**30))
        peer.reader._transport.pause_reading()
        for number in range(1, 41, 2):
            peer.send(peer.open(number), *in_frames(number, framed(request(1, width=60_000))))
        await until_gone(host)


@on_loop
async def test_a_stream_that_is_not_read():
    async with running(Limits(idle_s=0.2)) as host:
        peer = await host.peer({INITIAL_WINDOW_SIZE: 10})
        peer.send(peer.call(1, request(1, width=8)))
        assert (await peer.until(RST_STREAM, 1)).code == ErrorCode.CANCEL


@on_loop
async def test_a_message_that_comes_too_slowly():
    async with running(Limits(body_s=0.1, body_bytes_per_s=10**9)) as host:
        peer = await host.peer()
        peer.send(peer.open(1), frame(DATA, 0, 1, framed(request())[:9]), peer.open(3), peer.open(5, STREAM))
        peer.send(frame(DATA, 0, 5, framed(request())[:9]))
        for number in (1, 3, 5):
            answer = await peer.answer(number)
            assert (answer.status, "must arrive in time" in answer.said) == (4, True)
            assert (await peer.until(RST_STREAM, number)).code == ErrorCode.NO_ERROR
        peer.send(peer.open(7, STREAM), frame(DATA, 0, 7, framed(request())))
        await peer.until(DATA, 7)
        await asyncio.sleep(0.3)  # between messages there is time
        peer.send(frame(DATA, END_STREAM, 7, framed(request())))
        await peer.until(HEADERS, 7, flags=END_STREAM)


@pytest.mark.parametrize("said", [b"", PREFACE[:5], PREFACE, PREFACE + settings({})])
@on_loop
async def test_a_connection_that_says_nothing(said):
    async with running(Limits(head_s=0.1)) as host:
        peer = await host.connect()
        peer.send(said)
        assert await peer.goaway() == ErrorCode.SETTINGS_TIMEOUT
        await peer.ended()


@on_loop
async def test_a_header_block_that_does_not_end():
    async with running(Limits(head_s=0.1)) as host:
        peer = await host.peer()
        peer.send(frame(HEADERS, 0, 1, peer.head()))
        assert await peer.goaway() == CALM


@on_loop
async def test_an_idle_connection_is_asked_to_leave():
    async with running(Limits(idle_s=0.1)) as host:
        peer = await host.peer()
        assert (await peer.until(GOAWAY)).payload[:8] == struct.pack(">LL", STREAM_MAX, 0)
        ping = await peer.until(PING)
        peer.send(peer.call(1, request(2)), frame(PING, ACK, 0, ping.payload))  # it crossed the farewell
        assert given((await peer.answer(1)).messages[0]) == [4.0]
        assert (await peer.until(GOAWAY)).payload[:8] == struct.pack(">LL", 1, 0)
        await peer.ended()


@on_loop
async def test_too_many_connections():
    async with running(Limits(connections=1)) as host:
        first, second = await host.peer(), await host.connect()
        assert await second.goaway() == CALM
        await second.ended()
        first.send(first.call(1, b"", LIVE))
        assert (await first.answer(1)).status == 0


@on_loop
async def test_a_client_that_leaves():
    async with running() as host:
        peer = await host.peer()
        peer.send(peer.call(1, request(2)), frame(GOAWAY, 0, 0, b"\0" * 8))
        assert (await peer.answer(1)).status == 0
        peer.writer.write_eof()
        await peer.ended()
        await until_gone(host)


@on_loop
async def test_draining_in_two_steps():
    async with running() as host:
        peer = await host.peer()
        peer.send(peer.open(1, INFER))
        await asyncio.sleep(0.05)
        draining = asyncio.ensure_future(host.server.drain())
        assert (await peer.until(GOAWAY)).payload[:8] == struct.pack(">LL", STREAM_MAX, 0)
        ping = await peer.until(PING)
        peer.send(peer.call(3, request(3)), frame(PING, ACK, 0, ping.payload), peer.call(5, request(5)))
        assert (await peer.until(GOAWAY)).payload[:8] == struct.pack(">LL", 3, 0)
        assert given((await peer.answer(3)).messages[0]) == [6.0]
        peer.send(frame(DATA, END_STREAM, 1, framed(request(1))))
        assert given((await peer.answer(1)).messages[0]) == [2.0]
        await peer.ended()
        assert await draining
        assert not [came for came in peer.kept if came.number == 5]


async def until_gone(host) -> None:
    while list(host.server.connections):  # within the test's own bound
        await asyncio.sleep(0.01)

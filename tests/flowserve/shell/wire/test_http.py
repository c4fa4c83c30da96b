"""The HTTP data plane on real sockets, with models that are plain functions."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
from loops import on_loop

from flowc.plan.diagnostics import Refused
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.limits import Limits
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.connection import Connection
from flowserve.shell.wire.http import Server
from flowserve.shell.wire.listening import bind

FP32 = DATATYPES["FP32"]
SIGNATURE = Signature((TensorSpec("x", FP32, (-1,)),), (TensorSpec("y", FP32, (-1,)),))
BODY = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [3]}]}'
LIVE = b"GET /v2/health/live HTTP/1.1\r\n\r\n"
READY = b"GET /v2/health/ready HTTP/1.1\r\n\r\n"


def double(feed, outputs):
    return [feed["x"] * 2]


def post(body: bytes = BODY, model: str = "double", headers: str = "") -> bytes:
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


class Client:
    """A connection that speaks bytes and reads one response at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def error(self) -> tuple[int, str]:
        status, _, body = await self.response()
        return status, json.loads(body)["error"]

    async def ended(self) -> bool:
        return await self.reader.read() == b""


class Running:
    """A server in this loop."""

    def __init__(self, server: Server, acceptor: asyncio.Server) -> None:
        self.server, self.acceptor = server, acceptor
        self.port = acceptor.sockets[0].getsockname()[1]

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))


@contextlib.asynccontextmanager
async def running(limits: Limits = Limits(), **models) -> AsyncIterator[Running]:  # noqa: B008
    serving = Serving.of(Model(name, 1, SIGNATURE, run) for name, run in {"double": double, **models}.items())
    server = Server(serving, "1.2", limits)
    loop = asyncio.get_running_loop()
    acceptor = await loop.create_server(lambda: Connection(server), sock=bind("127.0.0.1", 0))
    sweeper = asyncio.create_task(server.connections.sweep())
    try:
        yield Running(server, acceptor)
    finally:
        sweeper.cancel()
        acceptor.close()
        assert await server.drain()


@on_loop
async def test_infer_on_a_kept_connection():
    async with running() as host:
        client = await host.connect()
        for _ in range(3):
            client.send(post())
            status, headers, body = await client.response()
            assert (status, headers["content-type"]) == (200, "application/json")
            assert json.loads(body)["outputs"][0]["data"] == [6.0]


@on_loop
async def test_binary_out():
    async with running() as host:
        client = await host.connect()
        body = BODY[:-1] + b', "parameters": {"binary_data_output": true}}'
        client.send(post(body))
        _, headers, body = await client.response()
        size = int(headers["inference-header-content-length"])
        assert headers["content-type"] == "application/octet-stream"
        assert json.loads(body[:size])["outputs"][0]["parameters"] == {"binary_data_size": 4}
        assert np.frombuffer(body[size:], "<f4").tolist() == [6.0]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2", {"name": "flowserve", "version": "1.2"}),
        ("/v2/models/double", {"name": "double", "versions": ["1"], "platform": "onnxruntime_onnx"}),
        ("/v2/models/double/versions/1/config", {"backend": "onnxruntime", "max_batch_size": 0}),
    ],
)
def test_descriptions(path, expected):
    @on_loop
    async def check():
        async with running() as host:
            client = await host.connect()
            client.send(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            status, _, body = await client.response()
            assert status == 200
            assert expected.items() <= json.loads(body).items()

    check()


@on_loop
async def test_requests_in_one_packet_are_answered_in_order():
    async with running() as host:
        client = await host.connect()
        client.send(post() + LIVE + b"GET /nowhere HTTP/1.1\r\n\r\n" + post(b"{}") + post())
        assert [(await client.response())[0] for _ in range(5)] == [200, 200, 404, 400, 200]


@on_loop
async def test_a_thousand_requests_in_one_packet():
    async with running() as host:
        client = await host.connect()
        client.send(LIVE * 1000)
        assert {(await client.response())[0] for _ in range(1000)} == {200}


@on_loop
async def test_one_byte_at_a_time():
    async with running() as host:
        client = await host.connect()
        for byte in post() + LIVE:
            client.send(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.response())[0] == 200
        assert (await client.response())[0] == 200


@on_loop
async def test_health_is_answered_while_models_run():
    gate, started = threading.Event(), threading.Semaphore(0)

    def slow(feed, outputs):
        started.release()
        gate.wait(20)
        return double(feed, outputs)

    async with running(slow=slow) as host:
        busy, other = await host.connect(), await host.connect()
        busy.send(post(model="slow") + LIVE)
        await asyncio.to_thread(started.acquire)
        other.send(LIVE)
        assert (await other.response())[0] == 200
        gate.set()
        assert (await busy.response())[0] == 200
        assert (await busy.response())[0] == 200


@on_loop
async def test_chunked_body():
    async with running() as host:
        client = await host.connect()
        chunk = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\nInference-Header-Content-Length: 1\r\n\r\n"
        head = b"POST /v2/models/double/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head + chunk + LIVE)
        assert (await client.response())[0] == 200
        assert (await client.response())[0] == 200


@on_loop
async def test_expect_continue():
    async with running() as host:
        client = await host.connect()
        request = post(headers="Expect: 100-continue\r\n")
        client.send(request[: -len(BODY)])
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(BODY)
        assert (await client.response())[0] == 200


@on_loop
async def test_http_1_0_and_close():
    async with running() as host:
        for request, connection in [
            (b"GET /v2 HTTP/1.0\r\n\r\n", "close"),
            (b"GET /v2 HTTP/1.1\r\nConnection: close\r\n\r\n", "close"),
        ]:
            client = await host.connect()
            client.send(request)
            assert (await client.response())[1]["connection"] == connection
            assert await client.ended()
        client = await host.connect()
        client.send(b"GET /v2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + LIVE)
        assert (await client.response())[1]["connection"] == "keep-alive"
        assert (await client.response())[0] == 200


@on_loop
async def test_head_has_no_body():
    async with running() as host:
        client = await host.connect()
        client.send(b"HEAD /v2 HTTP/1.1\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 0" not in head
        client.send(LIVE)
        assert (await client.response())[0] == 200


@on_loop
async def test_an_offer_to_upgrade_is_ignored():
    async with running() as host:
        client = await host.connect()
        client.send(post(headers="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n") + LIVE)
        status, _, body = await client.response()
        assert (status, json.loads(body)["outputs"][0]["data"]) == (200, [6.0])
        assert (await client.response())[0] == 200


@on_loop
async def test_a_client_that_closes_its_side_is_still_answered():
    async with running() as host:
        client = await host.connect()
        client.send(post())
        client.writer.write_eof()
        assert (await client.response())[0] == 200
        assert await client.ended()


@on_loop
async def test_a_client_that_leaves_does_not_matter():
    gate, started = threading.Event(), threading.Semaphore(0)

    def slow(feed, outputs):
        started.release()
        gate.wait(20)
        return double(feed, outputs)

    async with running(slow=slow) as host:
        client = await host.connect()
        client.send(post(model="slow"))
        await asyncio.to_thread(started.acquire)
        client.writer.transport.abort()
        gate.set()
        other = await host.connect()
        other.send(post())
        assert (await other.response())[0] == 200


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "[FS201] the request must be HTTP/1.1"),
        (b"GET /v2 HTTP/9.9\r\n\r\n", 400, "[FS201] the request must be HTTP/1.1"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "[FS201]"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "[FS201]"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "[FS201]"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, "[FS201]"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 201\r\n\r\n",
            413,
            "[FS208] the body must be at most 200 bytes",
        ),
        (b"POST / HTTP/1.1\r\nContent-Length: 10000000000000000000\r\n\r\n", 413, "[FS208]"),
        (b"POST / HTTP/1.1\r\nContent-Length: 201\r\nExpect: 100-continue\r\n\r\n", 413, "[FS208]"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nc9\r\n" + bytes(201), 413, "[FS208]"),
        (
            b"GET / HTTP/1.1\r\nX: " + b"x" * 500 + b"\r\n\r\n",
            413,
            "[FS208] the head must be at most 400 bytes",
        ),
        (b"GET /" + b"x" * 500 + b" HTTP/1.1\r\n\r\n", 413, "[FS208] the head"),
        (
            b"POST / HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\n_",
            415,
            "[FS201] `Content-Enc",
        ),
    ],
)
def test_what_is_not_taken_ends_the_connection(request_, status, message):
    @on_loop
    async def check():
        async with running(Limits(body_bytes=200, head_bytes=400)) as host:
            client = await host.connect()
            client.send(LIVE + request_ + LIVE)
            assert (await client.response())[0] == 200
            got, text = await client.error()
            assert got == status
            assert message in text
            assert await client.ended()

    check()


@on_loop
async def test_all_connections_together_hold_so_many_bytes_and_no_more():
    gate = threading.Event()

    def slow(feed, outputs):
        gate.wait(10)
        return double(feed, outputs)

    body = BODY + b" " * 1000
    async with running(Limits(held_bytes=1500), slow=slow) as host:
        first, second, third = [await host.connect() for _ in range(3)]
        first.send(post(body, "slow"))
        while not host.server.held_bytes:
            await asyncio.sleep(0)
        second.send(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        status, text = await second.error()
        assert (status, text[:7]) == (503, "[FS240]")
        third.send(post())  # a small one still fits
        assert (await third.response())[0] == 200
        gate.set()
        assert (await first.response())[0] == 200
        assert host.server.held_bytes == 0
        first.send(post(body))
        assert (await first.response())[0] == 200


@on_loop
async def test_a_header_that_never_ends():
    async with running(Limits(head_bytes=400)) as host:
        client = await host.connect()
        client.send(b"GET /v2 HTTP/1.1\r\nX: ")
        for _ in range(50):
            client.send(b"x" * 20)
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.error())[0] == 413


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (post(b"{}"), 400, "[FS201]"),
        (post(BODY.replace(b"FP32", b"FP64")), 400, "[FS204]"),
        (post(BODY.replace(b"[1]", b"[2]")), 400, "[FS206]"),
        (post(model="none"), 404, "[FS202]"),
        (post(model="double/versions/2"), 404, "[FS202]"),
        (
            post(headers="Inference-Header-Content-Length: x\r\n"),
            400,
            "[FS201] `Inference-Header-Content-Length`",
        ),
        (post(headers="Content-Encoding: gzip\r\n"), 400, "[FS201]"),
        (b"PUT /v2 HTTP/1.1\r\n\r\n", 405, "[FS209]"),
        (b"CONNECT x:1 HTTP/1.1\r\n\r\n", 404, "[FS209]"),
        (b"GET /v2/models/none/ready HTTP/1.1\r\n\r\n", 404, "[FS202]"),
    ],
)
def test_what_is_refused_keeps_the_connection(request_, status, message):
    @on_loop
    async def check():
        async with running() as host:
            client = await host.connect()
            client.send(request_)
            got, text = await client.error()
            assert got == status
            assert text.startswith(message)
            client.send(post())
            assert (await client.response())[0] == 200

    check()


@on_loop
async def test_a_model_that_breaks_is_answered_with_500():
    def broken(feed, outputs):
        raise ZeroDivisionError("secret")

    async with running(broken=broken) as host:
        client = await host.connect()
        client.send(post(model="broken"))
        status, text = await client.error()
        assert status == 500
        assert "secret" not in text
        client.send(post())
        assert (await client.response())[0] == 200


@pytest.mark.parametrize("part", [b"P", b"POST /v2/models/double/infer HTTP/1.1\r\nX", post()[:-1]])
def test_half_a_request_runs_out_of_time(part):
    @on_loop
    async def check():
        limits = Limits(head_s=0.01, body_s=0.01, body_bytes_per_s=10**9)
        async with running(limits) as host:
            client = await host.connect()
            client.send(part)
            status, text = await client.error()
            assert (status, text[:7]) == (408, "[FS201]")
            assert await client.ended()

    check()


@on_loop
async def test_an_idle_connection_is_closed():
    async with running(Limits(idle_s=0.01)) as host:
        client = await host.connect()
        assert await client.ended()


@on_loop
async def test_a_client_that_does_not_read_is_cut_off():
    def large(feed, outputs):
        return [np.zeros(8_000_000, np.float32)]

    async with running(Limits(write_s=0.05), large=large) as host:
        client = await host.connect()
        client.send(LIVE)
        assert (await client.response())[0] == 200
        client.writer.transport.pause_reading()
        client.send(post(model="large"))
        assert await host.server.drain()


@on_loop
async def test_too_many_connections():
    async with running(Limits(connections=1)) as host:
        first = await host.connect()
        first.send(LIVE)
        assert (await first.response())[0] == 200
        second = await host.connect()
        assert await second.error() == (503, "the server has 1 connections, which is its limit")
        assert await second.ended()


@on_loop
async def test_draining_finishes_what_was_begun_and_says_not_ready():
    gate, started = threading.Event(), threading.Semaphore(0)

    def slow(feed, outputs):
        started.release()
        gate.wait(20)
        return double(feed, outputs)

    async with running(slow=slow) as host:
        busy, idle, half = [await host.connect() for _ in range(3)]
        idle.send(READY)
        assert (await idle.response())[0] == 200
        half.send(LIVE + post()[:-1])
        assert (await half.response())[0] == 200
        busy.send(post(model="slow"))
        await asyncio.to_thread(started.acquire)
        host.acceptor.close()
        draining = asyncio.create_task(host.server.drain())
        await asyncio.sleep(0)
        idle.send(READY)
        status, headers, _ = await idle.response()
        assert (status, headers["connection"]) == (503, "close")
        half.send(post()[-1:])
        assert (await half.response())[0] == 200
        assert not draining.done()
        gate.set()
        status, headers, _ = await busy.response()
        assert (status, headers["connection"]) == (200, "close")
        assert await draining


@on_loop
async def test_draining_does_not_wait_for_ever():
    gate, started = threading.Event(), threading.Semaphore(0)

    def slow(feed, outputs):
        started.release()
        gate.wait(20)
        return double(feed, outputs)

    async with running(Limits(drain_s=0.01), slow=slow) as host:
        client = await host.connect()
        client.send(post(model="slow"))
        await asyncio.to_thread(started.acquire)
        assert not await host.server.drain()
        gate.set()
        assert (await client.response())[0] == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression_both_ways(coding):
    @on_loop
    async def check():
        import zlib

        from flowserve.core.wire.coding import packed

        count = 5000
        plain = BODY.replace(b"[1]", b"[%d]" % count).replace(b"[3]", b"[" + b",".join([b"3"] * count) + b"]")
        async with running() as host:
            client = await host.connect()
            headers = f"Content-Encoding: {coding}\r\nAccept-Encoding: {coding}\r\n"
            client.send(post(packed(plain, coding), headers=headers))
            _, got, body = await client.response()
            assert got["content-encoding"] == coding
            assert json.loads(zlib.decompress(body, 47))["outputs"][0]["data"] == [6.0] * count

    check()


def test_addresses_that_cannot_be_bound():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(Refused, match=r"\[FS104\].*address already in use"):
            bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(Refused, match="FS104"):
        bind("256.0.0.1", 0)
    with pytest.raises(Refused, match="FS104"):
        bind("a" * 100, 0)


def test_bind_takes_a_free_port():
    with bind("localhost", 0) as listener:
        assert listener.getsockname()[1] > 0
        assert listener.family in (socket.AF_INET, socket.AF_INET6)


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        (b"TRACE /v2/health/live", "get, head"),
        (b"GET /v2/models/m/infer", "post"),
        (b"PUT /predict/m", "get, head, post"),
    ],
)
def test_another_method_is_told_which_there_are(line, allowed):
    @on_loop
    async def check():
        async with running() as host:
            client = await host.connect()
            client.send(line + b" HTTP/1.1\r\n\r\n")
            status, headers, _ = await client.response()
            assert (status, headers["allow"]) == (405, allowed)

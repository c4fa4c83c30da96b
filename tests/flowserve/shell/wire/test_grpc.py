"""The gRPC data plane on real sockets, with models that are plain functions."""

import asyncio
import contextlib
import gzip
import threading
from collections.abc import AsyncIterator

import grpc
import h2.config
import h2.connection
import h2.events
import numpy as np
import pytest
from loops import on_loop
from tritonclient.grpc import service_pb2 as theirs
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub as Stub

from flowc.plan.diagnostics import Diagnostic
from flowserve.core.engine.calls import Overloaded
from flowserve.core.wire.http2.frames import DATA, END_STREAM, HEADERS, PING, frame, window_update
from flowserve.core.wire.http2.messages import prefix
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.tokens import Tokens
from flowserve.shell.wire.grpc.server import GrpcServer
from flowserve.shell.wire.security import Security
from tests.flowserve.shell.wire import http2_peer
from tests.flowserve.shell.wire.http2_peer import INFER, LIVE, STREAM, framed


def broken(feed, outputs):
    raise ZeroDivisionError


def overloaded(feed, outputs):
    raise Overloaded(Diagnostic("FS210", "too much to do"), retry_after_s=3)


def request(value: float = 3, model: str = "double", width: int = 1, **named) -> theirs.ModelInferRequest:
    return theirs.ModelInferRequest.FromString(http2_peer.request(value, model, width, **named))


def given(response) -> float:
    return float(np.frombuffer(response.raw_output_contents[0], "<f4")[0])


class Running:
    """A server in this loop, and a client of it."""

    def __init__(self, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        self.server, self.channel, self.stub = server, channel, Stub(channel)

    async def refusal(self, message) -> tuple[str, str, str]:
        """The status, what it says, and when to come again."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.stub.ModelInfer(message)
        error = caught.value
        pushback = dict(error.trailing_metadata()).get("grpc-retry-pushback-ms", "")
        return error.code().name, error.details(), pushback


@contextlib.asynccontextmanager
async def running(
    limits: Limits = Limits(),  # noqa: B008
    security: Security = Security(),  # noqa: B008
    **models,
) -> AsyncIterator[Running]:
    async with http2_peer.running(limits, security, **models) as host:
        options = [("grpc.max_receive_message_length", -1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{host.port}", options=options) as channel:
            yield Running(host.server, channel)


@on_loop
async def test_infer():
    async with running() as host:
        for value in (1, 2, 3):  # the first on a thread, others inline once the model is known to be fast
            response = await host.stub.ModelInfer(request(value, id="7"))
            assert (given(response), response.id, response.model_version) == (value * 2, "7", "1")


@on_loop
async def test_refusals_have_codes_and_reasons():
    async with running(broken=broken, overloaded=overloaded) as host:
        code, said, _ = await host.refusal(request(model="none"))
        assert (code, said) == (
            "NOT_FOUND",
            "[FS202] there is no model `none`; the server has `broken`, `double`, `held`, `overloaded`",
        )
        code, said, _ = await host.refusal(theirs.ModelInferRequest(model_name="double"))
        assert (code, said) == ("INVALID_ARGUMENT", "[FS203] `inputs` must have `x`, but `x` is missing")
        code, said, _ = await host.refusal(request(model="broken"))
        assert (code, "ZeroDivisionError" in said) == ("INTERNAL", False)
        assert (await host.refusal(request(model="overloaded")))[1:] == ("[FS210] too much to do", "3000")
        assert given(await host.stub.ModelInfer(request())) == 6


@on_loop
async def test_what_is_no_message():
    async with running() as host:
        for method in ("ModelInfer", "ModelMetadata"):
            ask = host.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.aio.AioRpcError, match=r"\[FS201\] the request is not a Model") as caught:
                await ask(b"\xff\xff")
            assert caught.value.code().name == "INVALID_ARGUMENT"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await host.channel.unary_unary("/inference.GRPCInferenceService/Nonsense")(b"")
        assert caught.value.code().name == "UNIMPLEMENTED"


@on_loop
async def test_settings():
    async with running() as host:
        assert (await host.stub.TraceSetting(theirs.TraceSettingRequest())).settings["trace_rate"].value == [
            "1000"
        ]
        request = theirs.LogSettingsRequest()
        request.settings["log_verbose_level"].uint32_param = 1
        assert (await host.stub.LogSettings(request)).settings["log_verbose_level"].uint32_param == 1
        traced = theirs.TraceSettingRequest()
        traced.settings["trace_level"].value.append("TENSORS")
        with pytest.raises(grpc.aio.AioRpcError, match=r"\[FS233\]"):
            await host.stub.TraceSetting(traced)


@on_loop
async def test_a_message_beyond_the_limit():
    async with running(Limits(body_bytes=1000)) as host:
        code, said, _ = await host.refusal(request(id="x" * 1000))
        assert code == "RESOURCE_EXHAUSTED"
        assert "1000" in said


@on_loop
async def test_a_stream_answers_in_order_and_outlives_a_refusal():
    async with running() as host:
        asked = [request(n, id=str(n)) for n in range(40)]
        asked[7] = request(model="none", id="7")
        answers = [answer async for answer in host.stub.ModelStreamInfer(iter(asked))]
        assert [a.infer_response.id for a in answers] == [str(n) for n in range(40)]
        assert answers[7].error_message.startswith("[FS202] there is no model `none`")
        assert [given(a.infer_response) for a in answers if not a.error_message] == [
            n * 2.0 for n in range(40) if n != 7
        ]
        assert answers[0].infer_response.parameters["triton_final_response"].bool_param


@on_loop
async def test_a_client_that_leaves_takes_its_call_along():
    release, began, ran = threading.Event(), threading.Event(), []

    def slow(feed, outputs):
        began.set()
        ran.append(float(feed["x"][0]))
        assert release.wait(20)
        return [feed["x"]]

    async with running(slow=slow) as host:
        busy = [asyncio.ensure_future(host.stub.ModelInfer(request(n, "slow"))) for n in range(2)]
        await asyncio.to_thread(began.wait)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await host.stub.ModelInfer(request(9, "slow"), timeout=0.2)
        assert caught.value.code().name == "DEADLINE_EXCEEDED"
        release.set()
        assert [given(answer) for answer in await asyncio.gather(*busy)] == [0, 1]
        assert given(await host.stub.ModelInfer(request(5, "slow"))) == 5
    assert sorted(ran) == [0, 1, 5]


@on_loop
async def test_draining_finishes_what_was_begun():
    release, began = threading.Event(), threading.Event()

    def slow(feed, outputs):
        began.set()
        assert release.wait(20)
        return [feed["x"]]

    async with running(slow=slow) as host:
        asked = asyncio.ensure_future(host.stub.ModelInfer(request(4, "slow")))
        await asyncio.to_thread(began.wait)
        draining = asyncio.ensure_future(host.server.drain())
        await asyncio.sleep(0)
        release.set()
        assert given(await asked) == 4
        assert await draining


@on_loop
async def test_long_tensors_both_ways():
    async with running() as host:
        for width in (16_000, 20_000, 1_000_000):
            response = await host.stub.ModelInfer(request(2, width=width))
            assert response.raw_output_contents[0] == np.full(width, 4, np.float32).tobytes()


@pytest.mark.parametrize("coding", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@on_loop
async def test_compression(coding):
    async with running() as host:
        for width in (1, 100_000):
            response = await host.stub.ModelInfer(request(2, width=width), compression=coding)
            assert response.raw_output_contents[0] == np.full(width, 4, np.float32).tobytes()
        asked = [request(n, width=1000) for n in range(5)]
        answers = [a async for a in host.stub.ModelStreamInfer(iter(asked), compression=coding)]
        assert [given(answer.infer_response) for answer in answers] == [0, 2, 4, 6, 8]
        live = host.channel.unary_unary(LIVE)
        assert await live(b"", compression=coding)


@on_loop
async def test_more_calls_than_a_connection_may_have():
    async with running() as host:
        answers = await asyncio.gather(*(host.stub.ModelInfer(request(n)) for n in range(300)))
        assert [given(answer) for answer in answers] == [n * 2.0 for n in range(300)]


@on_loop
async def test_tokens():
    security = Security(tokens=Tokens(["a-token-of-sixteen-letters"]))
    async with running(security=security) as host:
        assert await host.channel.unary_unary(LIVE)(b"")
        assert await host.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        for metadata in ((), (("authorization", "Bearer another-token-altogether"),)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await host.stub.ModelInfer(request(), metadata=metadata)
            assert caught.value.code().name == "UNAUTHENTICATED"
        right = (("authorization", "Bearer a-token-of-sixteen-letters"), ("other-bin", b"\0\1"))
        assert given(await host.stub.ModelInfer(request(2), metadata=right)) == 4


@on_loop
async def test_what_a_client_cancels_does_not_run():
    began, release, ran = threading.Event(), threading.Event(), []

    def slow(feed, outputs):
        ran.append(float(feed["x"][0]))
        began.set()
        assert release.wait(20)
        return [feed["x"]]

    async with running(slow=slow) as host:
        busy = [asyncio.ensure_future(host.stub.ModelInfer(request(0, "slow"))) for _ in range(2)]
        await asyncio.to_thread(began.wait)
        waiting = [asyncio.ensure_future(host.stub.ModelInfer(request(9, "slow"))) for _ in range(5)]
        stream = host.stub.ModelStreamInfer(iter([request(9, "slow")] * 5))
        await host.stub.ServerLive(theirs.ServerLiveRequest())  # they have come
        for call in waiting:
            call.cancel()
        stream.cancel()
        await host.stub.ServerLive(theirs.ServerLiveRequest())
        release.set()
        await asyncio.gather(*busy)
        assert given(await host.stub.ModelInfer(request(5, "slow"))) == 5
    assert ran == [0, 0, 5]


@on_loop
async def test_a_deadline_passes_while_the_model_runs():
    limits = Limits(head_s=0.2)  # deadlines are looked at as often
    async with http2_peer.running(limits) as host:
        peer = await host.peer()
        peer.send(peer.call(1, http2_peer.request(model="held"), grpc_timeout="50m"))
        answer = await peer.answer(1)
        assert (answer.status, answer.said) == (4, "the deadline has passed")
        peer.send(peer.call(3, http2_peer.request(), grpc_timeout="soon"))
        assert (await peer.answer(3)).status == 13


@on_loop
async def test_what_is_no_call():
    async with http2_peer.running() as host:
        peer = await host.peer()
        one = framed(http2_peer.request())
        cases = [
            (peer.call(1, b"", "/none/None"), 12),
            (peer.open(3) + frame(DATA, END_STREAM, 3, one + one), 12),  # two messages
            (peer.open(5) + frame(DATA, END_STREAM, 5, b""), 12),  # and none
            (peer.open(7) + frame(DATA, END_STREAM, 7, one[:-1]), 3),
            (peer.open(9) + frame(DATA, END_STREAM, 9, b"\2" + one[1:]), 3),
            (peer.call(11, b"", grpc_encoding="snappy"), 12),
            (peer.open(13) + frame(DATA, END_STREAM, 13, b"\1" + one[1:]), 3),  # compressed, but not how
            (peer.open(15, grpc_encoding="gzip") + frame(DATA, END_STREAM, 15, b"\1" + one[1:]), 3),
        ]
        for number, (said, status) in zip(range(1, 17, 2), cases, strict=True):
            peer.send(said)
            assert (await peer.answer(number)).status == status
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
        peer.send(frame(HEADERS, 5, 17, peer.encoder.encode(fields)))
        assert (await peer.answer(17)).head == {":status": "405", "content-length": "0"}


@on_loop
async def test_a_message_that_unpacks_beyond_the_limit():
    packed = gzip.compress(bytes(10**6))
    async with http2_peer.running(Limits(body_bytes=10**5)) as host:
        peer = await host.peer()
        for number, path in ((1, INFER), (3, LIVE)):
            peer.send(peer.open(number, path, grpc_encoding="gzip"))
            peer.send(frame(DATA, END_STREAM, number, prefix(len(packed), True) + packed))
            assert (await peer.answer(number)).status == 8


@on_loop
async def test_a_stream_is_not_answered_ahead_of_its_reader():
    began = []

    def counted(feed, outputs):
        began.append(None)
        return [np.zeros(10_000, np.float32)]

    async with http2_peer.running(counted=counted) as host:
        peer = await host.peer()
        peer.send(peer.open(1, STREAM))
        for _ in range(100):
            peer.send(frame(DATA, 0, 1, framed(http2_peer.request(model="counted"))))
        peer.send(frame(DATA, END_STREAM, 1, b""))
        await peer.until(DATA)
        peer.send(frame(PING, 0, 0, b"12345678"))
        await peer.until(PING)
        assert len(began) <= 40
        peer.send(window_update(0, 2**30), window_update(1, 2**30))
        await peer.until(HEADERS, flags=END_STREAM)
    assert len(began) == 100


@on_loop
async def test_another_implementation_of_http2():
    """The `h2` package, which checks what it is sent, with small windows."""
    async with http2_peer.running() as host:
        peer = await host.connect()
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        client.initiate_connection()
        client.update_settings({4: 1000, 1: 0})
        message = framed(http2_peer.request(1, width=60_000))
        fields = [(":method", "POST"), (":scheme", "http"), (":path", INFER), (":authority", "x")]
        client.send_headers(1, [*fields, ("te", "trailers"), ("content-type", "application/grpc")])
        received, ended = b"", False
        while not ended:
            while message and (size := min(client.local_flow_control_window(1), 16_384, len(message))):
                client.send_data(1, message[:size], end_stream=size == len(message))
                message = message[size:]
            peer.writer.write(client.data_to_send())
            for event in client.receive_data(await peer.reader.read(65_536)):
                if isinstance(event, h2.events.DataReceived):
                    received += event.data
                    client.acknowledge_received_data(event.flow_controlled_length, 1)
                ended |= isinstance(event, h2.events.StreamEnded)
        assert http2_peer.given(received[5:]) == [2.0] * 60_000

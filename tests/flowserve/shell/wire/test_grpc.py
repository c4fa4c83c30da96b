"""The gRPC data plane on real sockets, with models that are plain functions."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
import uvloop
from tritonclient.grpc import service_pb2 as theirs
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub as Stub

from flowc.plan.diagnostics import Diagnostic
from flowserve.core.engine.calls import Overloaded
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.datatypes import DATATYPES
from flowserve.core.wire.service import health_service
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.connection import Limits
from flowserve.shell.wire.grpc import GrpcServer
from flowserve.shell.wire.listening import bind

FP32 = DATATYPES["FP32"]
SIGNATURE = Signature((TensorSpec("x", FP32, (-1,)),), (TensorSpec("y", FP32, (-1,)),))


def double(feed, outputs):
    return [feed["x"] * 2]


def broken(feed, outputs):
    raise ZeroDivisionError


def overloaded(feed, outputs):
    raise Overloaded(Diagnostic("FS210", "too much to do"), retry_after_s=3)


def request(value: float = 3, model: str = "double", **named) -> theirs.ModelInferRequest:
    message = theirs.ModelInferRequest(model_name=model, **named)
    message.inputs.add(name="x", datatype="FP32", shape=[1])
    message.raw_input_contents.append(np.float32(value).tobytes())
    return message


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
async def running(limits: Limits = Limits(), **models) -> AsyncIterator[Running]:  # noqa: B008
    serving = Serving.of(Model(name, 1, SIGNATURE, run) for name, run in {"double": double, **models}.items())
    engine = LoopEngine(asyncio.get_running_loop())
    server = GrpcServer(serving, engine, "1.2", limits)
    reserved = bind("127.0.0.1", 0)
    address = f"127.0.0.1:{reserved.getsockname()[1]}"
    await server.listen(reserved)
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Running(server, channel)
    finally:
        assert await server.drain()
        engine.close()


def on_loop(test):
    """Run an async test within a bounded time."""

    def run(*arguments, **named):
        async def bounded():
            async with asyncio.timeout(20):
                await test(*arguments, **named)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bounded())

    run.__name__ = test.__name__
    return run


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
            "[FS202] there is no model `none`; the server has `broken`, `double`, `overloaded`",
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
            await host.stub.TraceSetting(theirs.TraceSettingRequest())
        assert caught.value.code().name == "UNIMPLEMENTED"


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
async def test_health_checking():
    async with running() as host:
        check = health_service().methods["Check"]
        ask = host.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check.response.FromString(await ask(b"")).status == 1

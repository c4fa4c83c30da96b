"""gRPC's health checking and reflection, asked by grpcio."""

import array
import asyncio
import contextlib

import grpc
import pytest
from loops import on_loop

from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.wire.grpc.standard import health_service, reflection_services
from flowserve.core.wire.http2.rpc import STATUSES
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.tokens import Tokens
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.grpc.server import GrpcServer
from flowserve.shell.wire.listening import bind
from flowserve.shell.wire.security import Security
from tests.flowserve.shell.wire import http2_peer
from tests.flowserve.shell.wire.http2_peer import SIGNATURE, double

SERVICE = "inference.GRPCInferenceService"
TOKEN = "a-token-of-sixteen-letters"
CHECK = health_service().methods["Check"]
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)
PATIENCE_S = 20


class Running:
    """A server whose models change when it is told to, and a client of it."""

    def __init__(self, serving: Serving, word: memoryview, server: GrpcServer, channel) -> None:
        self.serving, self.word, self.server, self.channel = serving, word, server, channel
        self._check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", CHECK.request.SerializeToString, CHECK.response.FromString
        )
        self._watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch", CHECK.request.SerializeToString, CHECK.response.FromString
        )

    async def check(self, service: str, **options) -> int:
        return (await self._check(CHECK.request(service=service), **options)).status

    def watch(self, service: str, **options):
        return self._watch(CHECK.request(service=service), timeout=PATIENCE_S, **options)

    def move(self, *names: str) -> None:
        """Serve these models, as a process does that has been told of it."""
        generation = self.word[0] + 1
        versions = [Version(Key(name, 1), Model(name, 1, SIGNATURE, double)) for name in names]
        self.serving.stage(Table(versions, generation=generation))
        self.word[0] = generation
        assert self.serving.table.generation == generation


@contextlib.asynccontextmanager
async def running(security: Security = Security()):  # noqa: B008
    word = memoryview(array.array("Q", [0]))
    serving, engine = Serving(Table([]), word), LoopEngine(asyncio.get_running_loop())
    server = GrpcServer(serving, engine, "1.2", Limits(), security)
    reserved = bind("127.0.0.1", 0)
    await server.listen(reserved)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{reserved.getsockname()[1]}") as channel:
        yield Running(serving, word, server, channel)
    await server.drain()
    engine.close()


async def told(watch) -> int:
    return (await watch.read()).status


@on_loop
async def test_a_check_is_of_the_server_its_service_or_a_model():
    async with running() as host:
        for service in ("", SERVICE):
            assert await host.check(service) == SERVING
        host.move("iris")
        for service in ("iris", "iris@1"):
            assert await host.check(service) == SERVING
        for service in ("churn", "iris@2"):
            with pytest.raises(grpc.aio.AioRpcError, match="there is no service") as caught:
                await host.check(service)
            assert caught.value.code().name == "NOT_FOUND"
        with pytest.raises(grpc.aio.AioRpcError, match="is not a HealthCheckRequest") as caught:
            await host.channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff")
        assert caught.value.code().name == "INVALID_ARGUMENT"


@on_loop
async def test_a_watch_is_told_at_once_and_of_every_change():
    async with running() as host:
        server, model = host.watch(""), host.watch("iris")
        assert (await told(server), await told(model)) == (SERVING, SERVICE_UNKNOWN)
        host.move("iris")
        assert await told(model) == SERVING
        host.move("iris", "churn")  # nothing changes for who watches
        host.move("churn")
        assert await told(model) == SERVICE_UNKNOWN
        host.move("iris")
        assert await told(model) == SERVING


@on_loop
async def test_a_watch_ends_with_the_server():
    async with running() as host:
        watch, unknown = host.watch(SERVICE), host.watch("none")
        assert (await told(watch), await told(unknown)) == (SERVING, SERVICE_UNKNOWN)
        draining = asyncio.ensure_future(host.server.drain())
        assert await told(watch) == NOT_SERVING
        for ended in (watch, unknown):
            assert await ended.read() is grpc.aio.EOF
            assert await ended.code() == grpc.StatusCode.OK
        assert await draining


@on_loop
async def test_who_does_not_watch_any_more_is_forgotten():
    async with running() as host:
        watch = host.watch("iris")
        await told(watch)
        watch.cancel()
        assert await host.check("") == SERVING  # the server has heard of what was before
        host.move("iris")
        watch = host.watch("iris")
        assert await told(watch) == SERVING


@on_loop
async def test_models_are_for_those_with_a_token():
    async with running(Security(tokens=Tokens([TOKEN]))) as host:
        host.move("iris")
        assert await host.check("") == SERVING
        with pytest.raises(grpc.aio.AioRpcError):
            await host.check("iris")
        assert await told(host.watch("iris")) == SERVICE_UNKNOWN
        right = {"metadata": (("authorization", f"Bearer {TOKEN}"),)}
        assert await host.check("iris", **right) == SERVING
        assert await told(host.watch("iris", **right)) == SERVING


@pytest.mark.parametrize("service", reflection_services(), ids=lambda service: service.name)
@on_loop
async def test_reflection_answers_each_question_of_a_stream(service):
    method = service.methods["ServerReflectionInfo"]
    async with running() as host:
        ask = host.channel.stream_stream(
            f"/{service.name}/ServerReflectionInfo",
            method.request.SerializeToString,
            method.response.FromString,
        )
        asked = [{"list_services": "*"}, {"file_containing_symbol": SERVICE}, {"file_by_filename": "none"}]
        kinds = [
            answer.WhichOneof("message_response")
            async for answer in ask(iter([method.request(**question) for question in asked]))
        ]
        assert kinds == ["list_services_response", "file_descriptor_response", "error_response"]


@on_loop
async def test_reflection_refuses_what_is_no_question_and_who_has_no_token():
    # By hand: grpcio calls it its own error when a stream is refused while it still writes.
    path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    async with http2_peer.running() as host:
        peer = await host.peer()
        peer.send(peer.call(1, b"\xff", path))
        assert (await peer.answer(1)).said.startswith("[FS201] the request is not a ServerReflectionRequest")
    async with http2_peer.running(security=Security(tokens=Tokens([TOKEN]))) as host:
        peer = await host.peer()
        peer.send(peer.call(1, b"", path))
        assert (await peer.answer(1)).status == STATUSES["UNAUTHENTICATED"]

"""The gRPC data plane: the Open Inference Protocol v2 on the event loop that serves HTTP.

Requests and responses go through grpc as bytes: what is not a message is refused here, with a reason. This
module is imported only by a server that was asked for gRPC.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter
from typing import Any

# Before grpc is loaded: it writes to stderr what it also raises, and guards forks that never happen here.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
import grpc.aio
import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.engine.calls import Call, Engine, priority_of, rows_of
from flowserve.core.models.model import Model
from flowserve.core.models.table import Cold, Version
from flowserve.core.wire.addresses import Address, Unix
from flowserve.core.wire.answers import Answer, describe, refusal
from flowserve.core.wire.extension_routes import ExtensionRoute
from flowserve.core.wire.grpc import (
    DESCRIBED,
    SERVICE,
    Question,
    code_of,
    infer_response,
    method_response,
    parse_infer,
    question,
    read_infer,
    said_not_ready,
    stream_failure,
    stream_response,
)
from flowserve.core.wire.protocol import InferRequest
from flowserve.core.wire.routes import Description, Infer, Predict
from flowserve.core.wire.service import health_service
from flowserve.core.wire.shared import no_regions
from flowserve.core.wire.tensors import Array
from flowserve.core.wire.tokens import OPEN_METHODS
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.connection import Limits
from flowserve.shell.wire.extensions import Extensions, FixedRepository
from flowserve.shell.wire.grpc_calls import (
    Context,
    UnaryAnswer,
    abort,
    guarded,
    guarded_stream,
    is_local,
)
from flowserve.shell.wire.http import Server
from flowserve.shell.wire.listening import address_of, private_sockets, remove_unix
from flowserve.shell.wire.security import Security

_log = logging.getLogger("flowserve")

# Requests of one stream that may run at once; more wait in the client, by flow control.
_STREAM_AHEAD = 16
_FAILED = "the server failed while answering; its log has the reason"


async def listen(server: Server, reserved: socket.socket, shared: bool = False) -> GrpcServer:
    """Serve what an HTTP server serves at another address too, with other processes if it is `shared`.

    Raises `Refused` FS104.
    """
    endpoint = GrpcServer(
        server.models,
        server.engine,
        server.version,
        server.limits,
        server.security,
        server.extensions,
        shared,
    )
    await endpoint.listen(reserved)
    return endpoint


class GrpcServer:
    """Every gRPC call of a process. Lives on the running loop."""

    def __init__(
        self,
        models: Serving,
        engine: Engine,
        version: str,
        limits: Limits,
        security: Security = Security(),  # noqa: B008 - frozen
        extensions: Extensions | None = None,
        shared: bool = False,
    ) -> None:
        self._models = models
        self._extensions = extensions or Extensions(FixedRepository(models, engine))
        self._security = security
        self._address: Address | None = None
        self._inode = 0
        self._engine = engine
        self._version = version
        self._limits = limits
        self._draining = False
        self._active = 0
        self._server = grpc.aio.server(
            options=_options(limits, shared), maximum_concurrent_rpcs=limits.connections
        )
        self._server.add_generic_rpc_handlers((self._inference(), self._health()))

    async def listen(self, reserved: socket.socket) -> None:
        """Begin to answer at a reserved address; this process's socket is closed. Raises `Refused` FS104."""
        self._address = address = address_of(reserved)
        with reserved, private_sockets():
            try:
                if isinstance(address, Unix):  # grpc makes its own
                    Path(address.path).unlink(missing_ok=True)
                    self._server.add_insecure_port(str(address))
                    self._inode = os.stat(address.path).st_ino
                elif (tls := self._security.tls) is None:
                    self._server.add_insecure_port(str(address))
                else:
                    pair = (tls.key, tls.certificates)
                    self._server.add_secure_port(str(address), grpc.ssl_server_credentials([pair]))
            except (OSError, RuntimeError) as error:  # another process listens there meanwhile
                refuse("FS104", f"the server cannot listen on `{address}`: {error}")
        await self._server.start()

    async def drain(self) -> bool:
        """Finish what was begun, within `drain_s`. Returns whether that was enough."""
        self._draining = True
        stopping = asyncio.ensure_future(self._server.stop(self._limits.drain_s))
        await asyncio.wait((stopping,), timeout=self._limits.drain_s)
        finished = not self._active
        await stopping
        if self._address is not None:
            remove_unix(self._address, self._inode)
        return finished

    def _inference(self) -> Any:
        tokens = self._security.tokens
        answers = {name: self._described(name) for name in DESCRIBED} | {"ModelInfer": self._infer}
        if tokens is not None:
            answers = {n: f if n in OPEN_METHODS else guarded(f, tokens) for n, f in answers.items()}
        handlers = {name: _unary(answer) for name, answer in answers.items()}
        stream = self._stream if tokens is None else guarded_stream(self._stream, tokens)
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(stream)
        return grpc.method_handlers_generic_handler(SERVICE.name, handlers)

    def _health(self) -> Any:
        service = health_service()
        response = service.methods["Check"].response

        async def check(_: bytes, __: Context) -> bytes:
            return bytes(response(status="NOT_SERVING" if self._draining else "SERVING").SerializeToString())

        return grpc.method_handlers_generic_handler(service.name, {"Check": _unary(check)})

    def _described(self, name: str) -> UnaryAnswer:
        async def answer(data: bytes, context: Context) -> bytes:
            try:
                asked = question(name, data)
                answered = await self._ask(asked, context)
            except Refused as refused:
                await abort(context, refused)
                raise
            if answered.status >= 400 and not said_not_ready(asked):
                said = msgspec.json.decode(answered.body)["error"]
                await context.abort(grpc.StatusCode[code_of(answered.status)], said)
            return method_response(asked, answered.status, answered.body)

        return answer

    async def _ask(self, asked: Question, context: Context) -> Answer:
        """What HTTP would answer. Raises `Refused`."""
        route = asked.route
        if not isinstance(route, ExtensionRoute):
            assert not isinstance(route, Infer | Predict)
            try:
                return await self._describe(route)
            except Refused as refused:
                return refusal(refused)
        ended: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(answer: Answer) -> None:
            if not ended.done():
                ended.set_result(answer)

        answer = self._extensions.answer(route, asked.body, is_local(context), done)
        return answer if answer is not None else await ended

    async def _describe(self, route: Description) -> Answer:
        """Raises `Refused`."""
        while True:
            try:
                return describe(route, self._models.table, not self._draining, self._version)
            except Cold as cold:
                await self._fetched(cold.version)

    async def _infer(self, data: bytes, context: Context) -> bytes:
        self._active += 1
        try:
            response = await self._answered(read_infer(data), data, context)
            return bytes(response.SerializeToString())
        except Refused as refused:
            await abort(context, refused)
            raise
        except Exception as error:
            if isinstance(error, grpc.aio.AbortError):
                raise
            _log.exception("a gRPC request failed")
            await context.abort(grpc.StatusCode.INTERNAL, _FAILED)
            raise
        finally:
            self._active -= 1

    async def _stream(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answer requests in their order, some of them running at once."""
        running: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(_STREAM_AHEAD)

        async def read() -> None:
            async for data in requests:
                await running.put(asyncio.create_task(self._streamed(data, context)))
            await running.put(None)

        reader = asyncio.create_task(read())
        self._active += 1
        try:
            while (task := await running.get()) is not None:
                yield await task
        finally:
            self._active -= 1
            reader.cancel()
            while not running.empty():
                if task := running.get_nowait():
                    task.cancel()

    async def _streamed(self, data: bytes, context: Context) -> bytes:
        request_id = ""
        try:
            message = read_infer(data)
            request_id = message.id
            return stream_response(await self._answered(message, data, context))
        except Refused as refused:
            return stream_failure(str(refused), request_id)
        except Exception:
            _log.exception("a request of a gRPC stream failed")
            return stream_failure(_FAILED, request_id)

    async def _answered(self, message: Any, data: bytes, context: Context) -> Any:
        try:
            model = self._models.resolve(message.model_name, message.model_version)
        except Cold as cold:
            model = await self._fetched(cold.version)
        began = perf_counter()
        local = is_local(context) if b"shared_memory" in data else False
        regions = self._extensions.shared_memory.get if local else no_regions
        request = parse_infer(message, model.signature, regions)
        read_ms = (perf_counter() - began) * 1e3
        outputs = await self._run(model, request, context)
        began = perf_counter()
        response = infer_response(model.name, model.version, request, outputs)
        tally = self._engine.tally(model)
        tally.read_ms += read_ms
        tally.write_ms += (perf_counter() - began) * 1e3
        return response

    async def _fetched(self, version: Version) -> Model:
        """Have a model loaded. Raises `Refused`."""
        landed: asyncio.Future[Model | Refused] = asyncio.get_running_loop().create_future()

        def done(found: Model | Refused) -> None:
            if not landed.done():  # else the client has left
                landed.set_result(found)

        self._models.fetch(version, done)
        found = await landed
        if isinstance(found, Refused):
            raise found
        return found

    async def _run(self, model: Model, request: InferRequest, context: Context) -> list[Array]:
        left_ms = [request.timeout_us / 1e3] if request.timeout_us else []
        if (left_s := context.time_remaining()) is not None:
            left_ms.append(left_s * 1000)
        landed: list[list[Array] | Refused] = []
        waiting: asyncio.Future[None] | None = None

        def done(outcome: list[Array] | Refused) -> None:
            landed.append(outcome)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

        call = Call(
            model,
            request.feed,
            tuple(wanted.spec.name for wanted in request.wanted),
            rows_of(request.feed),
            done,
            self._engine.now_ms() + min(left_ms) if left_ms else None,
            priority_of(request.priority),
        )
        self._engine.submit(call)
        if not landed:  # a small model has run within `submit`
            waiting = asyncio.get_running_loop().create_future()
            try:
                await waiting
            except asyncio.CancelledError:  # the client has left, or its deadline has passed
                self._engine.cancel(call)
                raise
        if isinstance(landed[0], Refused):
            raise landed[0]
        return landed[0]


def _unary(answer: UnaryAnswer) -> Any:
    return grpc.unary_unary_rpc_method_handler(answer)


def _options(limits: Limits, shared: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.head_bytes),
        ("grpc.max_connection_idle_ms", round(limits.idle_s * 1000)),
        # Where nobody else is meant to, a second server would take half of the calls in silence.
        ("grpc.so_reuseport", int(shared)),
        # Clients may ask whether the connection lives, as often as Triton lets them.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 300_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]

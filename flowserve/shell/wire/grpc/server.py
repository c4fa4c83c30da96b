"""The gRPC data plane: the Open Inference Protocol v2 on the event loop that serves HTTP.

Everything that HTTP and gRPC share is asked of the HTTP server: models, engine, extensions. This module is
imported only by a server that was asked for gRPC.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.version import Cold
from flowserve.core.models.model import Model
from flowserve.core.wire.answers import Answer, describe, refusal
from flowserve.core.wire.extension_routes import ExtensionRoute
from flowserve.core.wire.grpc.descriptions import (
    DESCRIBED,
    Question,
    method_response,
    question,
    said_not_ready,
)
from flowserve.core.wire.grpc.inference import SERVICE
from flowserve.core.wire.grpc.reflection import reflected
from flowserve.core.wire.grpc.standard import health_service, reflection_services
from flowserve.core.wire.http2.messages import CODINGS
from flowserve.core.wire.http2.rpc import code_of
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.routes import Infer, Predict
from flowserve.core.wire.tokens import OPEN_METHODS, REFUSED
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.observe.observer import Observer
from flowserve.shell.rollout.trials import Trials
from flowserve.shell.wire.connections import Connections
from flowserve.shell.wire.extensions import Extensions
from flowserve.shell.wire.grpc.calls import Conversation, StreamInfer, Unary, begin_infer
from flowserve.shell.wire.grpc.health import Health
from flowserve.shell.wire.grpc.inference import GrpcInference
from flowserve.shell.wire.http import Server
from flowserve.shell.wire.http2.connection import Http2Connection
from flowserve.shell.wire.http2.streams import Call, Stream
from flowserve.shell.wire.repository import FixedRepository
from flowserve.shell.wire.security import Security


async def listen(server: Server, reserved: socket.socket) -> GrpcServer:
    """Serve what an HTTP server serves at another address too. Raises `Refused` FS104."""
    endpoint = GrpcServer(
        server.models,
        server.engine,
        server.version,
        server.limits,
        server.security,
        server.extensions,
        server.trials,
        server.observing,
    )
    await endpoint.listen(reserved)
    return endpoint


class GrpcServer:
    """Every gRPC call of a process. Lives on the running loop."""

    protocol = "grpc"

    def __init__(
        self,
        models: Serving,
        engine: LoopEngine,
        version: str,
        limits: Limits,
        security: Security = Security(),  # noqa: B008 - frozen
        extensions: Extensions | None = None,
        trials: Trials | None = None,
        observer: Observer | None = None,
    ) -> None:
        """`version` is the server's own."""
        self.models = models
        self.engine = engine
        self.limits = limits
        self.extensions = extensions or Extensions(FixedRepository(models, engine))
        self.trials = trials or Trials(engine)
        self.observer = observer
        self.answers: dict[int, int] = {}
        self.running: set[GrpcInference] = set()
        self.connections: Connections[Http2Connection] = Connections(limits)
        self._loop = asyncio.get_running_loop()
        self._security = security
        self._version = version
        self._health = Health(models, security.tokens)
        health = self._of_health()
        self._calls = self._of_inference() | health | self._of_reflection()
        self._open = {f"/{SERVICE.name}/{name}" for name in OPEN_METHODS} | set(health)

    async def listen(self, reserved: socket.socket) -> None:
        """Begin to answer at a reserved address. Raises `Refused` FS104."""
        tls = self._security.tls
        await self.connections.listen(
            partial(Http2Connection, self), reserved, tls.http2_context if tls else None
        )

    @property
    def open_connections(self) -> int:
        """How many there are."""
        return len(self.connections)

    @property
    def in_flight(self) -> int:
        """How many requests for predictions are being answered."""
        return len(self.running)

    async def drain(self) -> bool:
        """Finish what was begun, within `drain_s`. Returns whether that was enough."""
        self._health.end()
        for connection in self.connections:
            connection.leave()
        return await self.connections.drain()

    def begin(self, stream: Stream) -> None:
        """Give a stream its call, or end it."""
        head = stream.head
        tokens = self._security.tokens
        call = self._calls.get(head.path)
        if head.http_status != 200:
            stream.answer_plainly(head.http_status)
        elif head.fault is not None:
            stream.fail(*head.fault)
        elif call is None:
            stream.fail("UNIMPLEMENTED", f"there is no method `{head.path}`")
        elif tokens and head.path not in self._open and not tokens.admit(head.authorization):
            stream.refuse(REFUSED)
        elif head.coding not in CODINGS:
            stream.fail("UNIMPLEMENTED", f"messages must be of one of {', '.join(CODINGS)}", accepts=True)
        elif stream.connection.sender.unsent_bytes > 2 * self.limits.body_bytes:
            stream.fail("RESOURCE_EXHAUSTED", "the client must read the answers that it has been sent")
        else:
            stream.call = call(stream)

    def _of_inference(self) -> dict[str, Callable[[Stream], Call]]:
        calls: dict[str, Callable[[Stream], Call]] = {
            name: partial(Unary, begin=partial(self._describe, name)) for name in DESCRIBED
        }
        calls["ModelInfer"] = partial(Unary, begin=begin_infer(self))
        calls["ModelStreamInfer"] = lambda stream: StreamInfer(stream, self)
        return {f"/{SERVICE.name}/{name}": call for name, call in calls.items()}

    def _of_health(self) -> dict[str, Callable[[Stream], Call]]:
        begins = {"Check": self._health.check, "Watch": self._health.watch}
        return {f"/{health_service().name}/{name}": partial(Unary, begin=of) for name, of in begins.items()}

    def _of_reflection(self) -> dict[str, Callable[[Stream], Call]]:
        return {
            f"/{service.name}/{name}": partial(Conversation, answer=partial(reflected, service))
            for service in reflection_services()
            for name in service.methods
        }

    def _describe(self, name: str, stream: Stream, data: bytes, compressed: bool) -> None:
        """Answer with what HTTP would. Raises `Refused`."""
        asked = question(name, stream.unpacked(data, compressed))
        answered = partial(self._answer, asked, stream)
        if isinstance(asked.route, ExtensionRoute):
            local = stream.connection.local
            answer = self.extensions.answer(asked.route, asked.body, local, answered)
            if answer is not None:
                answered(answer)
        else:
            self._describe_models(asked, answered)

    def _describe_models(self, asked: Question, answered: Callable[[Answer], None]) -> None:
        """Answer what only reads what models there are, once they are in memory."""
        route = asked.route
        assert not isinstance(route, ExtensionRoute | Infer | Predict)

        def fetched(found: Model | Refused) -> None:
            if isinstance(found, Refused):
                answered(refusal(found))
            else:
                self._describe_models(asked, answered)

        try:
            answered(describe(route, self.models.table, not self.connections.draining, self._version))
        except Cold as cold:
            self.models.fetch(cold.version, fetched)
        except Refused as refused:
            answered(refusal(refused))

    def _answer(self, asked: Question, stream: Stream, answer: Answer) -> None:
        if answer.status >= 400 and not said_not_ready(asked):
            stream.fail(code_of(answer.status), msgspec.json.decode(answer.body)["error"])
        else:
            stream.answer(method_response(asked, answer.status, answer.body))

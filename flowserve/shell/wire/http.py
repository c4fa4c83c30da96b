"""The HTTP data plane: the Open Inference Protocol v2 on an event loop.

What is short runs on the loop: reading, routing, descriptions, small models. The engine puts longer runs on
threads, so that health and other models are answered meanwhile.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Protocol

import msgspec

from flowc.plan.diagnostics import Refused
from flowc.plan.exposition import accepts_openmetrics
from flowserve.core.catalog.version import Cold, Version
from flowserve.core.models.model import ByModel, Model
from flowserve.core.wire.alike import Alike
from flowserve.core.wire.answers import Answer, describe, refusal
from flowserve.core.wire.coding import chosen_coding, unpacked
from flowserve.core.wire.extension_routes import ExtensionRoute, Metrics
from flowserve.core.wire.heads import Heads, Received
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.routes import Infer, OpenApi, Page, Predict, route_of
from flowserve.core.wire.tokens import OPEN_PATHS
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.observe.observer import Observer
from flowserve.shell.rollout.trials import Trials
from flowserve.shell.wire.connection import Connection
from flowserve.shell.wire.connections import Connections
from flowserve.shell.wire.ending import end_signals
from flowserve.shell.wire.extensions import Extensions
from flowserve.shell.wire.host import AnswerObserver
from flowserve.shell.wire.http_inference import HttpInference
from flowserve.shell.wire.lookout import Lookout
from flowserve.shell.wire.observing import HttpObserver
from flowserve.shell.wire.refusals import Refusals
from flowserve.shell.wire.repository import FixedRepository, Repository
from flowserve.shell.wire.security import Security

_OWN_BYTES_MAX = 2**31  # what we have packed ourselves


class Endpoint(Protocol):
    """A way to the models of a process: HTTP, and what is beside it."""

    protocol: str
    answers: dict[int, int]
    """How many answers it gave, by HTTP's status."""

    @property
    def open_connections(self) -> int:
        """How many there are."""

    @property
    def in_flight(self) -> int:
        """How many requests for predictions are being answered."""

    async def drain(self) -> bool:
        """Finish what was begun, within the limits' `drain_s`. Returns whether that was enough."""


async def serve(
    server: Server,
    listener: socket.socket,
    on_listening: Callable[[], None] = lambda: None,
    beside: Sequence[Callable[[Server], Awaitable[Endpoint]]] = (),
) -> bool:
    """Serve until one of `end_signals`, then finish what was begun; SIGINT ends that at once.

    `beside` opens what else answers for the server. Returns whether everything that was begun was also
    finished. Raises `Refused` FS104. A Unix socket's file is left to who has made it.
    """
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal(number: int) -> None:
        # The others may come twice without hurry: who ends all processes of a host tells the supervisor, too.
        (hurry if stop.is_set() and number == signal.SIGINT else stop).set()

    for number in end_signals():
        loop.add_signal_handler(number, on_signal, number)
    tls = server.security.tls
    await server.connections.listen(lambda: Connection(server), listener, tls.context if tls else None)
    endpoints = server.endpoints
    for opening in beside:
        endpoints.append(await opening(server))
    on_listening()
    await stop.wait()
    draining = loop.create_task(_drain(endpoints))
    hurrying = loop.create_task(hurry.wait())
    await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
    for task in (hurrying, draining):
        task.cancel()
    return draining.done() and draining.result()


async def _drain(endpoints: Sequence[Endpoint]) -> bool:
    return all(await asyncio.gather(*(endpoint.drain() for endpoint in endpoints)))


class Server:
    """Every connection of a process, and the engine that runs its models."""

    protocol = "http"

    def __init__(
        self,
        models: Serving,
        version: str,
        limits: Limits,
        repository: Repository | None = None,
        security: Security = Security(),  # noqa: B008 - frozen
        engine: LoopEngine | None = None,
        left: Path | None = None,
        observer: Observer | None = None,
    ) -> None:
        """`version` is the server's own, and `left` where requests leave things for all of its processes."""
        self._loop = asyncio.get_running_loop()
        self.models = models
        self.headers = models.headers
        self.version = version
        self.limits = limits
        self.security = security
        self.engine = engine or LoopEngine(self._loop)
        self.trials = Trials(self.engine)
        self.extensions = Extensions(repository or FixedRepository(models, self.engine), left)
        self.heads = Heads(self.headers)
        self.held_bytes = 0
        self.readers = ByModel(lambda model: Alike(model.signature))
        self._lookout = Lookout(self._loop, limits.look_out_s, lambda: self.engine.uses_threads)
        self.answers: dict[int, int] = {}
        self.refusals = Refusals(self.engine, self.readers, self.answers)
        self.observing = observer
        self.observer: AnswerObserver | None = HttpObserver(observer) if observer is not None else None
        self.endpoints: list[Endpoint] = [self]
        self.running: dict[Connection, HttpInference] = {}
        self.connections: Connections[Connection] = Connections(limits)
        self.settled = self.connections.settled
        self.drain = self.connections.drain

    @property
    def open_connections(self) -> int:
        """How many there are."""
        return len(self.connections)

    @property
    def in_flight(self) -> int:
        """How many requests for predictions are being answered."""
        return len(self.running)

    @property
    def draining(self) -> bool:
        """Whether the server is about to end."""
        return self.connections.draining

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; false when there are too many."""
        self.engine.gate.stay_awake()  # a turn of the loop accepts one, and others may wait
        return self.connections.opened(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        if (inference := self.running.pop(connection, None)) is not None:
            inference.cancel()
        self.connections.closed(connection)

    def admits(self, received: Received) -> bool:
        """Whether the client may ask that, by its token."""
        tokens = self.security.tokens
        return (
            tokens is None
            or tokens.admit(received.authorization)
            or received.target.partition(b"?")[0] in OPEN_PATHS
        )

    def answer(self, received: Received, connection: Connection) -> Answer | None:
        """Answer now what is only a description or runs inline; of the rest `connection` hears later."""
        received.began_s = perf_counter()
        try:
            route = route_of(received.method, received.target)
            if isinstance(route, Infer) or isinstance(route, Predict):  # noqa: SIM101 - a union costs 0.2 us
                self._lookout.came()
                inference = HttpInference(self, connection, received.began_s)
                return inference.begin(received, route.name, route.version, not isinstance(route, Infer))
            if isinstance(route, ExtensionRoute):
                return self._extend(route, received, connection)
            if isinstance(route, OpenApi) or (isinstance(route, Page) and not route.name):
                # Of thousands of models that takes long: others are answered meanwhile.
                job = partial(describe, route, self.models.table, not self.draining, self.version)
                self.engine.aside(job, connection.answered)
                return None
            try:
                return describe(route, self.models.table, not self.draining, self.version)
            except Cold as cold:
                self._fetch(cold.version, received, connection)
                return None
        except Refused as refused:
            return refusal(refused)

    def _fetch(self, version: Version, received: Received, connection: Connection) -> None:
        """Have a model loaded, then answer what is asked of it."""

        def fetched(found: Model | Refused) -> None:
            answer = refusal(found) if isinstance(found, Refused) else self.answer(received, connection)
            if answer is not None:
                connection.answered(answer)

        self.models.fetch(version, fetched)

    def _extend(self, route: ExtensionRoute, received: Received, connection: Connection) -> Answer | None:
        """Raises `Refused`. A load may end before it returns, or later."""
        if isinstance(route, Metrics):
            accept = (received.others or {}).get(b"accept", b"").decode("latin-1")
            route = Metrics(b"stages=false" not in received.target, accepts_openmetrics(accept))
        body = unpacked(received.body, received.coding, self.limits.body_bytes)
        asked, early = True, []

        def done(answer: Answer) -> None:
            if answer.encoding and chosen_coding(received.accept_coding) != answer.encoding:
                self.engine.aside(partial(_plain, answer), done)
            elif asked:
                early.append(answer)
            else:
                connection.answered(answer)

        answer = self.extensions.answer(route, body, connection.local, done)
        asked = False
        return answer or (early[0] if early else None)


def _plain(answer: Answer) -> Answer:
    """The same answer for a client that takes no packed ones."""
    body = unpacked(answer.body, answer.encoding, _OWN_BYTES_MAX)
    return msgspec.structs.replace(answer, body=body, encoding="")

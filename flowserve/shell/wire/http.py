"""The HTTP data plane: the Open Inference Protocol v2 on an event loop.

What is short runs on the loop: reading, routing, descriptions, small models. The engine puts longer runs on
threads, so that health and other models are answered meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.models.model import Model
from flowserve.core.models.table import Cold
from flowserve.core.wire.addresses import Tcp, Unix
from flowserve.core.wire.answers import Answer, describe, refusal
from flowserve.core.wire.coding import unpacked
from flowserve.core.wire.extension_routes import ExtensionRoute
from flowserve.core.wire.hosting import Repository
from flowserve.core.wire.routes import Infer, Predict, parse_route
from flowserve.core.wire.tokens import OPEN_PATHS
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.connection import Connection, Limits, Received
from flowserve.shell.wire.exchange import Exchange
from flowserve.shell.wire.extensions import Extensions, FixedRepository
from flowserve.shell.wire.listening import BACKLOG, address_of, reason
from flowserve.shell.wire.security import Security

_SWEEP_S_MAX = 1.0
_GONE = Answer()  # whatever it is: there is nobody to read it


class Endpoint(Protocol):
    """Another way to the same models, beside HTTP."""

    async def drain(self) -> bool:
        """Finish what was begun, within the limits' `drain_s`. Returns whether that was enough."""


async def serve(
    server: Server,
    listener: socket.socket,
    on_listening: Callable[[], None] = lambda: None,
    beside: Sequence[Callable[[Server], Awaitable[Endpoint]]] = (),
) -> bool:
    """Serve until SIGTERM or SIGINT, then finish what was begun; a second signal ends at once.

    `beside` opens what else answers for the server. Returns whether everything that was begun was also
    finished. Raises `Refused` FS104. A Unix socket's file is left to who has made it.
    """
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    sweeper = loop.create_task(server.sweep())
    address = address_of(listener)
    create = loop.create_unix_server if isinstance(address, Unix) else loop.create_server
    try:
        # What comes by a Unix socket has crossed no network, and its permissions say who may ask.
        security = server.security
        tls = security.tls.context if security.tls and isinstance(address, Tcp) else None
        acceptor = await create(lambda: Connection(server), sock=listener, backlog=BACKLOG, ssl=tls)
    except OSError as error:  # another process has bound the same address meanwhile, and listens already
        refuse("FS104", f"the server cannot listen: {reason(error)}")
    endpoints: list[Endpoint] = [server]
    for opening in beside:
        endpoints.append(await opening(server))  # noqa: PERF401 - what one refuses ends the server
    on_listening()
    await stop.wait()
    acceptor.close()
    draining = loop.create_task(_drain(endpoints))
    hurrying = loop.create_task(hurry.wait())
    await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
    for task in (sweeper, hurrying, draining):
        task.cancel()
    return draining.done() and draining.result()


async def _drain(endpoints: Sequence[Endpoint]) -> bool:
    return all(await asyncio.gather(*(endpoint.drain() for endpoint in endpoints)))


class Server:
    """Every connection of a process, and the engine that runs its models."""

    def __init__(
        self,
        models: Serving,
        version: str,
        limits: Limits,
        repository: Repository | None = None,
        security: Security = Security(),  # noqa: B008 - frozen
        engine: LoopEngine | None = None,
        alone: bool = True,
    ) -> None:
        """`version` is the server's own; `alone` says that no other process answers for it."""
        self._loop = asyncio.get_running_loop()
        self.models = models
        self.version = version
        self.limits = limits
        self.security = security
        self.engine = engine or LoopEngine(self._loop)
        self.extensions = Extensions(repository or FixedRepository(models, self.engine), alone)
        self.draining = False
        self.exchanges: dict[Connection, Exchange] = {}
        self._connections: set[Connection] = set()
        self._changed = asyncio.Event()

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; false when there are too many."""
        self._connections.add(connection)
        return len(self._connections) <= self.limits.connections

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if (exchange := self.exchanges.pop(connection, None)) is not None:
            exchange.cancel()
        self.settled()

    def admits(self, received: Received) -> bool:
        """Whether the client may ask that, by its token."""
        tokens = self.security.tokens
        return (
            tokens is None
            or tokens.admit(received.authorization)
            or received.target.partition(b"?")[0] in OPEN_PATHS
        )

    def settled(self) -> None:
        """Let `drain` look again."""
        if self.draining:
            self._changed.set()

    def answer(self, received: Received, connection: Connection) -> Answer | None:
        """Answer now what is only a description or runs inline; of the rest `connection` hears later."""
        try:
            route = parse_route(received.method, received.target.decode("latin-1"))
            if isinstance(route, Infer) or isinstance(route, Predict):  # noqa: SIM101 - a union costs 0.2 us
                plain = isinstance(route, Predict)
                try:
                    model = self.models.resolve(route.name, route.version)
                except Cold as cold:
                    begin = lambda model: self._exchange(model, received, connection, plain)  # noqa: E731
                    return self._fetch(cold, connection, begin)
                return self._exchange(model, received, connection, plain)
            if isinstance(route, ExtensionRoute):
                return self._extend(route, received, connection)
            try:
                return describe(route, self.models.table, not self.draining, self.version)
            except Cold as cold:
                return self._fetch(cold, connection, lambda _: self.answer(received, connection))
        except Refused as refused:
            return refusal(refused)

    def _exchange(
        self, model: Model, received: Received, connection: Connection, plain: bool
    ) -> Answer | None:
        return Exchange(self, model, received, connection, plain).begin()

    def _fetch(
        self, cold: Cold, connection: Connection, begin: Callable[[Model], Answer | None]
    ) -> Answer | None:
        """Have a model loaded, then begin with it, unless the client has left."""

        def fetched(found: Model | Refused) -> None:
            if connection not in self._connections:
                answer: Answer | None = _GONE
            else:
                answer = refusal(found) if isinstance(found, Refused) else begin(found)
            if answer is not None:
                connection.answered(answer)

        self.models.fetch(cold.version, fetched)
        return None

    def _extend(self, route: ExtensionRoute, received: Received, connection: Connection) -> Answer | None:
        """Raises `Refused`. A load may end before it returns, or later."""
        body = unpacked(received.body, received.coding, self.limits.body_bytes)
        asked, early = True, []

        def done(answer: Answer) -> None:
            if asked:
                early.append(answer)
            else:
                connection.answered(answer)

        answer = self.extensions.answer(route, body, connection.local, done)
        asked = False
        return answer or (early[0] if early else None)

    async def sweep(self) -> None:
        """Check every connection's deadline, again and again: with one timer for all, setting one is free."""
        limits = self.limits
        shortest = min(limits.head_s, limits.body_s, limits.idle_s, limits.write_s, limits.linger_s)
        while True:
            await asyncio.sleep(min(_SWEEP_S_MAX, shortest / 2))
            now = self._loop.time()
            for connection in list(self._connections):
                connection.check(now)

    async def drain(self) -> bool:
        """Finish what was begun, within `drain_s`. Returns whether that was enough.

        Connections at rest stay open so long, so that `ready` can be seen to be false.
        """
        self.draining = True
        end = self._loop.time() + self.limits.drain_s
        while self._connections and (left := end - self._loop.time()) > 0:
            if not any(connection.active for connection in self._connections):
                for connection in list(self._connections):
                    connection.close()
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
        return not self._connections

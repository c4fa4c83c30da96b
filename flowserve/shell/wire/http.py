"""The HTTP data plane: the Open Inference Protocol v2 on an event loop, with models on a few threads.

Reading, routing and descriptions run on the loop; an inference request is decoded, run and encoded on a
thread, so that health is answered while a model runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.models.registry import Model, Registry
from flowserve.core.wire.answers import Answer, describe, failure, infer, predict, refusal
from flowserve.core.wire.coding import COMPRESSED_BYTES_MIN, chosen_coding, packed, unpacked
from flowserve.core.wire.extension_routes import ExtensionRoute
from flowserve.core.wire.hosting import Repository
from flowserve.core.wire.routes import Infer, Predict, parse_route
from flowserve.core.wire.shared import Regions, no_regions
from flowserve.core.wording import cut
from flowserve.shell.wire.connection import Connection, Limits, Received
from flowserve.shell.wire.extensions import Extensions, FixedRepository

_log = logging.getLogger("flowserve")
_BACKLOG = 1024
_SWEEP_S_MAX = 1.0


def bind(host: str, port: int) -> socket.socket:
    """Reserve an address, without listening yet. Port 0 takes a free one. Raises `Refused` FS104."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        refuse("FS104", f"the server cannot listen on `{cut(host)}:{port}`: {_reason(error)}")
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        hint = "`--http 127.0.0.1:0` takes a free port"
        refuse("FS104", f"the server cannot listen on `{host}:{port}`: {_reason(error)}", hint=hint)
    return listener


async def serve(
    registry: Registry,
    listener: socket.socket,
    version: str,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_listening: Callable[[], None] = lambda: None,
) -> bool:
    """Serve until SIGTERM or SIGINT, then finish what was begun; a second signal ends at once.

    `version` is the server's own. Returns whether everything that was begun was also finished.
    """
    loop = asyncio.get_running_loop()
    server = Server(registry, version, limits)
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    sweeper = loop.create_task(server.sweep())
    try:
        acceptor = await loop.create_server(lambda: Connection(server), sock=listener, backlog=_BACKLOG)
    except OSError as error:  # another process has bound the same address meanwhile, and listens already
        refuse("FS104", f"the server cannot listen: {_reason(error)}")
    on_listening()
    await stop.wait()
    acceptor.close()
    draining = loop.create_task(server.drain())
    hurrying = loop.create_task(hurry.wait())
    await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
    for task in (sweeper, hurrying, draining):
        task.cancel()
    return draining.done() and draining.result()


class Server:
    """Every connection of a process, and the threads that run its models."""

    def __init__(
        self, registry: Registry, version: str, limits: Limits, repository: Repository | None = None
    ) -> None:
        self._extensions = Extensions(repository or FixedRepository(registry))
        self.limits = limits
        self.draining = False
        self._registry = registry
        self._version = version
        self._connections: set[Connection] = set()
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "model")
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; false when there are too many."""
        self._connections.add(connection)
        return len(self._connections) <= self.limits.connections

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self.settled()

    def settled(self) -> None:
        """Let `drain` look again."""
        if self.draining:
            self._changed.set()

    def answer(self, received: Received, connection: Connection) -> Answer | None:
        """Answer now what is only a description; give an inference request to a thread and return None."""
        try:
            route = parse_route(received.method, received.target.decode("latin-1"))
            if isinstance(route, ExtensionRoute):
                return self._extend(route, received, connection)
            if not isinstance(route, Infer | Predict):
                return describe(route, self._registry, not self.draining, self._version)
            model = self._registry.get(route.name, route.version)
        except Refused as refused:
            return refusal(refused)
        self._threads.submit(self._infer, model, isinstance(route, Predict), received, connection)
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

        answer = self._extensions.answer(route, body, connection.local, done)
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

    def _infer(self, model: Model, plain: bool, received: Received, connection: Connection) -> None:
        """Runs on a thread."""
        regions = self._extensions.shared_memory.get if connection.local else no_regions
        answer = _answer_infer(model, plain, received, self.limits.body_bytes, regions)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server ended in a hurry
            self._loop.call_soon_threadsafe(connection.answered, answer)


def _answer_infer(
    model: Model, plain: bool, received: Received, body_bytes_max: int, regions: Regions
) -> Answer:
    try:
        body = unpacked(received.body, received.coding, body_bytes_max)
        if plain:
            answer = predict(model, body)
        else:
            answer = infer(model, body, _header_bytes(received.header_bytes), regions)
    except Refused as refused:
        return refusal(refused)
    except Exception:
        _log.exception("a request to model %s, version %s, failed", model.name, model.version)
        return failure(500, "the server failed while answering; its log has the reason")
    return _packed(answer, received.accept_coding)


def _packed(answer: Answer, accepted: str) -> Answer:
    coding = chosen_coding(accepted) if accepted and len(answer.body) >= COMPRESSED_BYTES_MIN else ""
    if not coding:
        return answer
    return msgspec.structs.replace(answer, body=packed(answer.body, coding), encoding=coding)


def _header_bytes(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        text = cut(value.decode("latin-1"))
        refuse("FS201", f"`Inference-Header-Content-Length` must be a number of bytes, got `{text}`")
    return int(value)


def _reason(error: OSError | UnicodeError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()

"""The HTTP data plane: the Open Inference Protocol v2 on an event loop.

What is short runs on the loop: reading, routing, descriptions, small models. The engine puts longer runs on
threads, so that health and other models are answered meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
from collections.abc import Callable

import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.engine.calls import PRIORITIES, PRIORITY, Call, rows_of
from flowserve.core.models.registry import Model, Registry
from flowserve.core.wire.answers import Answer, answer_infer, answer_predict, describe, failure, refusal
from flowserve.core.wire.coding import COMPRESSED_BYTES_MIN, chosen_coding, packed, unpacked
from flowserve.core.wire.extension_routes import ExtensionRoute
from flowserve.core.wire.hosting import Repository
from flowserve.core.wire.plain import parse_plain
from flowserve.core.wire.protocol import Admit, InferRequest, parse_request
from flowserve.core.wire.routes import Infer, Predict, parse_route
from flowserve.core.wire.shared import Region, no_regions
from flowserve.core.wire.tensors import Array
from flowserve.core.wording import cut
from flowserve.shell.engine.engine import LoopEngine, Settings
from flowserve.shell.engine.warmup import measure
from flowserve.shell.wire.connection import Connection, Limits, Received
from flowserve.shell.wire.extensions import Extensions, FixedRepository

_log = logging.getLogger("flowserve")
_BACKLOG = 1024
_SWEEP_S_MAX = 1.0
# Up to this, bodies are read and written on the loop, in about a millisecond at most.
_INLINE_BYTES_MAX = 64 * 2**10
_GONE = Answer()  # whatever it is: there is nobody to read it


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
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> bool:
    """Serve until SIGTERM or SIGINT, then finish what was begun; a second signal ends at once.

    `version` is the server's own. Returns whether everything that was begun was also finished.
    """
    loop = asyncio.get_running_loop()
    server = Server(registry, version, limits, settings)
    for model in registry:
        server.engine.adopt(model, measure(model))
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
    """Every connection of a process, and the engine that runs its models."""

    def __init__(
        self,
        registry: Registry,
        version: str,
        limits: Limits,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        repository: Repository | None = None,
    ) -> None:
        self.extensions = Extensions(repository or FixedRepository(registry))
        self.limits = limits
        self.draining = False
        self._registry = registry
        self._version = version
        self._connections: set[Connection] = set()
        self._loop = asyncio.get_running_loop()
        self.engine = LoopEngine(self._loop, settings)
        self.exchanges: dict[Connection, Exchange] = {}
        """What connections wait for."""
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

    def settled(self) -> None:
        """Let `drain` look again."""
        if self.draining:
            self._changed.set()

    def answer(self, received: Received, connection: Connection) -> Answer | None:
        """Answer now what is only a description or runs inline; of the rest `connection` hears later."""
        try:
            route = parse_route(received.method, received.target.decode("latin-1"))
            if isinstance(route, Infer) or isinstance(route, Predict):  # noqa: SIM101 - a union costs 0.2 us
                model = self._registry.get(route.name, route.version)
            elif isinstance(route, ExtensionRoute):
                return self._extend(route, received, connection)
            else:
                return describe(route, self._registry, not self.draining, self._version)
        except Refused as refused:
            return refusal(refused)
        return Exchange(self, model, received, connection, isinstance(route, Predict)).begin()

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


class Exchange:
    """One inference request, from its bytes to its answer. All methods run on the loop.

    Everything is called back and most is over before `begin` returns: a future, a task or a thread would cost
    more than a small model does. What is long, by its bytes, is read and written on a thread.
    """

    __slots__ = (
        "_answer",
        "_call",
        "_connection",
        "_later",
        "_model",
        "_plain",
        "_received",
        "_request",
        "_server",
    )

    def __init__(
        self, server: Server, model: Model, received: Received, connection: Connection, plain: bool
    ) -> None:
        self._plain = plain
        self._server = server
        self._model = model
        self._received = received
        self._connection = connection
        self._answer: Answer | None = None
        self._call: Call | None = None
        self._later = False

    def begin(self) -> Answer | None:
        """Answer now, or return None and tell the connection later."""
        received = self._received
        if len(received.body) <= _INLINE_BYTES_MAX and received.coding in ("", "identity"):
            crowded = self._server.engine.is_crowded(self._model)
            self._submit(self._read(self._admit if crowded else None))
        else:
            self._server.engine.aside(self._read, self._submit)
        if self._answer is None:
            self._later = True
            self._server.exchanges[self._connection] = self
        return self._answer

    def cancel(self) -> None:
        """Hear that the client has left."""
        if self._call is not None:
            self._server.engine.cancel(self._call)
        self._answer = _GONE

    def _admit(self, rows: int, timeout_us: int, priority: int) -> None:
        self._server.engine.check(self._model, rows, self._deadline_ms(timeout_us), _priority(priority))

    def _deadline_ms(self, timeout_us: int) -> float | None:
        return self._server.engine.now_ms() + timeout_us / 1e3 if timeout_us else None

    def _read(self, admit: Admit | None = None) -> InferRequest | Answer:
        received = self._received
        try:
            body = unpacked(received.body, received.coding, self._server.limits.body_bytes)
            signature = self._model.signature
            if self._plain:
                return parse_plain(body, signature)
            header_bytes = _header_bytes(received.header_bytes)
            return parse_request(body, header_bytes, signature, admit, self._region)
        except Refused as refused:
            return refusal(refused)
        except Exception:
            return _broken(self._model)

    def _region(self, name: str) -> Region:
        """Shared memory is for clients on this host."""
        memory = self._server.extensions.shared_memory
        return memory.get(name) if self._connection.local else no_regions(name)

    def _submit(self, request: InferRequest | Answer) -> None:
        if isinstance(request, Answer):
            self._finish(request)
        elif self._answer is None:  # else the client left while its body was read
            self._request = request
            names = tuple([wanted.spec.name for wanted in request.wanted])
            self._call = Call(
                self._model,
                request.feed,
                names,
                rows_of(request.feed),
                self._done,
                self._deadline_ms(request.timeout_us),
                _priority(request.priority),
            )
            self._server.engine.submit(self._call)

    def _done(self, outputs: list[Array] | Refused) -> None:
        if isinstance(outputs, Refused):
            self._finish(refusal(outputs))
        elif sum([array.nbytes for array in outputs]) <= _INLINE_BYTES_MAX:
            self._finish(self._write(outputs))
        else:
            self._server.engine.aside(functools.partial(self._write, outputs), self._finish)

    def _write(self, outputs: list[Array]) -> Answer:
        try:
            write = answer_predict if self._plain else answer_infer
            return _packed(write(self._model, self._request, outputs), self._received.accept_coding)
        except Refused as refused:  # an output larger than the shared memory for it
            return refusal(refused)
        except Exception:
            return _broken(self._model)

    def _finish(self, answer: Answer) -> None:
        self._call = None  # it holds `self._done`: without the circle, all is freed at once
        if self._answer is None:
            self._answer = answer
            if self._later:
                del self._server.exchanges[self._connection]
                self._connection.answered(answer)


def _priority(asked: int) -> int:
    """The engine's for the protocol's, where 0 asks for none and 1 goes first."""
    return min(asked, PRIORITIES) - 1 if asked else PRIORITY


def _broken(model: Model) -> Answer:
    _log.exception("a request to model %s, version %s, failed", model.name, model.version)
    return failure(500, "the server failed while answering; its log has the reason")


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

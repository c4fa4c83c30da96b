"""`flowserve bench`."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec
import uvloop

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.bench.report import Asked, Report, report, stages_between, text_of
from flowserve.core.bench.requests import Feed, Input, binary_body, from_rows, json_body, made_up, rows_of
from flowserve.core.wire.addresses import Address, Unix, parse_address
from flowserve.shell.bench.links import GrpcLink, HttpLink, Link, connect, http_head
from flowserve.shell.bench.load import Load
from flowserve.shell.wire.client import Client, Server, parse_server

_AGAIN_S = 0.1
_CONNECTIONS_MAX = 10_000


class Options(msgspec.Struct, frozen=True):
    """What is to be sent where; `grpc` is an address, empty for HTTP."""

    model: str
    http: str
    grpc: str = ""
    binary: bool = False
    connections: int = 1
    rate: float = 0.0
    seconds: float = 10.0
    warm_up: float = 1.0
    rows: int = 1
    data: Path | None = None


def bench(options: Options, as_json: bool) -> None:
    """Put load on a model and print what came of it. Ctrl-C prints what there is.

    Raises `Refused` FS292 for what cannot be, FS301 where no server answers, and what the server refuses.
    """
    _check(options)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        done, interrupted = runner.run(_run(options))
    print(msgspec.json.encode(done).decode() if as_json else text_of(done))
    if interrupted:
        sys.exit(130)
    if not done.answered:
        sys.exit(1)


async def _run(options: Options) -> tuple[Report, bool]:
    token = os.environ.get("FLOWSERVE_TOKEN", "")
    server = parse_server(options.http)
    client = Client(server, token)
    inputs = msgspec.convert(client.metadata(options.model)["inputs"], list[Input])
    feeds = _feeds(options, inputs)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    requests, protocol = _requests(options, server, token, feeds)
    async with _links(options, server, token) as links:
        if options.warm_up:
            await Load(requests, options.rate).run(links, options.warm_up, stop)
        before = await asyncio.to_thread(client.statistics, options.model)
        load = Load(requests, options.rate)
        await load.run(links, options.seconds, stop)
        try:
            after = await asyncio.to_thread(client.statistics, options.model)
        except Refused:  # the server has ended meanwhile; what was measured stands
            after = before
    asked = Asked(
        options.model, protocol, options.connections, rows_of(feeds[0]), options.rate, options.seconds
    )
    server_us = stages_between(before, after)
    done = report(asked, load.seconds, load.latencies, load.failed, load.unsent, server_us)
    return done, stop.is_set()


def _feeds(options: Options, inputs: Sequence[Input]) -> list[Feed]:
    if options.data is None:
        return [made_up(inputs, options.rows)]
    try:
        text = options.data.read_bytes()
    except OSError as error:
        refuse("FS292", f"`{options.data}` cannot be read: {(error.strerror or str(error)).lower()}")
    return from_rows(text, inputs, options.rows, str(options.data))


def _requests(options: Options, server: Server, token: str, feeds: Sequence[Feed]) -> tuple[list[bytes], str]:
    """The requests as bytes, and how they are sent, in words."""
    if options.grpc:
        from flowserve.shell.bench.grpc_requests import grpc_request

        return [grpc_request(options.model, feed) for feed in feeds], "gRPC"
    requests = []
    path = f"/v2/models/{quote(options.model)}"
    for feed in feeds:
        body, header_bytes = binary_body(feed) if options.binary else (json_body(feed), None)
        requests.append(http_head(path, server.address, token, len(body), header_bytes) + body)
    return requests, "HTTP in binary" if options.binary else "HTTP in JSON"


@asynccontextmanager
async def _links(options: Options, server: Server, token: str) -> AsyncIterator[Sequence[Link]]:
    links: list[Link] = []
    closing: list[Callable[[], object]] = []
    try:
        if options.grpc:
            from flowserve.shell.bench.grpc_requests import open_call

            call, channel = open_call(options.grpc, server.tls)
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            links += [GrpcLink(call, metadata) for _ in range(options.connections)]
            closing.append(channel.close)
        else:
            tls = ssl.create_default_context() if server.tls else None
            opening = _Opening(server.address, tls)
            for _ in range(options.connections):
                link = HttpLink(opening.again)
                links.append(link)
                await opening.first(link)
        yield links
    finally:
        for of in links:
            of.close()
        for close in closing:
            ended = close()
            if asyncio.iscoroutine(ended):
                await ended


class _Opening:
    """Opens connections, and opens them again when the server closes them."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        self._address = address
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def first(self, link: HttpLink) -> None:
        """Raises `Refused` FS301."""
        try:
            await connect(self._address, self._tls, link)
        except OSError as error:
            refuse(
                "FS301", f"no server answers at `{self._address}`: {(error.strerror or str(error)).lower()}"
            )

    def again(self, link: HttpLink) -> None:
        task = asyncio.get_running_loop().create_task(self._again(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, link: HttpLink) -> None:
        while True:
            try:
                await connect(self._address, self._tls, link)
                return
            except OSError:
                await asyncio.sleep(_AGAIN_S)


def _check(options: Options) -> None:
    """Raises `Refused` FS292."""
    if not 1 <= options.connections <= _CONNECTIONS_MAX:
        refuse("FS292", f"there must be 1 to {_CONNECTIONS_MAX} connections, got {options.connections}")
    for name, value, least in (
        ("rate", options.rate, 0),
        ("seconds", options.seconds, 0.01),
        ("warm-up", options.warm_up, 0),
        ("rows", options.rows, 1),
    ):
        if not least <= value < 1e9:
            refuse("FS292", f"`--{name}` must be {least} or more, got {value:g}")
    if options.grpc:
        if options.binary:
            refuse("FS292", "`--binary` is for HTTP: over gRPC all tensors are raw")
        if isinstance(parse_address(options.grpc, "FS301"), Unix) and options.http.startswith("https://"):
            refuse("FS292", "a Unix socket has no TLS")

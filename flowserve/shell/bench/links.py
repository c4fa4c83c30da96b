"""Connections that carry one request at a time, over HTTP or gRPC."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from flowserve.core.wire.addresses import Address, Tcp, Unix

Answered = Callable[["Link", str], None]
"""Hears how a request ended: "" if with outputs, else the status. On the event loop."""

LOST = "connection"


class Link(Protocol):
    """A connection with at most one request on its way."""

    due_s: float
    """When the request was due that is on its way."""
    busy: bool
    """Whether one is on its way."""

    def send(self, request: bytes, answered: Answered) -> None:
        """Send a request; `answered` will be called once."""

    def close(self) -> None:
        """End it; `answered` is not called any more."""


class HttpLink(asyncio.Protocol):
    """A keep-alive connection. What it is told of answers is their status and length."""

    def __init__(self, open_again: Callable[[HttpLink], None]) -> None:
        """`open_again` hears when the server has closed it."""
        self.due_s = 0.0
        self.busy = False
        self._open_again = open_again
        self._buffer = b""
        self._left = 0
        self._status = ""
        self._asking = b""
        self._transport: asyncio.Transport | None = None
        self._closed = False

    def send(self, request: bytes, answered: Answered) -> None:
        """Send a request, now or when the connection is there again."""
        self.busy, self._asking, self._answered = True, request, answered
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        """End it."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what waits."""
        self._transport = cast(asyncio.Transport, transport)
        self._buffer, self._left = b"", 0
        if self._closed:
            transport.close()
        elif self.busy:
            self._transport.write(self._asking)

    def data_received(self, data: bytes) -> None:
        """Read an answer; most come whole."""
        if self._left:
            self._left -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            at = head.find(b"content-length: ") + 16
            length = int(head[at:].partition(b"\r")[0]) if at > 15 else 0
            self._status = head[9:12].decode("latin-1")
            self._left = end + 4 + length - len(self._buffer)
            self._buffer = b""
        if self._left <= 0:
            self._left = 0
            self._end("" if self._status == "200" else self._status)

    def connection_lost(self, error: Exception | None) -> None:
        """Whatever was on its way is lost."""
        self._transport = None
        if self._closed:
            return
        self._open_again(self)
        if self.busy:
            self._end(LOST)

    def _end(self, outcome: str) -> None:
        self.busy = False
        self._answered(self, outcome)


async def connect(address: Address, tls: ssl.SSLContext | None, link: HttpLink) -> None:
    """Open a connection for a link. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    if isinstance(address, Unix):
        await loop.create_unix_connection(lambda: link, address.path)
    else:
        name = address.host if tls else None
        await loop.create_connection(lambda: link, address.host, address.port, ssl=tls, server_hostname=name)


class GrpcLink:
    """A channel's calls, one at a time."""

    def __init__(self, call: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        """`call` is a unary call of `grpc.aio` that takes and gives bytes."""
        self.due_s = 0.0
        self.busy = False
        self._call = call
        self._metadata = metadata
        self._task: asyncio.Task[None] | None = None

    def send(self, request: bytes, answered: Answered) -> None:
        """Begin a call."""
        self.busy = True
        self._task = asyncio.get_running_loop().create_task(self._ask(request, answered))

    def close(self) -> None:
        """Give up what is on its way."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self, request: bytes, answered: Answered) -> None:
        import grpc

        try:
            await self._call(request, metadata=self._metadata)
            outcome = ""
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        self.busy = False
        answered(self, outcome)


def http_head(model_path: str, address: Address, token: str, length: int, header_bytes: int | None) -> bytes:
    """The head of a request for a prediction."""
    host = str(address) if isinstance(address, Tcp) else "localhost"
    head = f"POST {model_path}/infer HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n"
    if header_bytes is not None:
        head += f"Inference-Header-Content-Length: {header_bytes}\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    return f"{head}\r\n".encode()

"""The least that an HTTP server in Python does: uvloop, httptools, a fixed answer."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
import uvloop

ANSWER = (
    b'{"model_name":"small","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[1,1],'
    b'"data":[0.123456]}]}'
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n" % len(ANSWER) + ANSWER
)


class Bare(asyncio.Protocol):
    """Reads requests, and answers all alike."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer."""
        self._transport.write(RESPONSE)


async def main() -> None:
    """Serve on a free port, which is printed."""
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

"""The least that an HTTP server in Python does: uvloop, httptools, a fixed answer.

python -m benchmarks.bare [awake] [refusing]

`awake` looks out for requests before it sleeps, as flowserve does; `refusing` answers that there is no room.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import httptools
import uvloop

from flowserve.core.wire.limits import Limits
from flowserve.shell.wire.lookout import Lookout

ANSWER = (
    b'{"model_name":"small","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[1,1],'
    b'"data":[0.123456]}]}'
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n" % len(ANSWER) + ANSWER
)
NO_ROOM = b'{"error":"FS221: model `model` could not answer in time: it would take 180 ms until it begins"}'
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\nContent-Type: application/json\r\n"
    b"Retry-After: 1\r\n\r\n" % len(NO_ROOM) + NO_ROOM
)


class Bare(asyncio.Protocol):
    """Reads requests, and answers all alike."""

    def __init__(self, came: Callable[[], None], answer: bytes = RESPONSE) -> None:
        self._came = came
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer."""
        self._came()
        self._transport.write(self._answer)


def looking_out(awake: bool) -> Callable[[], None]:
    """To be called with every request."""
    loop = asyncio.get_running_loop()
    return Lookout(loop, Limits().look_out_s, lambda: False).came if awake else lambda: None


async def main(awake: bool, refusing: bool) -> None:
    """Serve on a free port, which is printed."""
    came, answer = looking_out(awake), REFUSAL if refusing else RESPONSE
    server = await asyncio.get_running_loop().create_server(lambda: Bare(came, answer), "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main("awake" in sys.argv, "refusing" in sys.argv))

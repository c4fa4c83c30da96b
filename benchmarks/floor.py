"""The least that a prediction over HTTP takes in Python: a bare protocol that decodes, runs and encodes.

python -m benchmarks.floor MODEL [awake]  uvloop, httptools, msgspec and onnxruntime; no checks, no limits

`awake` looks out for requests before it sleeps, as flowserve does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import httptools
import msgspec
import numpy as np
import onnxruntime
import uvloop

from benchmarks.bare import looking_out


class _Tensor(msgspec.Struct):
    shape: list[int]
    data: list[float]


class _Asked(msgspec.Struct):
    inputs: list[_Tensor]


class Floor(asyncio.Protocol):
    """Runs the model for whatever is posted."""

    def __init__(self, session: Any, came: Callable[[], None]) -> None:
        self._came = came
        self._session = session
        self._decode = msgspec.json.Decoder(_Asked).decode
        self._encode = msgspec.json.Encoder().encode
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        self._came()
        tensor = self._decode(self._body).inputs[0]
        self._body = b""
        row = np.array(tensor.data, np.float32).reshape(tensor.shape)
        (given,) = self._session.run(["output"], {"input": row})
        output = {"name": "output", "datatype": "FP32", "shape": given.shape, "data": given.ravel().tolist()}
        body = self._encode({"model_name": "model", "model_version": "1", "outputs": [output]})
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def main(model: str, awake: bool) -> None:
    """Serve on a free port, which is printed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    came = looking_out(awake)
    server = await asyncio.get_running_loop().create_server(lambda: Floor(session, came), "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], "awake" in sys.argv))

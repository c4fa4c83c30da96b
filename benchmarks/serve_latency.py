"""A prediction over HTTP, one keep-alive connection, beside the same model run in process.

The small model of the serving benchmarks: a 32 -> 64 -> 64 -> 1 perceptron in float32, one row a request. The
bare protocol does nothing but HTTP: what uvloop and httptools take.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import harness, serving


def measure(requests: int) -> dict[str, Any]:
    """Time single predictions in process and served."""
    harness.byte_compile()
    with (
        tempfile.TemporaryDirectory() as name,
        serving.flowserve(Path(name), serving.SMALL) as (host, port, _),
        serving.listening([sys.executable, "-m", "benchmarks.bare"]) as (bare_host, bare_port, _),
    ):
        in_json = serving.post(serving.json_body(serving.SMALL[0]))
        sides = {
            "in_process": serving.in_process(serving.SMALL),
            "bare_protocol": _served(bare_host, bare_port, in_json),
            "http_json": _served(host, port, in_json),
            "http_binary": _served(host, port, serving.binary_request(serving.SMALL[0])),
        }
        took = serving.latencies(sides, requests)
    return {"benchmark": "serve_latency", "requests": requests, **took, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    return serving.latency_text("one row through a 32-64-64-1 perceptron, one connection", figures)


def _served(host: str, port: int, request: bytes) -> Callable[[], None]:
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    length = 0

    def ask() -> None:
        nonlocal length
        connection.sendall(request)
        answer = connection.recv(65536)
        while len(answer) < length:  # every answer is as long as the first
            answer += connection.recv(65536)
        if not length:
            time.sleep(0.2)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                answer += connection.recv(65536)
            connection.setblocking(True)
            length = len(answer)
        assert answer.startswith(b"HTTP/1.1 200"), answer

    return ask


if __name__ == "__main__":
    harness.run(measure, show, requests=5000)

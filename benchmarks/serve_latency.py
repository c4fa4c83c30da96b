"""A prediction over HTTP, one keep-alive connection, beside the same model run in process.

The small model of the serving benchmarks: a 32 -> 64 -> 64 -> 1 perceptron in float32, one row a request. The
bare protocol does nothing but HTTP: what uvloop and httptools take.
"""

from __future__ import annotations

import contextlib
import os
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
            "in_process": _in_process(),
            "bare_protocol": _served(bare_host, bare_port, in_json),
            "http_json": _served(host, port, in_json),
            "http_binary": _served(host, port, serving.binary_request(serving.SMALL[0])),
        }
        os.sched_setaffinity(0, serving.cores()[1])
        took = _alternate(sides, requests)
    return {
        "benchmark": "serve_latency",
        "requests": requests,
        **{f"{side}_us": serving.percentiles(values) for side, values in took.items()},
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        f"{name[:-3]:<14}p50 {values['p50']:>6.0f} us   p99 {values['p99']:>6.0f} us"
        for name, values in figures.items()
        if name.endswith("_us")
    ]
    return "\n".join(["one row through a 32-64-64-1 perceptron, one connection", *rows])


def _in_process() -> Callable[[], Any]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = serving.perceptron(serving.SMALL)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    row = {"input": np.full((1, serving.SMALL[0]), 0.5, np.float32)}
    return lambda: session.run(None, row)


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


def _alternate(sides: dict[str, Callable[[], Any]], requests: int) -> dict[str, list[float]]:
    """Ten rounds of each side in turn, after one that does not count; microseconds a prediction."""
    took: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(11):
        for side, call in sides.items():
            for _ in range(requests // 10):
                began = time.perf_counter()
                call()
                if turn:
                    took[side].append((time.perf_counter() - began) * 1e6)
    return took


if __name__ == "__main__":
    harness.run(measure, show, requests=5000)

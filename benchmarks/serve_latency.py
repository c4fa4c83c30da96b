"""A prediction over HTTP on one keep-alive connection, beside its floors and beside other servers.

The small model of the serving benchmarks: a 32 -> 64 -> 64 -> 1 perceptron in float32, one row a request.
`bare_protocol` does nothing but HTTP: what uvloop and httptools take. `floor` is the same with the model: it
decodes, runs and encodes, and checks nothing. The other servers are asked by the very same client; the extra
`peers-serve` installs them, best into an environment of their own, whose Python is named by PEERS.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import harness, load, serve_peers, serving


def measure(requests: int) -> dict[str, Any]:
    """Time single predictions in process and served."""
    harness.byte_compile()
    with tempfile.TemporaryDirectory() as name, ExitStack() as started:
        sides = {"in_process": serving.in_process(serving.SMALL)}
        for side, server in serve_peers.servers(Path(name), serving.SMALL).items():
            if (at := started.enter_context(server.started())) is not None:
                for kind, request in server.requests.items():
                    sides[f"{side}{kind}"] = load.asker(at[0], at[1], request)
        took = serving.latencies(sides, requests)
    return {"benchmark": "serve_latency", "requests": requests, **took, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    return serving.latency_text("one row through a 32-64-64-1 perceptron, one connection", figures)


if __name__ == "__main__":
    harness.run(measure, show, requests=5000)

"""A prediction over HTTP on one keep-alive connection, beside its floors and beside other servers.

The small model of the serving benchmarks: a 32 -> 64 -> 64 -> 1 perceptron in float32, one row a request.
`bare_protocol` does nothing but HTTP: what uvloop and httptools take. `floor` is the same with the model: it
decodes, runs and encodes, and checks nothing. `bare_awake` and `floor_awake` look out for requests before
they sleep, as flowserve does. The other servers are asked by the very same client; the extra `peers-serve`
installs them, best into an environment of their own, whose Python is named by PEERS.

Everything is measured twice. First as most clients are: each sleeps until its answer comes, and all may run
on any core. Then with all of a server on one core, and on the other a client that never sleeps: what is left
is the server, but one of several processes has to share.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import harness, load, serve_peers, serving


def measure(requests: int) -> dict[str, Any]:
    """Time single predictions in process and served."""
    harness.byte_compile()
    everywhere = os.sched_getaffinity(0)
    server_core, client_core = serving.cores()
    conditions = {"sleeping": (everywhere, everywhere), "spinning": (server_core, client_core)}
    took: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as started:
        servers = serve_peers.servers(Path(name), serving.SMALL)
        found = {side: started.enter_context(server.started()) for side, server in servers.items()}
        for client, (theirs, ours) in conditions.items():
            sides = {"in_process": serving.in_process(serving.SMALL)}
            for side, at in found.items():
                if at is None:
                    continue
                load.place(at[2], theirs)
                for kind, request in servers[side].requests.items():
                    sides[f"{side}{kind}"] = load.asker(at[0], at[1], request, client == "sleeping")
            took[client] = serving.latencies(sides, requests, ours)
    return {"benchmark": "serve_latency", "requests": requests, "clients": took, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    title = "one row through a 32-64-64-1 perceptron, one connection"
    texts = [
        serving.latency_text(f"{title}, {client} client", took) for client, took in figures["clients"].items()
    ]
    return "\n\n".join(texts)


if __name__ == "__main__":
    harness.run(measure, show, requests=10_000)

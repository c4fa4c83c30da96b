"""Small predictions a second on one server core, with 8 and 32 connections. Sides as in `serve_latency`."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import harness, load, serve_peers, serving


def measure(seconds: float) -> dict[str, Any]:
    """Drive each server with 8 and with 32 connections."""
    harness.byte_compile()
    sides: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as started:
        servers = serve_peers.servers(Path(name), serving.SMALL)
        found = {side: started.enter_context(server.started()) for side, server in servers.items()}
        for connections in (8, 32):
            for side, at in found.items():
                if at is None:
                    continue
                for kind, request in servers[side].requests.items():
                    try:
                        driven = _driven(*at, request, connections, seconds)
                    except OSError as error:
                        print(f"{side}{kind} is left out: {error}", file=sys.stderr)
                        continue
                    sides.setdefault(f"{side}{kind}", {})[str(connections)] = driven
    return {
        "benchmark": "serve_throughput",
        "seconds": seconds,
        "sides": sides,
        "of_the_best_peer": _ratios(sides),
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = ["requests of one row a second, 32-64-64-1 perceptron, one server core"]
    for side, by_connections in figures["sides"].items():
        for connections, found in by_connections.items():
            latency = f"p50 {found['us']['p50']:>7.0f} us   p99 {found['us']['p99']:>7.0f} us"
            rate = f"{found['per_s']:>9.0f}/s   {found['cpu_us']:>5.1f} us of processor"
            lines.append(f"{side:<18}{connections:>3} connections{rate}   {latency}")
    for connections, (peer, ratio) in figures["of_the_best_peer"].items():
        lines.append(f"{connections:>3} connections: {ratio} times what {peer} does, the best of the others")
    return "\n".join(lines)


def _ratios(sides: dict[str, dict[str, Any]]) -> dict[str, tuple[str, float]]:
    """By connections: the best of the other servers, and how many times as many requests ours does."""
    ratios = {}
    for connections, own in sides["http_json"].items():
        others = {
            side: found[connections]["per_s"]
            for side, found in sides.items()
            if side.startswith(tuple(serve_peers.PEERS)) and connections in found
        }
        if others:
            best = max(others, key=lambda side: others[side])
            ratios[connections] = best, round(own["per_s"] / others[best], 2)
    return ratios


def _driven(
    host: str, port: int, process: int, request: bytes, connections: int, seconds: float
) -> dict[str, Any]:
    before = serve_peers.cpu_s(process)
    rate, latency = load.pinned(load.closed_loop, host, port, request, connections, seconds)
    # With the warm-up, a fifth more.
    used_us = (serve_peers.cpu_s(process) - before) * 1e6 / max(1.0, rate * seconds * 1.2)
    return {"per_s": rate, "cpu_us": round(used_us, 1), "us": latency}


if __name__ == "__main__":
    harness.run(measure, show, seconds=3.0)

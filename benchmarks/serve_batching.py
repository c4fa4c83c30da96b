"""Rows a second of a medium model at 32 connections on one server core, batches on against off.

The peers join up to as many requests as there are connections, and wait for more for as long as did them
best of the few times that were tried here. That Triton does not wait, and prefers no sizes, is what its
documentation begins with.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness, load, serve_peers, serving

_WAIT_MS = {"mosec": 1, "litserve": 5, "triton": 0, "mlserver": 5}


def measure(seconds: float, connections: int) -> dict[str, Any]:
    """Drive a server with and one without batches, in turns, and then the peers, one at a time."""
    harness.byte_compile()
    body = serving.json_body(serving.MEDIUM[0])
    with (
        tempfile.TemporaryDirectory() as off,
        tempfile.TemporaryDirectory() as on,
        serving.flowserve(Path(off), serving.MEDIUM, "--no-batching") as without,
        serving.flowserve(Path(on), serving.MEDIUM) as with_batches,
    ):
        sides = _rounds({"off": without, "on": with_batches}, serving.post(body), seconds, connections)

    def beside(peer: str) -> dict[str, Any]:
        joined = ["--batch", str(connections), "--wait-ms", str(_WAIT_MS[peer])]
        found: dict[str, Any] = {}
        for side, options in {"off": [], "on": joined}.items():
            with (
                tempfile.TemporaryDirectory() as name,
                serve_peers.running(peer, Path(name), serving.MEDIUM, *options) as at,
            ):
                found |= _rounds({side: at}, serve_peers.request(peer, body), seconds, connections)
        return found

    return {
        "benchmark": "serve_batching",
        "connections": connections,
        "sides": sides,
        "peers": serve_peers.beside(beside),
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"one row a request, 256-1024-1024-10 perceptron, {figures['connections']} connections"]
    lines += _text("batches", figures["sides"])
    for peer, sides in figures["peers"].items():
        if "left_out" in sides:
            lines.append(f"{peer} is left out: {sides['left_out']}")
        else:
            lines += _text(peer, sides)
    return "\n".join(lines)


def _text(name: str, sides: dict[str, Any]) -> list[str]:
    lines = []
    for side, found in sides.items():
        latency = f"p50 {found['us']['p50'] / 1e3:>6.1f} ms   p99 {found['us']['p99'] / 1e3:>6.1f} ms"
        rate = f"{found['per_s']:>8.0f} rows/s   {found['cpu_us']:>6.1f} us of processor"
        lines.append(f"{name:<9}{side:<4}{rate}   {latency}")
    return lines


def _rounds(
    at: dict[str, serve_peers.At], request: bytes, seconds: float, connections: int
) -> dict[str, Any]:
    """The middle one of three rounds, in which servers take turns."""
    rounds: dict[str, list[dict[str, Any]]] = {side: [] for side in at}
    for _ in range(3):
        for side, (host, port, process) in at.items():
            before = serve_peers.cpu_s(process)
            rate, latency = load.pinned(load.closed_loop, host, port, request, connections, seconds / 3)
            used_us = (serve_peers.cpu_s(process) - before) * 1e6 / max(1.0, rate * seconds / 3 * 1.2)
            rounds[side].append({"per_s": rate, "cpu_us": round(used_us, 1), "us": latency})
    return {side: sorted(found, key=lambda f: f["per_s"])[1] for side, found in rounds.items()}


if __name__ == "__main__":
    harness.run(measure, show, seconds=9.0, connections=32)

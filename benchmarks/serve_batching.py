"""Rows a second of a medium model at 32 connections on one server core, batches on against off."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness, load, serving


def measure(seconds: float, connections: int) -> dict[str, Any]:
    """Drive a server with and one without batches, in turns."""
    harness.byte_compile()
    request = serving.post(serving.json_body(serving.MEDIUM[0]))
    rounds: dict[str, list[dict[str, Any]]] = {"off": [], "on": []}
    with (
        tempfile.TemporaryDirectory() as off,
        tempfile.TemporaryDirectory() as on,
        serving.flowserve(Path(off), serving.MEDIUM, "--no-batching") as without,
        serving.flowserve(Path(on), serving.MEDIUM) as with_batches,
    ):
        for _ in range(3):
            for side, (host, port, process) in (("off", without), ("on", with_batches)):
                before = serving.cpu_s(process)
                rate, latency = load.pinned(load.closed_loop, host, port, request, connections, seconds / 3)
                used_us = (serving.cpu_s(process) - before) * 1e6 / max(1.0, rate * seconds / 3 * 1.2)
                rounds[side].append({"per_s": rate, "cpu_us": round(used_us, 1), "us": latency})
    return {
        "benchmark": "serve_batching",
        "connections": connections,
        "sides": {side: sorted(found, key=lambda f: f["per_s"])[1] for side, found in rounds.items()},
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"one row a request, 256-1024-1024-10 perceptron, {figures['connections']} connections"]
    for side, found in figures["sides"].items():
        latency = f"p50 {found['us']['p50'] / 1e3:>6.1f} ms   p99 {found['us']['p99'] / 1e3:>6.1f} ms"
        rate = f"{found['per_s']:>8.0f} rows/s   {found['cpu_us']:>6.1f} us of processor"
        lines.append(f"batches {side:<4}{rate}   {latency}")
    return "\n".join(lines)


if __name__ == "__main__":
    harness.run(measure, show, seconds=9.0, connections=32)

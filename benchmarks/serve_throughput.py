"""Small predictions a second on one server core, with 8 and 32 connections, beside a bare HTTP protocol."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness, serving


def measure(seconds: float) -> dict[str, Any]:
    """Drive each server with 8 and with 32 connections."""
    harness.byte_compile()
    request = serving.post(serving.json_body(serving.SMALL[0]))
    raw = serving.binary_request(serving.SMALL[0])
    sides: dict[str, dict[str, Any]] = {"bare protocol": {}, "flowserve JSON": {}, "flowserve binary": {}}
    with (
        tempfile.TemporaryDirectory() as name,
        serving.flowserve(Path(name), serving.SMALL) as (host, port, server),
        serving.listening([sys.executable, "-m", "benchmarks.bare"]) as (bare_host, bare_port, bare),
    ):
        for connections in (8, 32):
            for side, process, target in (
                ("bare protocol", bare, (bare_host, bare_port, request)),
                ("flowserve JSON", server, (host, port, request)),
                ("flowserve binary", server, (host, port, raw)),
            ):
                before = serving.cpu_s(process)
                rate, latency = serving.drive(serving.closed_loop, *target, connections, seconds)
                # With the warm-up, a fifth more.
                used_us = (serving.cpu_s(process) - before) * 1e6 / max(1.0, rate * seconds * 1.2)
                sides[side][str(connections)] = {"per_s": rate, "cpu_us": round(used_us, 1), "us": latency}
    return {"benchmark": "serve_throughput", "seconds": seconds, "sides": sides, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = ["requests of one row a second, 32-64-64-1 perceptron, one server core"]
    for side, by_connections in figures["sides"].items():
        for connections, found in by_connections.items():
            latency = f"p50 {found['us']['p50']:>7.0f} us   p99 {found['us']['p99']:>7.0f} us"
            rate = f"{found['per_s']:>9.0f}/s   {found['cpu_us']:>5.1f} us of processor"
            lines.append(f"{side:<18}{connections:>3} connections{rate}   {latency}")
    return "\n".join(lines)


if __name__ == "__main__":
    harness.run(measure, show, seconds=3.0)

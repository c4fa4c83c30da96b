"""Ten times what a model can do, for a while: what is answered in time, how fast the rest is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness, load, serving

SIZES = (256, 4096, 4096, 10)


def measure(seconds: float, times: float, deadline_ms: float, rows: int, connections: int) -> dict[str, Any]:
    """Measure the capacity with a few connections, then offer `times` as much."""
    harness.byte_compile()
    patient = serving.post(serving.json_body(SIZES[0], rows))
    hurried = serving.post(serving.json_body(SIZES[0], rows, deadline_ms))
    with (
        tempfile.TemporaryDirectory() as name,
        serving.flowserve(Path(name), SIZES, "--no-batching") as (host, port, process),
    ):
        capacity, _ = load.pinned(load.closed_loop, host, port, patient, 4, max(2.0, seconds / 5))
        before_mb, before_s = _memory_mb(process), serving.cpu_s(process)
        found = load.pinned(load.open_loop, host, port, hurried, capacity * times, seconds, connections)
        after_mb, used_s = _memory_mb(process), serving.cpu_s(process) - before_s
    answered = found.pop(200, [])
    refused = [took for status, times in found.items() if status for took in times]
    in_time = [took for took in answered if took <= deadline_ms * 1e3]
    return {
        "benchmark": "serve_overload",
        "seconds": seconds,
        "capacity_per_s": capacity,
        "deadline_ms": deadline_ms,
        "offered_per_s": round(sum(map(len, (answered, refused, found.get(0, [])))) / seconds, 1),
        "goodput_per_s": round(len(in_time) / seconds, 1),
        "goodput_of_capacity": round(len(in_time) / seconds / capacity, 3),
        "processor_share": round(used_s / seconds, 2),
        "answered": len(answered),
        "refused": {str(status): len(values) for status, values in found.items() if status},
        "answered_us": serving.percentiles(answered),
        "refused_us": serving.percentiles(refused),
        "no_connection_free": len(found.get(0, [])),
        "memory_mb": [before_mb, after_mb],
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    answered, refused = figures["answered_us"], figures["refused_us"]
    before, after = figures["memory_mb"]
    share = f"{figures['goodput_of_capacity']:.0%} of the capacity"
    return "\n".join(
        [
            f"{figures['offered_per_s']:.0f} requests/s for a model that does {figures['capacity_per_s']}",
            f"in time   {figures['goodput_per_s']:.0f}/s, {share}",
            f"answered  p50 {answered['p50'] / 1e3:.1f} ms   p99 {answered['p99'] / 1e3:.1f} ms"
            f"   deadline {figures['deadline_ms']:.0f} ms",
            f"refused   p50 {refused['p50'] / 1e3:.1f} ms   p99 {refused['p99'] / 1e3:.1f} ms",
            f"memory    {before:.0f} MB before, {after:.0f} MB after",
        ]
    )


def _memory_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


if __name__ == "__main__":
    harness.run(measure, show, seconds=20.0, times=10.0, deadline_ms=200.0, rows=1, connections=500)

"""Ten times what a model can do, for a while: what is answered in time, how fast the rest is refused."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from benchmarks import harness, serving

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
        capacity, _ = serving.drive(serving.closed_loop, host, port, patient, 4, max(2.0, seconds / 5))
        before_mb, before_s = _memory_mb(process), serving.cpu_s(process)
        found = serving.drive(_open_loop, host, port, hurried, capacity * times, seconds, connections)
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


async def _open_loop(
    host: str, port: int, request: bytes, per_s: float, seconds: float, connections: int
) -> dict[int, list[float]]:
    """Microseconds by status, asking at a fixed rate; status 0 stands for what found no connection free."""
    loop = asyncio.get_running_loop()
    took: dict[int, list[float]] = {0: []}
    free: deque[serving.Asker] = deque()

    def answered(asker: serving.Asker, status: int, seconds: float) -> None:
        took.setdefault(status, []).append(seconds * 1e6)
        free.append(asker)

    for _ in range(connections):
        free.append((await loop.create_connection(lambda: serving.Asker(answered), host, port))[1])
    askers = list(free)
    began, asked = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        for _ in range(int(passed * per_s) - asked):
            asked += 1
            if free:
                free.popleft().ask(request)
            else:
                took[0].append(0.0)
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    for asker in askers:
        asker.transport.close()
    return took


def _memory_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


if __name__ == "__main__":
    harness.run(measure, show, seconds=20.0, times=10.0, deadline_ms=200.0, rows=1, connections=500)

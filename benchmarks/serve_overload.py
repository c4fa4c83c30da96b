"""Ten times what a model can do, for a while: what is answered in time, how fast the rest is refused.

The model (256 -> 4096 -> 4096 -> 10, about 3 ms a run) runs on a thread, and shares the server's only core
with the loop that refuses; the client has the other core and never sleeps.

**Capacity** is what four connections get that ask again once answered, which keeps the core busy: the mean of
before and after, since a machine does not always do the same: who else uses its memory slows runs for
seconds. **Goodput** counts what came by the deadline, as the client saw it. Requests are sent at a fixed
rate, whatever is answered, and count from when they were *due*: `late_us` is how much of that was the
client's own doing, or of who else wanted its core. `slightly_of_capacity` is the goodput at 1.2 times the
capacity.

`loop` and `runs` are the shares of the core that the loop and the model had; with what is due to the loop for
those that are answered, `runs_of_capacity` is the goodput that the processor's time allows, whatever else has
slowed the runs meanwhile. `us_a_refusal` is what the loop took for one: what it took in all, less what it
takes for each request answered when none is refused. `bare` is the least: a protocol of uvloop and httptools
that refuses all it is asked, with no model beside it; `refused_us` are those of the same client at that rate.

The peers are asked ten times what each itself can do, for half as long. `unsent` counts what was due while
all of the client's connections waited for an answer: from one who refuses nothing, or too late.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import harness, load, serve_peers, serving

SIZES = (256, 4096, 4096, 10)


class Used(msgspec.Struct):
    """Seconds of processor, by the thread that answers and by those that run models."""

    loop: float
    runs: float

    def __sub__(self, before: Used) -> Used:
        return Used(self.loop - before.loop, self.runs - before.runs)


def measure(seconds: float, times: float, deadline_ms: float, rows: int, connections: int) -> dict[str, Any]:
    """Measure the capacity, offer a little more, then `times` as much, and measure again."""
    harness.byte_compile()
    patient = serving.post(serving.json_body(SIZES[0], rows))
    hurried = serving.post(serving.json_body(SIZES[0], rows, deadline_ms))
    short = max(2, min(4, round(seconds / 5)))
    with (
        tempfile.TemporaryDirectory() as name,
        serving.flowserve(Path(name), SIZES, "--no-batching") as (host, port, process),
    ):
        start = _used(process)
        before = _capacity(host, port, patient, short)
        alone = _used(process) - start
        slightly = load.pinned(load.open_loop, host, port, hurried, before * 1.2, short, connections)
        memory_mb, start = [_memory_mb(process)], _used(process)
        found = load.pinned(load.open_loop, host, port, hurried, before * times, seconds, connections)
        used = _used(process) - start
        memory_mb.append(_memory_mb(process))
        after = _capacity(host, port, patient, short)
    capacity = (before + after) / 2
    answered = found.took.get(200, [])
    goodput, sooner = _in_time(found, deadline_ms) / seconds, _in_time(slightly, deadline_ms) / short
    refused = [us for status, times in found.took.items() if status != 200 for us in times]
    runs_share = (used.runs / seconds) / (alone.runs / (short * 1.2))
    loop_s = used.loop - len(answered) * alone.loop / (before * short * 1.2)  # with its warm-up, a fifth more
    return {
        "benchmark": "serve_overload",
        "seconds": seconds,
        "capacity_per_s": round(capacity, 1),
        "capacity_before_and_after": [before, after],
        "deadline_ms": deadline_ms,
        "offered_per_s": round(before * times, 1),
        "goodput_per_s": round(goodput, 1),
        "goodput_of_capacity": round(goodput / capacity, 3),
        "slightly_of_capacity": round(sooner / capacity, 3),
        "runs_of_capacity": round(runs_share, 3),
        "shares": {"loop": round(used.loop / seconds, 3), "runs": round(used.runs / seconds, 3)},
        "us_a_refusal": round(loop_s / max(1, len(refused)) * 1e6, 1),
        "answered": len(answered),
        "refused": {str(status): len(us) for status, us in found.took.items() if status != 200},
        "answered_us": serving.percentiles(answered),
        "refused_us": serving.percentiles(refused),
        "late_us": serving.percentiles(found.late),
        "no_connection_free": found.unsent,
        "memory_mb": memory_mb,
        "bare": _bare(hurried, before * times, short, connections),
        "peers": serve_peers.beside(
            lambda peer: _peer(peer, seconds / 2, times, deadline_ms, rows, connections)
        ),
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    answered, refused, late = figures["answered_us"], figures["refused_us"], figures["late_us"]
    before, after = figures["memory_mb"]
    share = f"{figures['goodput_of_capacity']:.0%} of the capacity"
    shares, bare = figures["shares"], figures["bare"]
    return "\n".join(
        [
            f"{figures['offered_per_s']:.0f} requests/s for a model that does {figures['capacity_per_s']}",
            f"in time   {figures['goodput_per_s']:.0f}/s, {share}"
            f"   ({figures['slightly_of_capacity']:.0%} where 1.2 times as much is asked)",
            f"answered  p50 {answered['p50'] / 1e3:.1f} ms   p99 {answered['p99'] / 1e3:.1f} ms"
            f"   deadline {figures['deadline_ms']:.0f} ms",
            f"refused   p50 {refused['p50'] / 1e3:.1f} ms   p99 {refused['p99'] / 1e3:.1f} ms"
            f"   the client's own delay p99 {late['p99'] / 1e3:.1f} ms",
            f"core      loop {shares['loop']:.0%}   runs {shares['runs']:.0%}"
            f" ({figures['runs_of_capacity']:.0%} of before)   {figures['us_a_refusal']} us a refusal",
            f"bare      {bare['refusals_per_s']:.0f} refusals/s, {bare['cpu_us']} us each, without a model;"
            f" at this rate p99 {bare['refused_us']['p99'] / 1e3:.1f} ms",
            f"memory    {before:.0f} MB before, {after:.0f} MB after",
            *serve_peers.beside_text(figures["peers"], _peer_text),
        ]
    )


def _capacity(host: str, port: int, request: bytes, seconds: int) -> float:
    rates = [load.pinned(load.closed_loop, host, port, request, 4, 1.0)[0] for _ in range(seconds)]
    return float(statistics.median(rates))


def _peer(
    peer: str, seconds: float, times: float, deadline_ms: float, rows: int, connections: int
) -> dict[str, Any]:
    """The same of one of the peers; for less long, without a second measure of its capacity.

    It knows the deadline, and is to let half as many wait as it has time for, where it can be told. Its
    capacity is what it does without: a Triton with a queue policy often sleeps for half a second when only
    four connections ask.
    """
    patient = serve_peers.request(peer, serving.json_body(SIZES[0], rows))
    hurried = serve_peers.request(peer, serving.json_body(SIZES[0], rows, deadline_ms))
    with (
        tempfile.TemporaryDirectory() as name,
        serve_peers.running(peer, Path(name), SIZES) as (host, port, _),
    ):
        capacity = _capacity(host, port, patient, 2)
    queue = max(1, int(capacity * deadline_ms / 2000))
    bounds = ["--queue", str(queue), "--timeout-ms", str(deadline_ms)]
    with (
        tempfile.TemporaryDirectory() as name,
        serve_peers.running(peer, Path(name), SIZES, *bounds) as (host, port, process),
    ):
        memory_mb = [serve_peers.anonymous_mb(process)]
        found = load.pinned(load.open_loop, host, port, hurried, capacity * times, seconds, connections)
        memory_mb.append(serve_peers.anonymous_mb(process))
    refused = [us for status, times in found.took.items() if status != 200 for us in times]
    return {
        "queue": queue,
        "capacity_per_s": capacity,
        "goodput_of_capacity": round(_in_time(found, deadline_ms) / seconds / capacity, 3),
        "answered_us": serving.percentiles(found.took.get(200, [])),
        "refused": {str(status): len(us) for status, us in found.took.items() if status != 200},
        "refused_us": serving.percentiles(refused),
        "no_connection_free": found.unsent,
        "memory_mb": memory_mb,
    }


def _peer_text(found: dict[str, Any]) -> str:
    answered, refused = found["answered_us"], found["refused_us"]
    return (
        f"{found['capacity_per_s']:>5.0f}/s alone, {found['goodput_of_capacity']:>4.0%} of it in time"
        f"   answered p50 {answered['p50'] / 1e3:.0f} ms, p99 {answered['p99'] / 1e3:.0f}"
        f"   {refused['count']} refused: p50 {refused['p50'] / 1e3:.0f} ms, p99 {refused['p99'] / 1e3:.0f}"
        f"   {found['no_connection_free']} unsent"
    )


def _in_time(found: load.OpenLoop, deadline_ms: float) -> int:
    """How many answers came by their deadlines."""
    return sum(us <= deadline_ms * 1e3 for us in found.took.get(200, []))


def _bare(request: bytes, per_s: float, seconds: float, connections: int) -> dict[str, Any]:
    with serving.listening([sys.executable, "-m", "benchmarks.bare", "refusing"]) as (host, port, process):
        before = serving.cpu_s(process)
        rate, _ = load.pinned(load.closed_loop, host, port, request, 32, 2.0, 503)
        used = serving.cpu_s(process) - before
        found = load.pinned(load.open_loop, host, port, request, per_s, seconds, connections)
    return {
        "refusals_per_s": rate,
        "cpu_us": round(used * 1e6 / max(1.0, rate * 2.0 * 1.2), 1),
        "refused_us": serving.percentiles(found.took.get(503, [])),
    }


def _used(process: int) -> Used:
    """The loop is on the first thread; its system calls count, and theirs."""
    used = {
        int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{process}/task").iterdir()
    }
    loop = used.pop(process)
    return Used(loop, sum(used.values()))


def _memory_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


if __name__ == "__main__":
    harness.run(measure, show, seconds=20.0, times=10.0, deadline_ms=200.0, rows=1, connections=500)

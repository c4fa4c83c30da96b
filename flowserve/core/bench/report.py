"""What came of a load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flowserve.core.bench.latencies import Latencies

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
_STAGES = {
    "parse": "compute_input",
    "queue": "queue",
    "inference": "compute_infer",
    "serialise": "compute_output",
}


class Asked(msgspec.Struct, frozen=True):
    """What the load was. `rate` is 0 where every connection asks again once it is answered."""

    model: str
    protocol: str
    connections: int
    rows: int
    rate: float
    seconds: float


class Report(msgspec.Struct, frozen=True):
    """Latencies are in microseconds. With a rate they count from when a request was due."""

    asked: Asked
    seconds: float
    """How long it went on."""
    answered: int
    failed: dict[str, int]
    """By HTTP's status or gRPC's code; `connection` where it broke, `unanswered` at the end."""
    unsent: int
    """Due and never sent, as all connections were waiting for answers."""
    per_s: float
    rows_per_s: float
    latency_us: dict[str, float]
    server_us: dict[str, float]
    """Of each stage in the server, the mean over the requests that it answered meanwhile."""


def report(
    asked: Asked,
    seconds: float,
    latencies: Latencies,
    failed: Mapping[str, int],
    unsent: int,
    server_us: Mapping[str, float],
) -> Report:
    """Sum up a load."""
    quantiles = {name: latencies.quantile(share) for name, share in _QUANTILES.items()}
    latency_us = {name: round(value * 1e6, 1) for name, value in quantiles.items() if value is not None}
    if latencies.count:
        latency_us["mean"] = round(latencies.sum_s / latencies.count * 1e6, 1)
        latency_us["max"] = round(latencies.longest_s * 1e6, 1)
    per_s = latencies.count / seconds if seconds else 0.0
    return Report(
        asked,
        round(seconds, 3),
        latencies.count,
        dict(sorted(failed.items())),
        unsent,
        round(per_s, 1),
        round(per_s * asked.rows, 1),
        latency_us,
        dict(server_us),
    )


def stages_between(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> dict[str, float]:
    """The mean time of each stage in microseconds, by the server's statistics before a load and after it."""
    started, ended = _summed(before), _summed(after)
    found: dict[str, float] = {}
    for stage, (count, ns) in ended.items():
        counted, took = started.get(stage, (0, 0))
        if count > counted:
            found[stage] = round((ns - took) / (count - counted) / 1e3, 1)
    return found


def text_of(report: Report) -> str:
    """The report for people."""
    asked = report.asked
    loop = f"{asked.rate:g} requests a second" if asked.rate else "closed loop"
    rows = "1 row" if asked.rows == 1 else f"{asked.rows} rows"
    connections = "1 connection" if asked.connections == 1 else f"{asked.connections} connections"
    took, rows_per_s = f"{report.seconds:.1f} s", f"{report.rows_per_s:,.0f}"
    lines = [
        f"{asked.model} over {asked.protocol}: {connections}, {rows} a request, {loop}, {took}",
        f"answered   {report.answered:,}   {report.per_s:,.0f} a second   {rows_per_s} rows a second",
    ]
    if report.failed:
        counts = ", ".join(f"{name}: {count:,}" for name, count in report.failed.items())
        lines.append(f"failed     {sum(report.failed.values()):,}   {counts}")
    if report.unsent:
        lines.append(f"not sent   {report.unsent:,}   due, but every connection was waiting for an answer")
    if report.latency_us:
        lines.append("latency    " + _times(report.latency_us))
    if report.server_us:
        lines.append("in server  " + _times(report.server_us) + "   (means)")
    return "\n".join(lines)


def _summed(statistics: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for of in statistics:
        for stage, name in _STAGES.items():
            duration = of.get("inference_stats", {}).get(name, {})
            count, ns = found.get(stage, (0, 0))
            found[stage] = (count + duration.get("count", 0), ns + duration.get("ns", 0))
    return found


def _times(times_us: Mapping[str, float]) -> str:
    return "   ".join(f"{name} {_time(us)}" for name, us in times_us.items())


def _time(us: float) -> str:
    return f"{us:.0f} us" if us < 1e3 else f"{us / 1e3:.1f} ms" if us < 1e6 else f"{us / 1e6:.1f} s"

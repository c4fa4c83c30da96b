"""A slice of Microsoft's Philly trace, replayed through the scheduler: 14 days of October 2017 on 577 GPUs.

As the reference was made (`../shared/data/README.md`): jobs submitted from the 1st to the 14th, one pool.
`known`: the scheduler knows how long a job is going to last; `unknown`: it learns from those that are over.
The reference's own lines, by plain simulations, are beside it.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import harness
from benchmarks.graph_files import data_folder
from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Gpu
from flowrun.core.pool import Pool
from flowrun.core.scheduler.lengths import Learned, Lengths, Remaining
from flowrun.core.scheduler.preempting import ByRank
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.simulation.jobs import Job, Replay
from flowrun.core.simulation.outcome import outcome


def measure(data: str, begin: str, days: int, gpus: int) -> dict[str, Any]:
    """Replay the slice with durations known and unknown."""
    folder = Path(data) / "gpu"
    path = folder / "philly_pollux.csv.gz"
    if not path.is_file():
        sys.exit(f"there is no {path}: name the folder of the data with --data DIR")
    rows = read(path, datetime.fromisoformat(begin), days)
    reference = folder / "philly_sim_reference.json"
    return {
        "benchmark": "philly",
        "jobs": len(rows),
        "gpus": gpus,
        "work_gpu_h": round(sum(seconds * size for _, seconds, size in rows) / 3600),
        "known": replay(rows, gpus, known=True),
        "unknown": replay(rows, gpus, known=False),
        "first_come": replay(rows, gpus, known=False, ordered=False),
        "reference": json.loads(reference.read_text()) if reference.is_file() else {},
        **harness.machine(),
    }


def read(path: Path, begin: datetime, days: int) -> list[tuple[float, float, int]]:
    """Seconds of submission since `begin` and of duration, and GPUs, of each job, as they came."""
    end = begin + timedelta(days=days)
    with gzip.open(path, "rt", newline="") as lines:
        rows = [
            (at, float(row["duration"]), int(row["num_gpus"]))
            for row in csv.DictReader(lines)
            if begin <= (at := datetime.fromisoformat(row["timestamp"])) < end
        ]
    return sorted(((at - begin).total_seconds(), seconds, size) for at, seconds, size in rows)


def replay(
    rows: Sequence[tuple[float, float, int]], gpus: int, known: bool, ordered: bool = True
) -> dict[str, Any]:
    """One run of the scheduler over the jobs; places change hands at once and nothing is lost by it."""
    jobs = [
        Job(
            round(at * 1000),
            Resources(cpus=0, gpus=size),
            round(seconds * 1000),
            estimate_ms=round(seconds * 1000) if known else 0,
            size=size,
        )
        for at, seconds, size in rows
    ]
    lengths: Lengths = Remaining() if known else Learned()
    pool = Pool((Capacity(1, 1, tuple(Gpu(i, "GPU", 1) for i in range(gpus))),))
    preempting = ByRank() if ordered else None
    scheduler = Scheduler(pool, preempting=preempting, grace_ms=0)
    play = Replay(jobs, scheduler, lengths if ordered else None)
    began = time.process_time()
    courses = play.run()
    took = time.process_time() - began
    return {**msgspec.to_builtins(outcome(jobs, courses, gpus)), "cpu_s": round(took, 1)}


def show(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [
        f"{figures['jobs']} jobs, {figures['work_gpu_h']} GPU h, {figures['gpus']} GPUs",
        "                        average    median       p99   longest wait  preempted  starved  slowdown",
    ]
    for name, title in (
        ("known", "durations known"),
        ("unknown", "durations unknown"),
        ("first_come", "order of submission"),
    ):
        row = figures[name]
        completion, waiting = row["completion"], row["waiting"]
        lines.append(
            f"{title:<20}{completion['average']:>11.0f}{completion['median']:>10.0f}{completion['p99']:>10.0f}"
            f"{waiting['longest']:>15.0f}{row['preemptions']:>11}{row['starved']:>9}{row['slowdown']:>10.2f}"
        )
    for name, row in figures["reference"].items():
        if isinstance(row, dict):
            lines.append(
                f"reference {name:<13}{row['avg_jct']:>8.0f}{row['median']:>10.0f}{row['p99']:>10.0f}"
                f"{'':>35}{row['mean_slowdown']:>10.2f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    harness.run(measure, show, data=str(data_folder()), begin="2017-10-01", days=14, gpus=577)

"""Schedules computed ahead for Patterson's 110 projects: how many are optimal within some seconds each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks import harness, projects
from flowrun.core.ahead import lower_bound, search

SCHEDULES = 20_000  # of one search; then the next one begins, with the next seed, while there is time


def measure(data: str, seconds: float, seed: int, oracle: float) -> dict[str, Any]:
    """Search each project for at most so many seconds of CPU, and compare with the known optimum."""
    instances = projects.read(Path(data) / "psplib" / "patterson.json.gz")
    rows = [_searched(instance, seconds, seed) for instance in instances]
    figures = {
        "benchmark": "patterson",
        "instances": len(rows),
        "valid": sum(row["makespan"] is not None for row in rows),
        "optimal": sum(row["makespan"] == row["best_known"] for row in rows),
        "cpu_s": round(sum(row["cpu_s"] for row in rows) / len(rows), 4),
        "others": [row for row in rows if row["makespan"] != row["best_known"]],
        **harness.machine(),
    }
    if oracle:
        makespans = [projects.oracle_makespan(instance, oracle) for instance in instances]
        figures["oracle_optimal"] = sum(
            makespan == row["best_known"] for makespan, row in zip(makespans, rows, strict=True)
        )
    return figures


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"{figures['optimal']} of {figures['instances']} optimal, {figures['valid']} valid; "
        f"mean {figures['cpu_s']:.3f} s CPU"
    ]
    if "oracle_optimal" in figures:
        lines.append(f"CP-SAT: {figures['oracle_optimal']}")
    lines += [f"  {row['name']}: {row['makespan']}, optimum {row['best_known']}" for row in figures["others"]]
    return "\n".join(lines)


def _searched(instance: dict[str, Any], seconds: float, seed: int) -> dict[str, Any]:
    """Searches end at the lower bound or the limit: that the best known is optimal is not told to them."""
    problem = projects.problem(instance)
    began = time.process_time()
    best: int | None = None
    bound = lower_bound(problem)
    while (best is None or best > bound) and time.process_time() - began < seconds:
        starts = search(problem, SCHEDULES, seed, lambda: time.process_time() - began >= seconds)
        makespan = projects.makespan_if_valid(instance, starts)
        if makespan is None:
            best = None
            break
        best = makespan if best is None else min(best, makespan)
        seed += 1
    return {
        "name": instance["name"],
        "makespan": best,
        "best_known": int(instance["best_known"]),
        "cpu_s": round(time.process_time() - began, 3),
    }


if __name__ == "__main__":
    harness.run(measure, show, data=projects.DATA, seconds=5.0, seed=1, oracle=0.0)

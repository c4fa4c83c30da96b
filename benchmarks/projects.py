"""What the benchmarks of scheduling ahead share: published projects, and a checker of its own."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowrun.core.ahead.problem import Problem

DATA = os.environ.get("FLOW_DATA", "../shared/data")


def read(path: Path) -> Any:
    """A gzipped JSON file of the published data; ends the benchmark with a message where it is missing."""
    if not path.exists():
        sys.exit(f"skipped: {path} is not there; give the folder of the published data with --data DIR")
    return json.loads(gzip.decompress(path.read_bytes()))


def problem(instance: dict[str, Any]) -> Problem:
    """An instance as the scheduler takes it."""
    return Problem(instance["dur"], instance["req"], instance["cap"], instance["succ"])


def makespan_if_valid(instance: dict[str, Any], starts: Sequence[int]) -> int | None:
    """When the last activity ends, or `None` for a schedule that breaks a rule: looked at unit by unit."""
    ends: list[int] = [start + duration for start, duration in zip(starts, instance["dur"], strict=True)]
    if min(starts) < 0 or any(starts[k] < ends[j] for j, after in enumerate(instance["succ"]) for k in after):
        return None
    for moment in range(max(ends)):
        running = [j for j, start in enumerate(starts) if start <= moment < ends[j]]
        for r, capacity in enumerate(instance["cap"]):
            if sum(instance["req"][j][r] for j in running) > capacity:
                return None
    return max(ends)


def oracle_makespan(instance: dict[str, Any], seconds: float) -> int | None:
    """The makespan that OR-tools' CP-SAT finds in so many seconds on one core; `None` if it finds none."""
    try:
        from ortools.sat.python import cp_model  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        sys.exit("--oracle needs OR-tools: pip install ortools")
    model: Any = cp_model.CpModel()
    horizon = sum(instance["dur"])
    starts = [model.new_int_var(0, horizon, f"start{j}") for j in range(instance["n"])]
    intervals = [
        model.new_fixed_size_interval_var(start, duration, f"interval{j}")
        for j, (start, duration) in enumerate(zip(starts, instance["dur"], strict=True))
    ]
    end = model.new_int_var(0, horizon, "end")
    for j, after in enumerate(instance["succ"]):
        model.add(end >= starts[j] + instance["dur"][j])
        for k in after:
            model.add(starts[k] >= starts[j] + instance["dur"][j])
    for r, capacity in enumerate(instance["cap"]):
        model.add_cumulative(intervals, [row[r] for row in instance["req"]], capacity)
    model.minimize(end)
    solver: Any = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    found = solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    makespan: int = int(solver.objective_value) if found else -1
    return makespan if found else None

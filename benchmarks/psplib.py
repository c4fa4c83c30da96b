"""Schedules computed ahead for the projects of PSPLIB: how far from the bound, and from the best known.

One schedule is the one-pass dispatch; three or five are it with one or two rounds of forward-backward
improvement; more are the search. Each pass over the activities counts as one schedule (`counted`). Figures
are averages over a set, in % above the critical-path bound; `distance` is that less the same of the best
known makespans, so that a part of a set can be compared with all of it. What is not valid is left out, and
not in `valid`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks import harness, projects
from flowrun.core.ahead import dispatch, improve, search
from flowrun.core.ahead.problem import Problem

COUNTED = "a pass over all activities, forward or backward, is one schedule"


def measure(
    data: str, sets: str, schedules: str, seed: int, every: int, out: str, oracle: float
) -> dict[str, Any]:
    """Measure sets and budgets, each separated by commas; `--out` writes every start time, `--every` takes
    parts."""
    rows, written = [], []
    for name in sets.split(","):
        instances = projects.read(Path(data) / "psplib" / f"{name}.json.gz")[::every]
        for budget in map(int, schedules.split(",")):
            found = [_timed(projects.problem(instance), budget, seed) for instance in instances]
            rows.append(_row(name, budget, instances, found))
            written += [
                {"set": name, "schedules": budget, "name": instance["name"], "starts": starts}
                for instance, (starts, _) in zip(instances, found, strict=True)
            ]
        if oracle:
            rows.append(_oracle_row(name, instances, oracle))
    if out:
        Path(out).write_text("".join(f"{json.dumps(row)}\n" for row in written), encoding="utf-8")
    return {"benchmark": "psplib", "seed": seed, "counted": COUNTED, "rows": rows, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        "% above the critical-path bound, averages (j30: also % above the optimum)",
        f"schedules: {figures['counted']}",
    ]
    for row in figures["rows"]:
        optimum = f"   above optimum {row['above_optimum']:.3f}" if row["set"] == "j30" else ""
        lines.append(
            f"{row['set']:>5}  {row['schedules']:>8} schedules  {row['above_bound']:6.2f}"
            f"   distance to best known {row['distance']:6.2f}   {row['cpu_s'] * 1000:8.2f} ms"
            f"   valid {row['valid']}/{row['instances']}{optimum}"
        )
    return "\n".join(lines)


def _timed(problem: Problem, budget: int, seed: int) -> tuple[list[int], float]:
    began = time.process_time()
    match budget:
        case 1:
            starts = dispatch(problem)
        case 2 | 3 | 4 | 5:
            starts = improve(problem, dispatch(problem), rounds=budget // 2)
        case _:
            starts = search(problem, budget, seed)
    return starts, time.process_time() - began


def _row(
    name: str, schedules: int | str, instances: list[dict[str, Any]], found: list[tuple[list[int], float]]
) -> dict[str, Any]:
    makespans = [
        projects.makespan_if_valid(instance, starts)
        for instance, (starts, _) in zip(instances, found, strict=True)
    ]
    return _figures(name, schedules, instances, makespans, sum(cpu for _, cpu in found) / len(found))


def _oracle_row(name: str, instances: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    began = time.process_time()
    makespans = [projects.oracle_makespan(instance, seconds) for instance in instances]
    return _figures(name, "CP-SAT", instances, makespans, (time.process_time() - began) / len(instances))


def _figures(
    name: str,
    schedules: int | str,
    instances: list[dict[str, Any]],
    makespans: list[int | None],
    cpu_s: float,
) -> dict[str, Any]:
    valid = [
        (makespan, instance["cplb"], int(instance["best_known"]))
        for makespan, instance in zip(makespans, instances, strict=True)
        if makespan is not None
    ]
    count = max(len(valid), 1)
    above = 100 * sum(makespan / bound - 1 for makespan, bound, _ in valid) / count
    best = 100 * sum(known / bound - 1 for _, bound, known in valid) / count
    return {
        "set": name,
        "schedules": schedules,
        "above_bound": round(above, 3),
        "best_known_above_bound": round(best, 3),
        "distance": round(above - best, 3),
        "above_optimum": round(100 * sum(makespan / known - 1 for makespan, _, known in valid) / count, 3),
        "cpu_s": round(cpu_s, 5),
        "valid": len(valid),
        "instances": len(instances),
    }


if __name__ == "__main__":
    harness.run(
        measure,
        show,
        data=projects.DATA,
        sets="j30,j60,j120",
        schedules="1,5,1000,5000",
        seed=1,
        every=1,
        out="",
        oracle=0.0,
    )

"""Schedules computed ahead for recorded runs of real workflows: makespan over its lower bound.

Each task takes one of P cores for its recorded time; the bound is the critical path or the work over P.
Beside it stands the one-pass dispatch by bottom levels, which is what a scheduler does without looking ahead.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks import harness, projects
from flowrun.core.ahead import plan_ahead

TASKS_LEAST = 20


def measure(data: str, cores: str, schedules: int, seed: int, every: int) -> dict[str, Any]:
    """Plan every workflow of 20 tasks or more on some numbers of cores, separated by commas."""
    folder = Path(data) / "wf"
    if not folder.is_dir():
        projects.read(folder)  # says that it is missing
    files = [projects.read(path) for path in sorted(folder.glob("*.json.gz"))]
    runs = [file["tasks"] for file in files if isinstance(file, dict) and len(file["tasks"]) >= TASKS_LEAST]
    rows = [_row(runs[::every], count, schedules, seed) for count in map(int, cores.split(","))]
    return {"benchmark": "wfinstances", "schedules": schedules, "rows": rows, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = ["makespan over max(critical path, work / cores), means over real workflows"]
    lines += [
        f"P = {row['cores']:>3}   ahead {row['ahead']:.4f}   dispatch {row['dispatch']:.4f}   "
        f"CPU mean {row['cpu_s_mean']:.3f} s, most {row['cpu_s_max']:.3f} s   "
        f"valid {row['valid']}/{row['workflows']}"
        for row in figures["rows"]
    ]
    return "\n".join(lines)


def _row(runs: list[list[dict[str, Any]]], cores: int, schedules: int, seed: int) -> dict[str, Any]:
    ahead: list[float] = []
    once: list[float] = []
    cpu = []
    for tasks in runs:
        bound = _bound(tasks, cores)
        for budget, ratios in ((1, once), (schedules, ahead)):
            began = time.process_time()
            schedule = plan_ahead(
                [task["rt"] * 1000 for task in tasks],
                [[1]] * len(tasks),
                [cores],
                [task["par"] for task in tasks],
                schedules=budget,
                seed=seed,
            )
            took = time.process_time() - began
            if _valid(tasks, cores, schedule.starts):
                ends = [start + task["rt"] * 1000 for start, task in zip(schedule.starts, tasks, strict=True)]
                ratios.append(max(ends) / bound)
        cpu.append(took)
    return {
        "cores": cores,
        "ahead": round(statistics.mean(ahead), 4),
        "dispatch": round(statistics.mean(once), 4),
        "cpu_s_mean": round(statistics.mean(cpu), 4),
        "cpu_s_max": round(max(cpu), 4),
        "valid": len(ahead),
        "workflows": len(runs),
    }


def _bound(tasks: list[dict[str, Any]], cores: int) -> float:
    """Milliseconds; reckoned here, not taken from what is measured. Parents may stand behind their
    children."""
    ends: dict[int, float] = {}
    waiting = list(range(len(tasks)))
    while waiting:
        known = [j for j in waiting if all(i in ends for i in tasks[j]["par"])]
        assert known, "a circle"
        for j in known:
            ends[j] = max((ends[i] for i in tasks[j]["par"]), default=0) + tasks[j]["rt"] * 1000
        waiting = [j for j in waiting if j not in ends]
    work: float = sum(task["rt"] for task in tasks) * 1000
    return max(*ends.values(), work / cores)


def _valid(tasks: list[dict[str, Any]], cores: int, starts: list[float]) -> bool:
    """Whether parents end first and no moment has more tasks than cores, but for the dust of floating
    point."""
    dust = 1e-6
    ends = [start + task["rt"] * 1000 for start, task in zip(starts, tasks, strict=True)]
    if min(starts) < 0 or any(
        starts[j] < ends[i] - dust for j, task in enumerate(tasks) for i in task["par"]
    ):
        return False
    changes = sorted(
        [(start, 1) for start in starts]
        + [(max(start, end - dust), -1) for start, end in zip(starts, ends, strict=True)]
    )
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most <= cores


if __name__ == "__main__":
    harness.run(measure, show, data=projects.DATA, cores="4,16,64", schedules=1000, seed=1, every=1)

"""The digits workflow, predicted and real: `flowrun simulate` with a history against `flowrun execute`.

Each round executes the plan three times. The first and the last make the history that the round is
simulated with, on this host; the one in between is what the prediction is compared with, so that other work
on the machine which comes or goes during a round counts for neither side. Both are the run's own time, from
its opening to its end. A run before all rounds warms up.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness

PLAN = harness.ROOT / "plans" / "digits.plan.jsonl"


def measure(rounds: int) -> dict[str, Any]:
    """Predict the makespan of plans/digits, execute it, and compare."""
    harness.byte_compile()
    predicted, real = [], []
    with tempfile.TemporaryDirectory() as name:
        _execute(Path(name) / "warm-up")
        for number in range(rounds):
            state = Path(name) / f"history-{number}"
            _execute(state)
            real.append(_execute(Path(name) / "real"))
            _execute(state)
            predicted.append(_simulate(state))
    off = [abs(p - r) / r for p, r in zip(predicted, real, strict=True)]
    medians = [statistics.median(figures) for figures in (predicted, real)]
    return {
        **harness.machine(),
        "predicted_ms": predicted,
        "real_ms": real,
        "off_each": [round(part, 3) for part in off],
        "predicted_median_ms": medians[0],
        "real_median_ms": medians[1],
        "off": round(abs(medians[0] - medians[1]) / medians[1], 3),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = ["plans/digits, makespan (required: the medians differ by at most 10 %)", "predicted       real"]
    for predicted, real in zip(figures["predicted_ms"], figures["real_ms"], strict=True):
        lines.append(f"{predicted:6} ms  {real:6} ms")
    medians = (figures["predicted_median_ms"], figures["real_median_ms"])
    lines.append(f"{medians[0]:6.0f} ms  {medians[1]:6.0f} ms  medians, {figures['off']:.1%} off")
    return "\n".join(lines)


def _execute(state: Path) -> int:
    """The milliseconds of a run."""
    lines = _flowrun("execute", str(PLAN), "--no-cache", "--state", str(state), "--json").splitlines()
    return int(json.loads(lines[-1])["summary"]["wall_ms"])


def _simulate(state: Path) -> int:
    """The predicted milliseconds of a run, with the history of a state folder, on this host."""
    history = state / "history.jsonl"
    _flowrun("history", "--state", str(state), "-o", str(history))
    answer = json.loads(_flowrun("simulate", str(PLAN), "--history", str(history), "--json"))
    return int(answer["findings"]["makespan_ms"])


def _flowrun(*words: str) -> str:
    command = [str(Path(sys.executable).parent / "flowrun"), *words]
    done = subprocess.run(command, cwd=harness.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    harness.run(measure, show, rounds=5)

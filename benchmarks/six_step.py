"""Six nodes of 0.1 s, shaped load -> split -> train -> (eval, predict) -> report, as whole processes.

Sleeping alone takes 500 ms; what is above is the price of the system. Beside flowrun stand the floor (a
Python process that sleeps five times), and what is installed of ProcessPoolExecutor, Ray, dask's
LocalCluster, Parsl, ninja and make. None of them keeps what the steps made, nor a durable log.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import beside, harness

WORKFLOW = """
import time

from flowc import operator, workflow


@operator(cpus=1)
def step(name: str, after: list[str]) -> str:
    time.sleep(0.1)
    return name


@workflow
def six_step():
    load = step("load", [])
    split = step("split", [load])
    train = step("train", [split])
    evaluation = step("eval", [split, train])
    prediction = step("predict", [split, train])
    return step("report", [evaluation, prediction])
"""
SLEEP = "import time\nfor _ in range(5): time.sleep(0.1)"
MAKE = """all: report
split: load
train: split
eval predict: train
report: eval predict
split load train eval predict report:
\tsleep 0.1
.PHONY: all load split train eval predict report
"""
NINJA = """rule step
  command = sleep 0.1 && touch $out
build load: step
build split: step load
build train: step split
build eval: step train
build predict: step train
build report: step eval predict
"""


def measure(repeats: int) -> dict[str, Any]:
    """Time the six-step workflow from process start to exit."""
    harness.byte_compile()
    bin_folder = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as name, beside.Beside() as others:
        folder = Path(name)
        (folder / "six.py").write_text(WORKFLOW)
        harness.wall_ms([str(bin_folder / "flowc"), "compile", "six.py:six_step"], folder)
        flowrun = [str(bin_folder / "flowrun"), "execute", "plans/six_step.plan.jsonl", "--no-cache"]
        sides = {
            "flowrun": lambda: harness.wall_ms(flowrun, folder),
            "sleep": lambda: harness.wall_ms([sys.executable, "-c", SLEEP], folder),
            "flowrun_help": lambda: harness.wall_ms([str(bin_folder / "flowrun"), "--help"], folder),
            "typer_help": lambda: harness.wall_ms([sys.executable, "-c", "import typer"], folder),
        }
        sides |= others.whole("six")
        if make := shutil.which("make"):
            (folder / "Makefile").write_text(MAKE)
            sides["make"] = lambda: harness.wall_ms([make, "-s", "-j2"], folder)
        if ninja := shutil.which("ninja"):
            (folder / "build.ninja").write_text(NINJA)

            def time_ninja() -> float:
                for output in (
                    "load",
                    "split",
                    "train",
                    "eval",
                    "predict",
                    "report",
                    ".ninja_log",
                    ".ninja_deps",
                ):
                    (folder / output).unlink(missing_ok=True)
                return harness.wall_ms([ninja], folder)

            sides["ninja"] = time_ninja
        figures = harness.alternate(sides, repeats)
    spreads = {f"{name}_ms": harness.spread(values) for name, values in figures.items()}
    over = spreads["flowrun_ms"]["median"] / spreads["sleep_ms"]["median"]
    return {
        "benchmark": "six_step",
        **spreads,
        "flowrun_over_sleep": round(over, 3),
        "left_out": others.left_out,
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        f"{name[:-3]:<14}{values['median']:>8.0f} ms"
        for name, values in figures.items()
        if name.endswith("_ms")
    ]
    title = "six steps of 0.1 s, whole process, median (required: flowrun <= 640 ms)"
    return "\n".join([title, *rows, *beside.reasons(figures["left_out"])])


if __name__ == "__main__":
    harness.run(measure, show, repeats=7)

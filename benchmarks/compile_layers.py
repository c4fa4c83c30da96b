"""`flowc compile` of a large workflow, whole process: layers of 100 nodes, each with two dependencies.

Beside it stand the floor, Kahn's algorithm, hand-written, on the same graph as bare lists; and, where it is
installed, dask: the same graph as a bare dict, put into order, and up to 20,000 nodes by `dask.delayed`. It
checks no types and writes no file.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness

WIDTH = 100
WORKFLOW = """
import os

from flowc import operator, workflow


@operator
def source(i: int) -> float:
    return float(i)


@operator
def step(a: float, b: float) -> float:
    return a + b


@workflow
def layers():
    row = [source(i) for i in range(100)]
    for layer in range(int(os.environ["NODES"]) // 100 - 1):
        row = [step(row[i], row[(i + 1) % 100]) for i in range(100)]
    return row
"""

# A whole process, as flowc's; the graph is made as dask's documentation has it.
DASK_ORDER = """
import os
from dask.order import order

def step(a, b): return a + b

count = int(os.environ["NODES"])
graph = {("row", i): (float, i) for i in range(100)}
for i in range(100, count):
    above = i - i % 100 - 100
    graph["row", i] = (step, ("row", above + i % 100), ("row", above + (i + 1) % 100))
assert len(order(graph)) == count
"""
DASK_DELAYED = """
import os
from dask import delayed
from dask.order import order

@delayed
def source(i): return float(i)

@delayed
def step(a, b): return a + b

row = [source(i) for i in range(100)]
for layer in range(int(os.environ["NODES"]) // 100 - 1):
    row = [step(row[i], row[(i + 1) % 100]) for i in range(100)]
assert order(dict(delayed(list)(row).__dask_graph__()))
"""
TITLES = {
    "flowc": "flowc",
    "kahn": "bare Kahn",
    "dask": "dask, bare dict in order",
    "delayed": "dask.delayed",
}
MOST_DELAYED = 20_000


def measure(nodes: str, repeats: int) -> dict[str, Any]:
    """Time the compilation of some numbers of nodes, separated by commas."""
    harness.byte_compile()
    flowc = str(Path(sys.executable).parent / "flowc")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "layers.py").write_text(WORKFLOW)
        for count in map(int, nodes.split(",")):
            os.environ["NODES"] = str(count)
            command = [flowc, "compile", "layers.py:layers"]
            sides: dict[str, Callable[[], float]] = {
                "flowc": partial(harness.wall_ms, command, folder),
                "kahn": partial(_kahn_ms, count),
            }
            if importlib.util.find_spec("dask"):
                for side, source in (("dask", DASK_ORDER), ("delayed", DASK_DELAYED)):
                    if side == "dask" or count <= MOST_DELAYED:
                        command = [sys.executable, "-c", source]
                        sides[side] = partial(harness.wall_ms, command, folder)
            figures = harness.alternate(sides, repeats)
            rows.append(
                {"nodes": count, **{f"{side}_ms": harness.spread(ms) for side, ms in figures.items()}}
            )
    return {"benchmark": "compile_layers", "rows": rows, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        "compiling layers of 100, whole process, median (required: 20,000 in 500 ms, 100,000 in 1,800 ms)"
    ]
    for row in figures["rows"]:
        medians = {side: row[f"{side}_ms"]["median"] for side in TITLES if f"{side}_ms" in row}
        shown = [f"{TITLES[side]} {median:>6.0f} ms" for side, median in medians.items()]
        lines.append(f"{row['nodes']:>9,} nodes  {'   '.join(shown)}")
    if all("dask_ms" not in row for row in figures["rows"]):
        lines.append("dask is not installed")
    return "\n".join(lines)


def _kahn_ms(count: int) -> float:
    """The least that has to be done: build the edges and order them."""
    began = time.perf_counter()
    followers: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for i in range(WIDTH, count):
        row = i - i % WIDTH - WIDTH
        for source in (row + i % WIDTH, row + (i + 1) % WIDTH):
            followers[source].append(i)
            missing[i] += 1
    ready = [i for i in range(count) if not missing[i]]
    for i in ready:
        for follower in followers[i]:
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)
    assert len(ready) == count
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    harness.run(measure, show, nodes="20000,100000", repeats=3)

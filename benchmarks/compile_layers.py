"""`flowc compile` of a large workflow, whole process: layers of 100 nodes, each with two dependencies.

Beside it stands the floor: Kahn's algorithm, hand-written, on the same graph as bare lists.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
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
            sides = {
                "flowc": lambda command=command: harness.wall_ms(command, folder),
                "kahn": lambda count=count: _kahn_ms(count),
            }
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
        flowc, kahn = row["flowc_ms"]["median"], row["kahn_ms"]["median"]
        lines.append(f"{row['nodes']:>9,} nodes  flowc {flowc:>7.0f} ms   bare Kahn {kahn:>6.0f} ms")
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

"""`flowc compile` after a change of the sources, whole process: 100 calls of 10 workflows, 100,000 nodes.

Beside each change stands a clean compilation of the same sources, whose bytes must be the same.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness

WORKFLOWS = 10
CALLS = 100
OPERATORS = """
from flowc import operator


@operator
def source(i: int, of: int) -> float:
    return float(i)


@operator
def step(a: float, b: float) -> float:
    return a + b


@operator
def total(parts: list[float]) -> float:
    return sum(parts)
"""
WORKFLOW = """

@workflow
def stage{number}(of: int) -> float:
    row = [source(i, of) for i in range({width})]
    for layer in range({depth}):
        row = [step(row[i], row[(i + 1) % {width}]) for i in range({width})]
    return total(row)
"""
MAIN = """

@workflow
def main() -> float:
    parts: list[float] = []
{calls}
    return total(parts)
"""
# What is changed: a file, what is replaced in it, and by what; {n} is another number each time.
CHANGES = {
    "nothing": ("operators.py", "", ""),
    "an operator's body": ("operators.py", "return a + b", "return a + b + {n}"),
    "a workflow": (
        "flow.py",
        "def stage3(of: int) -> float:\n",
        "def stage3(of: int) -> float:\n    total([{n}.0])\n",
    ),
    "a comment on top": ("flow.py", "from flowc", "# change {n}\nfrom flowc"),
}


def measure(nodes: int, repeats: int) -> dict[str, Any]:
    """Time the compilation of some number of nodes after each change, and that of the same from scratch."""
    harness.byte_compile()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name), nodes)
        # Within one series all sides meet the same slow spells, and a change is always one of the whole.
        sides: dict[str, Callable[[], float]] = {"first": project.first}
        for what in CHANGES:
            sides[what] = partial(project.again, what)
            sides[f"{what}, clean"] = partial(project.clean, what)
        figures = harness.alternate(sides, repeats)
    rows = {side: harness.spread(ms) for side, ms in figures.items()}
    return {"benchmark": "recompile", "nodes": nodes, "rows": rows, **harness.machine()}


class Project:
    """The sources in a folder; a change is undone by the next."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder
        width = 20
        depth = nodes // CALLS // width - 1
        stages = [WORKFLOW.format(number=i, width=width, depth=depth) for i in range(WORKFLOWS)]
        call = "    part{i} = [stage{i}(of) for of in range({times})]\n    parts += part{i}"
        calls = [call.format(i=i, times=CALLS // WORKFLOWS) for i in range(WORKFLOWS)]
        main = MAIN.format(calls="\n".join(calls))
        head = "from flowc import workflow\nfrom operators import source, step, total\n"
        self.sources = {"operators.py": OPERATORS, "flow.py": "".join([head, *stages, main])}
        self.plan = folder / "plans" / "main.plan.jsonl"
        self.changes = 0
        self._write("nothing")

    def first(self) -> float:
        """Compile with nothing kept so far, and keep it for the sides that follow."""
        self._write("nothing")
        for kept in self.folder.rglob("*.cache"):
            kept.unlink()
        return self._compile()

    def again(self, what: str) -> float:
        """Compile after a change."""
        self.changes += 1
        self._write(what)
        return self._compile()

    def clean(self, what: str) -> float:
        """Compile from scratch what `again` has compiled: the same bytes, or the benchmark ends."""
        incremental = self.plan.read_bytes()
        took = self._compile("--no-cache")
        if self.plan.read_bytes() != incremental:
            sys.exit(f"after a change of {what} the plan is not that of a clean compilation")
        self._write("nothing")
        self._compile()
        return took

    def _write(self, what: str) -> None:
        where, old, new = CHANGES[what]
        for file, text in self.sources.items():
            changed = text.replace(old, new.format(n=self.changes)) if file == where and old else text
            (self.folder / file).write_text(changed)

    def _compile(self, *options: str) -> float:
        flowc = str(Path(sys.executable).parent / "flowc")
        return harness.wall_ms([flowc, "compile", "flow.py:main", *options], self.folder)


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows, nodes = figures["rows"], figures["nodes"]
    first = rows["first"]["median"]
    lines = [
        f"compiling {nodes:,} nodes again, {CALLS} calls of {WORKFLOWS} workflows, whole process, median "
        "(required: 25 % of the first)",
        f"{'the first time':<20} {first:>7.0f} ms",
    ]
    for what in CHANGES:
        took, clean = rows[what]["median"], rows[f"{what}, clean"]["median"]
        lines.append(f"{what:<20} {took:>7.0f} ms {took / first:>5.0%} of the first   clean {clean:>7.0f} ms")
    return "\n".join(lines)


if __name__ == "__main__":
    harness.run(measure, show, nodes=100_000, repeats=3)

"""What a node costs that runs in a forked process of its own, with torch there to be used.

Beside it stands what it saves: a new interpreter that imports torch. flowrun's time is that from the decision
to start a node until its result is heard of, the median over a chain of nodes that do little with torch.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness
from flowrun.core.changes import Exited, Start
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog

WORKFLOW = """
from flowc import operator, workflow


@operator(isolation="fork")
def step(n: int) -> int:
    import torch

    return int(torch.ones(3).sum()) + n


@workflow
def chain():
    out = 0
    for i in range({nodes}):
        out = step(out)
    return out
"""
FRESH = "import torch; torch.ones(3).sum()"


def measure(repeats: int, nodes: int) -> dict[str, Any]:
    """Time nodes in processes of their own, and interpreters that import torch."""
    harness.byte_compile()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flows.py").write_text(WORKFLOW.format(nodes=nodes))
        commands = Path(sys.executable).parent
        harness.wall_ms([str(commands / "flowc"), "compile", "flows.py:chain"], folder)

        def ours() -> float:
            execute = [str(commands / "flowrun"), "execute", "plans/chain.plan.jsonl", "--no-cache"]
            subprocess.run(execute, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            log = RunLog(Home(folder / ".flow"))
            changes = log.changes(log.runs()[0].run)
            log.close()
            began = {change.node: change.at_ms for change in changes if isinstance(change, Start)}
            times = [change.at_ms - began[change.node] for change in changes if isinstance(change, Exited)]
            return statistics.median(times[1:])  # the first one waits until torch is imported

        fresh = [sys.executable, "-c", FRESH]
        sides = {"flowrun": ours, "fresh_interpreter": lambda: harness.wall_ms(fresh, folder)}
        figures = harness.alternate(sides, repeats)
    spreads = {f"{name}_ms": harness.spread(values) for name, values in figures.items()}
    return {"benchmark": "forked_node", **spreads, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        f"{name[:-3]:<18}{values['median']:>8.1f} ms"
        for name, values in figures.items()
        if name.endswith("_ms")
    ]
    title = "a node in a forked process of its own with torch there, median (required: flowrun <= 15 ms)"
    return "\n".join([title, *rows])


if __name__ == "__main__":
    harness.run(measure, show, repeats=3, nodes=50)

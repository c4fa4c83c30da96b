"""What a node costs that runs in a forked process of its own, with torch there to be used.

Beside it stand what it saves, a new interpreter that imports torch, and the same in what is installed of:

- ProcessPoolExecutor with `max_tasks_per_child=1`, forked from a server that has imported torch. It keeps
  nothing;
- Ray with `max_calls=1`: a new interpreter for each node;
- dask's LocalCluster, its worker restarted after each node, forked from a server that has imported torch. It
  has no process for a node, and forgets all results when it does this;
- make, with a new interpreter as the recipe, and Parsl, with the same as a `bash_app`: it has nothing between
  a worker that is used again and a new program.

flowrun's time is that from the decision to start a node until its result is heard of; the others' that from
submitting a node until its result is there and the next one could start. It is the median over nodes in a row
that do little with torch.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import beside, harness
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
    with tempfile.TemporaryDirectory() as name, beside.Beside(["torch", "numpy"]) as others:
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
        for peer, side in others.up("own").items():
            sides[peer] = partial(side.ask, "own", nodes)
        for peer, run in others.make(_rules).items():
            sides[peer] = lambda run=run: run(3) * 1000 / 3  # type: ignore[misc]
        figures = harness.alternate(sides, repeats)
    spreads = {f"{name}_ms": harness.spread(values) for name, values in figures.items()}
    return {"benchmark": "forked_node", **spreads, "left_out": others.left_out, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        f"{name[:-3]:<18}{values['median']:>8.1f} ms"
        for name, values in figures.items()
        if name.endswith("_ms")
    ]
    title = "a node in a forked process of its own with torch there, median (required: flowrun <= 15 ms)"
    return "\n".join([title, *rows, *beside.reasons(figures["left_out"])])


def _rules(nodes: int) -> str:
    """A Makefile of new interpreters in a row."""
    rules = [f"n{n}: {f'n{n - 1}' if n else ''}\n\t{sys.executable} -c '{FRESH}'\n" for n in range(nodes)]
    return f"all: n{nodes - 1}\n" + "\n".join(rules)


if __name__ == "__main__":
    harness.run(measure, show, repeats=3, nodes=50)

"""What a node costs that does nothing: 1,000 side by side, and 200 in a row.

flowrun keeps a durable log of every start and end, and results by content; its time is from the first start
to the end of the run, as the log has it. Beside it stand, if they are installed (the extra `peers` has them),
Python's ProcessPoolExecutor, Ray, dask's LocalCluster and Parsl with warm workers, and `make -j2`: none of
them keeps a durable log, and none results by content. Then how the cost of a node grows with their number,
and the scheduler's memory. The environment variable `PEERS` names a Python of another environment that has
these.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import beside, harness
from flowrun.core.changes import Finish, Start
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog

WORKFLOW = """
from flowc import operator, workflow


@operator(cpus={cpus})
def step(n: int) -> int:
    return n + 1


@workflow
def side_by_side():
    for i in range({wide}):
        out = step(i)
    return out


@workflow
def in_a_row():
    out = 0
    for i in range({long}):
        out = step(out)
    return out
"""


class Flowrun:
    """Runs of a plan with so many nodes."""

    def __init__(self, folder: Path, wide: int, long: int) -> None:
        self.folder = folder
        self.plans = {"wide": "side_by_side", "chain": "in_a_row"}
        source = WORKFLOW.format(wide=wide, long=long, cpus=(os.cpu_count() or 1) / beside.WORKERS)
        (folder / "flows.py").write_text(source)
        for name in self.plans.values():
            harness.wall_ms([_command("flowc"), "compile", f"flows.py:{name}"], folder)

    def run(self, shape: str) -> tuple[float, int, float]:
        """Seconds from the first start to the end, the greatest memory of its processes (kB), CPU seconds."""
        plan = f"plans/{self.plans[shape]}.plan.jsonl"
        shutil.rmtree(self.folder / ".flow", ignore_errors=True)
        process = subprocess.Popen(
            [_command("flowrun"), "execute", plan], cwd=self.folder, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"flowrun execute {plan} exited with {process.returncode}")
        log = RunLog(Home(self.folder / ".flow"))
        changes = log.changes(log.runs()[0].run)
        log.close()
        began = next(change.at_ms for change in changes if isinstance(change, Start))
        ended = next(change.at_ms for change in changes if isinstance(change, Finish))
        return (ended - began) / 1000, usage.ru_maxrss, usage.ru_utime + usage.ru_stime


def measure(repeats: int, wide: int, long: int, most: int) -> dict[str, Any]:
    """Time nodes that do nothing, in ms a node."""
    harness.byte_compile()
    with tempfile.TemporaryDirectory() as name, beside.Beside() as others:
        growth = [_growth(Path(name), nodes) for nodes in (1000, 10_000, 20_000, 100_000) if nodes <= most]
        ours = Flowrun(Path(name), wide, long)
        sides: dict[str, tuple[Callable[[], float], ...]] = {
            "flowrun": (lambda: ours.run("wide")[0], lambda: ours.run("chain")[0])
        }
        for peer, side in others.up("wide", "chain").items():
            sides[peer] = (partial(side.ask, "wide", wide), partial(side.ask, "chain", long))
        for peer, run in others.make(_rules(chained=False), "wide").items():
            in_a_row = others.make(_rules(chained=True), "chain")[peer]
            sides[peer] = (partial(run, wide), partial(in_a_row, long))
        shapes = {}
        for i, (shape, nodes) in enumerate([("wide", wide), ("chain", long)]):
            figures = harness.alternate({peer: both[i] for peer, both in sides.items()}, repeats)
            shapes[shape] = {
                peer: {
                    name: round(value, 3)
                    for name, value in harness.spread([s * 1e6 / nodes for s in seconds]).items()
                }
                for peer, seconds in figures.items()
            }
    return {
        "benchmark": "dispatch",
        "us_a_node": shapes,
        "growth": growth,
        "left_out": others.left_out,
        **harness.machine(),
    }


def _growth(folder: Path, nodes: int) -> dict[str, Any]:
    inside = folder / f"of-{nodes}"
    inside.mkdir()
    seconds, memory_kb, cpu_s = Flowrun(inside, nodes, 1).run("wide")
    return {
        "nodes": nodes,
        "us_a_node": round(seconds * 1e6 / nodes, 1),
        "cpu_us_a_node": round(cpu_s * 1e6 / nodes, 1),
        "memory_mb": round(memory_kb / 1024),
    }


def _rules(chained: bool) -> Callable[[int], str]:
    """Makefiles of so many targets."""

    def rules(nodes: int) -> str:
        names = [f"n{n}" for n in range(nodes)]
        before = ["", *names] if chained else [""] * nodes
        targets = " ".join(names)
        recipes = (f"{name}: {needs}\n\t@/bin/true\n" for name, needs in zip(names, before, strict=False))
        return f"all: {targets}\n.PHONY: all {targets}\n" + "\n".join(recipes)

    return rules


def _command(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    required = {"wide": "1,000 nodes side by side (required: 250)", "chain": "200 in a row (required: 350)"}
    lines = ["microseconds a node that does nothing, median"]
    for shape, sides in figures["us_a_node"].items():
        lines.append(f"  {required[shape]}")
        for peer, values in sides.items():
            lines.append(f"    {beside.TITLES.get(peer, peer):<20}{values['median']:>9.0f}")
    lines += [f"  {line}" for line in beside.reasons(figures["left_out"])]
    lines.append("  as plans grow (required: flat; 20,000 nodes in 120 MB)")
    lines += [
        f"    {row['nodes']:>7} nodes {row['us_a_node']:>8.0f} us, CPU {row['cpu_us_a_node']:.0f} us, "
        f"{row['memory_mb']} MB"
        for row in figures["growth"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    harness.run(measure, show, repeats=5, wide=1000, long=200, most=100_000)

"""What a node costs that does nothing: 1,000 side by side, and 200 in a row.

flowrun keeps a durable log of every start and end, and results by content; its time is from the first start
to the end of the run, as the log has it. Beside it stand, if they are installed (the extra `peers` has them),
Python's ProcessPoolExecutor, Ray, dask's LocalCluster and Parsl with warm workers, and `make -j2`. Then
how the cost of a node grows with their number, and the scheduler's memory.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness
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
WORKERS = 2
Work = Callable[[int], float]  # of so many nodes: seconds


class Flowrun:
    """Runs of a plan with so many nodes."""

    def __init__(self, folder: Path, wide: int, long: int) -> None:
        self.folder = folder
        self.plans = {"wide": "side_by_side", "chain": "in_a_row"}
        source = WORKFLOW.format(wide=wide, long=long, cpus=(os.cpu_count() or 1) / WORKERS)
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


def step(n: int) -> int:
    """A node of the others."""
    return n + 1


def measure(repeats: int, wide: int, long: int, most: int) -> dict[str, Any]:
    """Time nodes that do nothing, in ms a node."""
    harness.byte_compile()
    with tempfile.TemporaryDirectory() as name, ExitStack() as peers:
        # Before peers are loaded: the kernel counts as a process's memory what its parent had when it began.
        growth = [_growth(Path(name), nodes) for nodes in (1000, 10_000, 20_000, 100_000) if nodes <= most]
        ours = Flowrun(Path(name), wide, long)
        sides: dict[str, tuple[Callable[[], float], ...]] = {
            "flowrun": (lambda: ours.run("wide")[0], lambda: ours.run("chain")[0])
        }
        for peer, start in PEERS.items():
            if run := peers.enter_context(start()):
                sides[peer] = (partial(run["wide"], wide), partial(run["chain"], long))
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
    return {"benchmark": "dispatch", "us_a_node": shapes, "growth": growth, **harness.machine()}


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


def _timed(work: Callable[[int], Any]) -> Work:
    def run(nodes: int) -> float:
        began = time.perf_counter()
        work(nodes)
        return time.perf_counter() - began

    return run


@contextmanager
def _executor() -> Iterator[dict[str, Work]]:
    with ProcessPoolExecutor(WORKERS) as pool:

        def wide(nodes: int) -> None:
            for future in [pool.submit(step, n) for n in range(nodes)]:
                future.result()

        def chain(nodes: int) -> None:
            out = 0
            for _ in range(nodes):
                out = pool.submit(step, out).result()

        yield {"wide": _timed(wide), "chain": _timed(chain)}


@contextmanager
def _ray() -> Iterator[dict[str, Work]]:
    if importlib.util.find_spec("ray") is None:
        yield {}
        return
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    remote = ray.remote(step)

    def chain(nodes: int) -> None:
        out = ray.put(0)
        for _ in range(nodes):
            out = remote.remote(out)
        ray.get(out)

    try:
        yield {
            "wide": _timed(lambda nodes: ray.get([remote.remote(n) for n in range(nodes)])),
            "chain": _timed(chain),
        }
    finally:
        ray.shutdown()


@contextmanager
def _dask() -> Iterator[dict[str, Work]]:
    if importlib.util.find_spec("distributed") is None:
        yield {}
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):

        def chain(nodes: int) -> None:
            out: Any = 0
            for _ in range(nodes):
                out = client.submit(step, out, pure=False)
            out.result()

        yield {
            "wide": _timed(lambda nodes: client.gather(client.map(step, range(nodes), pure=False))),
            "chain": _timed(chain),
        }


@contextmanager
def _parsl() -> Iterator[dict[str, Work]]:
    if importlib.util.find_spec("parsl") is None:
        yield {}
        return
    import parsl
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    # It looks for programs of its own, which lie beside Python's, wherever that is.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    executor = HighThroughputExecutor(max_workers_per_node=WORKERS, provider=LocalProvider())
    with tempfile.TemporaryDirectory() as folder:
        parsl.load(parsl.Config(executors=[executor], run_dir=folder))
        app = parsl.python_app(step)

        def wide(nodes: int) -> None:
            for future in [app(n) for n in range(nodes)]:
                future.result()

        def chain(nodes: int) -> None:
            out: Any = 0
            for _ in range(nodes):
                out = app(out)
            out.result()

        try:
            yield {"wide": _timed(wide), "chain": _timed(chain)}
        finally:
            parsl.dfk().cleanup()
            parsl.clear()


@contextmanager
def _make() -> Iterator[dict[str, Work]]:
    make = shutil.which("make")
    if make is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(nodes: int, rules: list[str]) -> float:
            targets = " ".join(f"n{n}" for n in range(nodes))
            (folder / "Makefile").write_text(f"all: {targets}\n.PHONY: all {targets}\n" + "\n".join(rules))
            return harness.wall_ms([make, "-s", f"-j{WORKERS}"], folder) / 1000

        yield {
            "wide": lambda nodes: run(nodes, [f"n{n}:\n\t@/bin/true\n" for n in range(nodes)]),
            "chain": lambda nodes: run(
                nodes, [f"n{n}: {f'n{n - 1}' if n else ''}\n\t@/bin/true\n" for n in range(nodes)]
            ),
        }


PEERS = {
    "ProcessPoolExecutor": _executor,
    "Ray": _ray,
    "dask": _dask,
    "Parsl": _parsl,
    "make": _make,
}


def _command(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    required = {"wide": "1,000 nodes side by side (required: 250)", "chain": "200 in a row (required: 350)"}
    lines = ["microseconds a node that does nothing, median"]
    for shape, sides in figures["us_a_node"].items():
        lines.append(f"  {required[shape]}")
        lines += [f"    {peer:<20}{values['median']:>9.0f}" for peer, values in sides.items()]
    lines.append("  as plans grow (required: flat; 20,000 nodes in 120 MB)")
    lines += [
        f"    {row['nodes']:>7} nodes {row['us_a_node']:>8.0f} us, CPU {row['cpu_us_a_node']:.0f} us, "
        f"{row['memory_mb']} MB"
        for row in figures["growth"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    harness.run(measure, show, repeats=5, wide=1000, long=200, most=100_000)

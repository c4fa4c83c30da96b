"""`flowc compile` of a large workflow, whole process: layers of 100 nodes, each with two dependencies.

Beside it stand the floor, Kahn's algorithm, hand-written, on the same graph as bare lists; and, where they
are installed, other tools. dask: the same graph as a bare dict, put into order, and by `dask.delayed`; it
checks no types and writes no file. flytekit: `@task` and `@workflow`, serialised as `pyflyte` does; it checks
types, and writes a file. What is slow is measured on small graphs only.

`--peers PYTHON`, or the environment variable `PEERS`, names a Python of another environment that has these.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
# As `flytekit.tools.serialize_extras` and `pyflyte package` have it: every task and the workflow as protobuf.
FLYTEKIT = """
import os
from collections import OrderedDict

from flytekit import task, workflow
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.tools.translator import get_serializable

count = int(os.environ["NODES"])

@task
def source(i: int) -> float:
    return float(i)

@task
def step(a: float, b: float) -> float:
    return a + b

@workflow
def layers() -> list[float]:
    row = [source(i=i) for i in range(100)]
    for layer in range(count // 100 - 1):
        row = [step(a=row[i], b=row[(i + 1) % 100]) for i in range(100)]
    return row

images = ImageConfig(Image("default", "example.org/image", "1"))
settings = SerializationSettings(project="p", domain="d", version="1", image_config=images)
specs = OrderedDict()
assert len(get_serializable(specs, settings, layers).template.nodes) == count
with open("layers.pb", "wb") as file:
    for spec in specs.values():
        if hasattr(spec, "to_flyte_idl"):
            file.write(spec.to_flyte_idl().SerializeToString())
"""


class Peer(NamedTuple):
    """Another tool's way: a program, the distribution it needs, and the most nodes that it is given."""

    title: str
    needs: str
    program: str
    nodes_max: int = 1_000_000


PEERS = {
    "dask": Peer("dask, bare dict in order", "dask", DASK_ORDER),
    "delayed": Peer("dask.delayed", "dask", DASK_DELAYED, 20_000),
    "flytekit": Peer("flytekit", "flytekit", FLYTEKIT, 20_000),
}
TITLES = {"flowc": "flowc", "kahn": "bare Kahn", **{side: peer.title for side, peer in PEERS.items()}}


def measure(nodes: str, repeats: int, peers: str) -> dict[str, Any]:
    """Time the compilation of some numbers of nodes, separated by commas; `peers` is the others' Python."""
    harness.byte_compile()
    flowc = str(Path(sys.executable).parent / "flowc")
    versions = _versions(peers)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "layers.py").write_text(WORKFLOW)
        for side, peer in PEERS.items():
            (folder / f"by_{side}.py").write_text(peer.program)  # a file: flytekit reads the source of a task
        for count in map(int, nodes.split(",")):
            os.environ["NODES"] = str(count)
            command = [flowc, "compile", "layers.py:layers"]
            sides: dict[str, Callable[[], float]] = {
                "flowc": partial(harness.wall_ms, command, folder),
                "kahn": partial(_kahn_ms, count),
            }
            for side, peer in PEERS.items():
                if peer.needs in versions and count <= peer.nodes_max:
                    sides[side] = partial(harness.wall_ms, [peers, f"by_{side}.py"], folder)
            figures = harness.alternate(sides, repeats)
            rows.append(
                {"nodes": count, **{f"{side}_ms": harness.spread(ms) for side, ms in figures.items()}}
            )
    return {"benchmark": "compile_layers", "rows": rows, "peers": versions, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    versions = figures["peers"]
    lines = [
        "compiling layers of 100, whole process, median (required: 20,000 in 500 ms, 100,000 in 1,800 ms)"
    ]
    lines.append(f"{'nodes':<26}" + "".join(f"{row['nodes']:>12,}" for row in figures["rows"]))
    for side, title in TITLES.items():
        medians = [row.get(f"{side}_ms", {}).get("median") for row in figures["rows"]]
        if any(median is not None for median in medians):
            cells = ("-" if median is None else f"{median:,.0f} ms" for median in medians)
            lines.append(f"{title:<26}" + "".join(f"{cell:>12}" for cell in cells))
    needed = dict.fromkeys(peer.needs for peer in PEERS.values())
    return "\n".join([*lines, *(f"{name} {versions.get(name, 'is not installed')}" for name in needed)])


def _versions(python: str) -> dict[str, str]:
    """Of the distributions that peers need, those that a Python has."""
    if shutil.which(python) is None:
        sys.exit(f"there is no Python `{python}`: --peers, or PEERS, names that of the other tools")
    program = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""
    names = sorted({peer.needs for peer in PEERS.values()})
    done = subprocess.run([python, "-c", program, *names], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


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
    harness.run(measure, show, nodes="20000,100000", repeats=3, peers=os.environ.get("PEERS", sys.executable))

"""A large array from one node to the next: what that takes, beside writing a file, and beside other tools.

In one process: writing a file and flushing it to disk; the same with the store, which hashes it, too; an
array that lay in the store from the beginning; reading back. Then from the end of one node to the first line
of the next, in processes of their own: flowrun with an array of numpy's and with one of `flowc.empty`, and
what is installed of ProcessPoolExecutor (pickle, kept nowhere), Ray (kept in shared memory), dask and Parsl
(sent over a socket, kept in no file), and make (kept as a file; the time has a new interpreter in it).

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
from typing import Any

import numpy as np

from benchmarks import beside, harness
from flowrun.shell.store.artifacts import Store

WORKFLOW = """
import time
from typing import NamedTuple

import numpy as np

from flowc import Array, empty, operator, workflow


class Made(NamedTuple):
    data: Array
    ended: float


@operator
def plain(n: int) -> Made:
    return Made(np.full(n, 1.5), time.monotonic())


@operator
def in_place(n: int) -> Made:
    data = empty(n)
    data[:] = 2.5
    return Made(data, time.monotonic())


@operator
def take(made: Made) -> float:
    now = time.monotonic()
    assert made.data[-1] > 1
    return (now - made.ended) * 1000


@workflow
def handover(n: int):
    return take(plain(n))


@workflow
def handover_in_place(n: int):
    return take(in_place(n))
"""

# With make: a program writes the array to a file, not flushed, and the next one maps it.
_MAKE = """
taken: made.npy
\t{python} -c "import time, numpy as np; made = np.load('made.npy', mmap_mode='r'); now = time.monotonic(); \
assert made[-1] > 1; open('took', 'w').write(str((now - float(open('ended').read())) * 1000))"
made.npy:
\t{python} -c "import time, numpy as np; made = np.full({count}, 1.5); \
open('ended', 'w').write(str(time.monotonic())); np.save('made.npy', made)"
"""
TITLES = {
    "file": "a file, written and flushed",
    "file_unflushed": "a file, written only",
    "put": "the store: written, hashed, flushed",
    "put_in_place": "the store: filled in place",
    "get": "the store: read",
    "flowrun": "flowrun, from node to node",
    "flowrun_in_place": "flowrun, filled in place",
    "pool": "ProcessPoolExecutor, nothing kept",
    "ray": "Ray, in shared memory",
    "dask": "dask, processes",
    "parsl": "Parsl, nothing kept",
    "make": "make, by a file (new interpreters)",
}


def measure(size_mb: int, repeats: int, peers: str) -> dict[str, Any]:
    """Time the hand-over of an array of so many MB."""
    harness.byte_compile()
    count = size_mb * 2**20 // 8
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("HANDOVER_DIR")) as name,
        beside.Beside(["numpy"], peers) as others,
    ):
        folder = Path(name)
        figures = _in_one_process(folder, count, repeats)
        sides: dict[str, Callable[[], float]] = {
            side: partial(_flowrun, side, folder, count) for side in ("flowrun", "flowrun_in_place")
        }
        sides |= {tool: partial(_other, others, tool, count) for tool in beside.TOOLS}
        if make := shutil.which("make"):
            sides["make"] = partial(_make, make, folder, count)
        for _ in range(repeats):
            for side, run in sides.items():
                if side not in others.left_out:
                    _touch_memory(folder, 3 * count)
                    try:
                        figures.setdefault(side, []).append(run())
                    except beside.LeftOut as reason:
                        others.left_out[side] = str(reason)
    spreads = {f"{side}_ms": harness.spread(times) for side, times in figures.items() if times}
    ratios = sorted(put / file for put, file in zip(figures["put"], figures["file"], strict=True))
    return {
        "benchmark": "handover",
        "size_mb": size_mb,
        **spreads,
        "put_over_file": round(ratios[len(ratios) // 2], 2),
        "left_out": others.left_out,
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"an array of {figures['size_mb']} MB handed over, median of the repeats"]
    for side, title in TITLES.items():
        found = figures.get(f"{side}_ms")
        why = figures["left_out"].get(side, "is not installed")
        lines.append(f"{title:<38}{found['median']:>9.1f} ms" if found else f"{title:<38} left out: {why}")
    lines.append(f"{'store / file':<38}{figures['put_over_file']:>9.2f}    (required <= 1.5)")
    return "\n".join(lines)


def _in_one_process(folder: Path, count: int, repeats: int) -> dict[str, list[float]]:
    array = np.random.default_rng(0).random(count)

    def in_new_store(put: Callable[[Store], Any]) -> float:
        store = Store(folder / "store")
        store.put(np.ones(1000))
        took = put(store)
        subprocess.run(["rm", "-rf", str(store.folder)], check=True)
        return float(took)

    def put(store: Store) -> float:
        return _timed(lambda: store.put(array))

    def get(store: Store) -> float:
        source = store.put(array).source
        return _timed(lambda: store.get(source)[-1])

    def put_in_place(store: Store) -> float:
        made = store.empty(count)
        made[:] = array
        return _timed(lambda: store.put(made))

    def with_memory(side: Callable[[], float]) -> Callable[[], float]:
        def run() -> float:
            _touch_memory(folder, count)
            return side()

        return run

    sides = {
        "file": lambda: _file_ms(folder / "file", array, flush=True),
        "put": lambda: in_new_store(put),
        "file_unflushed": lambda: _file_ms(folder / "file", array, flush=False),
        "put_in_place": lambda: in_new_store(put_in_place),
        "get": lambda: in_new_store(get),
    }
    return harness.alternate({name: with_memory(side) for name, side in sides.items()}, repeats)


def _timed(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return (time.perf_counter() - began) * 1000


def _file_ms(path: Path, array: np.ndarray[Any, Any], flush: bool) -> float:
    def write() -> None:
        with path.open("wb", buffering=0) as file:
            data = array.data.cast("B")
            while data:
                data = data[file.write(data) :]
            if flush:
                os.fsync(file.fileno())

    took = _timed(write)
    path.unlink()
    return took


def _touch_memory(folder: Path, count: int) -> None:
    """See that so many numbers' worth of memory is free.

    Some virtual machines get memory from their host when it is first touched, and give it back when it has
    been free for a while: that takes many times what is measured here.
    """
    zeros = bytes(2**20)
    with (folder / "touched").open("wb", buffering=0) as file:
        for _ in range(count * 8 // len(zeros)):
            file.write(zeros)
    (folder / "touched").unlink()


def _flowrun(side: str, folder: Path, count: int) -> float:
    name = "handover" + side.removeprefix("flowrun")
    (folder / "hand.py").write_text(WORKFLOW)
    bin_folder = Path(sys.executable).parent
    harness.wall_ms([str(bin_folder / "flowc"), "compile", f"hand.py:{name}"], folder)
    plan = f"plans/{name}.plan.jsonl"
    command = [str(bin_folder / "flowrun"), "execute", plan, "-i", f"n={count}", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    subprocess.run(["rm", "-rf", str(folder / ".flow")], check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["summary"]["result"])


def _other(others: beside.Beside, tool: str, count: int) -> float:
    """What another tool takes, come up for this alone: what it holds is not in the way of the others."""
    with others.side(tool, "handover", count * 8) as side:
        return side.ask("handover", count)


def _make(make: str, folder: Path, count: int) -> float:
    inside = folder / "make"
    inside.mkdir()
    (inside / "Makefile").write_text(_MAKE.format(python=sys.executable, count=count))
    harness.wall_ms([make, "-s"], inside)
    took = float((inside / "took").read_text())
    shutil.rmtree(inside)
    return took


if __name__ == "__main__":
    harness.run(measure, show, **{"size-mb": 1024}, repeats=3, peers=beside.PYTHON)

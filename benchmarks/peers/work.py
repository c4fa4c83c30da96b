"""What the benchmarks of flowrun have another tool do: `work.py TOOL WORK`, with a Python that has the tool.

It says `= ready` when the tool is up, and then what it measured for each line `WORK NUMBER` that it reads.
`wide` and `chain` are seconds for so many nodes that do nothing; `own` milliseconds of one of at most so many
in processes of their own; `handover` milliseconds for an array of so many numbers. `six` is measured from
without: it begins at once, and the process ends.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from tools import TOOLS, Tool, Wish

_LONG_ENOUGH_S = 6


def step(n: int) -> int:
    """A node that does nothing."""
    return n + 1


def named(name: str, *after: Any) -> str:
    """A node that sleeps."""
    import time

    time.sleep(0.1)
    return name


def with_torch(n: int) -> int:
    """A node that does little with torch."""
    import torch

    return int(torch.ones(3).sum()) + n


def program(n: int) -> str:
    """The same, as a new interpreter; only whether it ended well is heard of."""
    import sys

    return f"{sys.executable} -c 'import torch; torch.ones(3).sum()'"


def make(n: int) -> Any:
    """An array, and when it was made."""
    import time

    import numpy as np

    return np.full(n, 1.5), time.monotonic()


def take(made: Any) -> float:
    """How long ago that was."""
    import time

    now = time.monotonic()
    assert made[0][-1] > 1
    return (now - made[1]) * 1000


def wide(tool: Tool, nodes: int) -> float:
    """Nodes side by side."""
    began = time.perf_counter()
    tool.each(step, range(nodes))
    return time.perf_counter() - began


def chain(tool: Tool, nodes: int) -> float:
    """Nodes in a row."""
    began = time.perf_counter()
    out: Any = 0
    for _ in range(nodes):
        out = tool.submit(step, out)
    assert tool.result(out) == nodes
    return time.perf_counter() - began


def six(tool: Tool, nodes: int = 6) -> float:
    """The shape of `benchmarks.six_step`."""
    load = tool.submit(named, "load")
    split = tool.submit(named, "split", load)
    train = tool.submit(named, "train", split)
    last = [tool.submit(named, name, split, train) for name in ("eval", "predict")]
    assert tool.result(tool.submit(named, "report", *last)) == "report"
    return 0


def own(tool: Tool, nodes: int) -> float:
    """Nodes in a row in processes of their own: the median of all but the first, which waits for imports."""
    times = []
    while len(times) < 3 or (len(times) < nodes and sum(times) < _LONG_ENOUGH_S):
        began = time.perf_counter()
        tool.result(tool.submit(with_torch, 0))
        tool.renew()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:]) * 1000


def handover(tool: Tool, count: int) -> float:
    """An array from one worker to another, that has handed over a small one before."""
    for size in (3, 3, count):
        took = float(tool.result(tool.apart(take, tool.submit(make, size))))
    return took


WORK: dict[str, Callable[[Tool, int], float]] = {
    "wide": wide,
    "chain": chain,
    "six": six,
    "own": own,
    "handover": handover,
}


def main(name: str, works: str, array_bytes: int = 0) -> None:
    """Bring a tool up, and work."""
    with TOOLS[name](Wish(program if works == "own" else None, array_bytes)) as tool:
        if works == "six":
            six(tool)
            return
        print("= ready", flush=True)
        for line in sys.stdin:
            work, amount = line.split()
            print("=", WORK[work](tool, int(amount)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))

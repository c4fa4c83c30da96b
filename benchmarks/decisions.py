"""What a decision costs: microseconds a node dispatched through `decide`, with 20,000 nodes ready.

`kinds` is how many different needs the nodes have. Then the same for plans of 10,000 and of 1,000,000 nodes,
of which 8 are ready at a time: chains side by side. Every decision is an exit and what starts for it; CPU
time, garbage collection off, the median of some runs.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections import deque
from typing import Any

from benchmarks import harness
from flowc.plan.model import Header, Node, Plan, Resources, Site
from flowrun.core.changes import Exited, Opened, Start
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Capacity
from flowrun.core.state import State

HOST = Capacity(64, 1_000_000)
DONE = Artifact("d" * 64, 10)
CHAINS = 8


def measure(ready: int, decisions: int, small: int, large: int, repeats: int) -> dict[str, Any]:
    """Time decisions, by kinds of needs and by size of plan."""
    kinds: dict[int, list[float]] = {1: [], 8: []}
    sizes: dict[int, list[float]] = {small: [], large: []}
    for _ in range(repeats):
        for count, figures in kinds.items():
            figures.append(decision_us(wide(ready, count), min(decisions, ready)))
        for nodes, figures in sizes.items():
            figures.append(decision_us(chains(nodes), min(decisions, small)))
    least, most = (statistics.median(sizes[nodes]) for nodes in (small, large))
    return {
        "benchmark": "decisions",
        "ready": ready,
        "us_by_kinds": {kind: harness.spread(figures) for kind, figures in kinds.items()},
        "us_by_nodes": {nodes: harness.spread(figures) for nodes, figures in sizes.items()},
        "growth": round(most / least, 2),
        **harness.machine(),
    }


def wide(nodes: int, kinds: int) -> Plan:
    """Nodes that wait for nothing, of sites that need 1, 2, ... CPUs."""
    sites = tuple(Site(f"s{k}", op="m:f", code="c", needs=Resources(cpus=1 + k)) for k in range(kinds))
    return Plan(
        header=Header(1, "m:w"), sites=sites, nodes=tuple(Node(f"s{i % kinds}[{i}]") for i in range(nodes))
    )


def chains(nodes: int) -> Plan:
    """Chains of which each node waits for the one before."""
    site = Site("s", op="m:f", code="c", needs=Resources(cpus=1))
    made = tuple(
        Node(f"s[{i}]", args={"x": {"from": f"s[{i - CHAINS}]"}} if i >= CHAINS else {}) for i in range(nodes)
    )
    return Plan(header=Header(1, "m:w"), sites=(site,), nodes=made)


def decision_us(plan: Plan, decisions: int) -> float:
    """Microseconds of CPU a decision, from the opening on."""
    gc.collect()
    gc.disable()
    state = State(plan, {})
    running = deque(one for one in decide(state, Opened(1, "p", {}, HOST)) if isinstance(one, Start))
    now_ms = done = 0
    began = time.process_time()
    while running and done < decisions:
        start = running.popleft()
        now_ms += 1
        decided = decide(state, Exited(now_ms + 1, start.node, start.attempt, DONE))
        running.extend(one for one in decided if isinstance(one, Start))
        done += 1
    took = time.process_time() - began
    gc.enable()
    return took / done * 1e6


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{figures['ready']} nodes ready: microseconds of CPU a node dispatched"]
    lines += [
        f"  kinds of needs: {kind}{row['median']:>13.1f}   ({row['min']} to {row['max']})"
        for kind, row in figures["us_by_kinds"].items()
    ]
    lines += [
        f"  plan of {nodes:>9,} nodes{row['median']:>8.1f}   ({row['min']} to {row['max']})"
        for nodes, row in figures["us_by_nodes"].items()
    ]
    return "\n".join([*lines, f"  {figures['growth']} times as much in the large plan"])


if __name__ == "__main__":
    harness.run(measure, show, ready=20_000, decisions=20_000, small=10_000, large=1_000_000, repeats=3)

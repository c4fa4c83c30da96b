"""What a plan costs to run, as far as the plan tells: its critical path, and what its nodes hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

import msgspec

from flowc.plan.graph import Dependencies, critical_path, depths
from flowc.plan.model import Plan, Resources, Site

Weigh = Callable[[Site], float]  # how long a node of a site takes, in some unit

# What is added up over the nodes that run at the same time; `gpu_memory_mb` is declared per GPU.
_HELD: dict[str, Callable[[Resources], float]] = {
    "cpus": lambda needs: needs.cpus,
    "memory_mb": lambda needs: needs.memory_mb,
    "gpus": lambda needs: needs.gpus,
    "gpu_memory_mb": lambda needs: needs.gpus * needs.gpu_memory_mb,
}


class CriticalPath(msgspec.Struct, frozen=True):
    """The heaviest path of a plan: its nodes in order, and their weights added up."""

    length: float
    nodes: tuple[str, ...]


class Demand(msgspec.Struct, frozen=True):
    """What nodes hold of one resource: all together, and the most that those of one level do."""

    total: float
    peak: float


def by_count(site: Site) -> float:
    """A node is as long as any other: paths are measured in nodes."""
    return 1.0


def longest_path(
    plan: Plan, depends_on: Dependencies, weigh: Weigh, prefer: Collection[str] = ()
) -> CriticalPath:
    """The critical path; of equal ones, one through `prefer`red nodes."""
    weight_of = {site.site: weigh(site) for site in plan.sites}
    weights = [weight_of[node.site] for node in plan.nodes]
    preferred = {i for i, node in enumerate(plan.nodes) if node.id in prefer} if prefer else set()
    path = critical_path(depends_on, weights, preferred)
    return CriticalPath(sum(weights[i] for i in path), tuple(plan.nodes[i].id for i in path))


def demands(plan: Plan, depends_on: Dependencies) -> dict[str, Demand]:
    """The demand for each resource."""
    needs = {site.site: site.needs for site in plan.sites}
    levels: dict[int, Counter[str]] = {}
    for node, depth in zip(plan.nodes, depths(depends_on), strict=True):
        levels.setdefault(depth, Counter())[node.site] += 1
    found = {}
    for resource, held in _HELD.items():
        sums = [sum(held(needs[site]) * n for site, n in level.items()) for level in levels.values()]
        found[resource] = Demand(sum(sums), max(sums, default=0))
    return found

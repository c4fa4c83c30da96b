"""Locality: which calls a runner may make in one process, so that data stays where it is made.

It follows from the nodes, and so it is not written into plans: whoever executes one asks for it. It is advice
that loses nothing: a runner that starts each node by itself is right as well.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import NamedTuple

from flowc.plan.graph import Dependencies, depths
from flowc.plan.model import Node, Plan, Site

MIN_GROUPS = 16  # of short calls side by side: no host that wants more is left without work
MAX_BATCH = 64
BATCH_MS = 1000  # a batch that takes longer gains nothing: starting a process takes milliseconds
SHORT_MS = 100


class Locality(NamedTuple):
    """By site: the sites that its nodes may follow in one process, and how many of them may share one."""

    follows: dict[str, tuple[str, ...]]
    batches: dict[str, int]


def locality(plan: Plan, depends_on: Dependencies) -> Locality:
    """Which nodes may run in one process, one after the other."""
    return Locality(chains(plan, depends_on), batch_sizes(plan, depends_on))


def chains(plan: Plan, depends_on: Dependencies) -> dict[str, tuple[str, ...]]:
    """For each site the sites that all its nodes, as far as they wait for one of those, continue.

    A node continues another if it is the only one that waits for it, waits for nothing that the other did
    not wait for, and runs under the same circumstances with the same resources and the same secrets. So to
    run one right after the other delays nothing and holds nothing longer.
    """
    waiting = Counter(chain.from_iterable(depends_on))
    single = {source for source, count in waiting.items() if count == 1}
    if not single:
        return {}
    sites = {site.site: site for site in plan.sites}
    nodes, site_of = plan.nodes, [node.site for node in plan.nodes]

    def continues(source: int, node: int) -> bool:
        # The lengths first: a node that waits for very many is not to be compared with each of them.
        return (
            source in single
            and len(depends_on[node]) <= 1 + len(depends_on[source])
            and set(depends_on[node]) <= {source, *depends_on[source]}
            and _alike(nodes[source], nodes[node])
        )

    possible = {
        (site_of[source], site_of[i])
        for i, sources in enumerate(depends_on)
        for source in sources
        if continues(source, i)
    }
    possible = {pair for pair in possible if _may_share(sites[pair[0]], sites[pair[1]])}
    for i, sources in enumerate(depends_on):
        if not possible:
            break
        for source in sources:
            pair = (site_of[source], site_of[i])
            if pair in possible and not continues(source, i):
                possible.discard(pair)
    order = {site.site: i for i, site in enumerate(plan.sites)}
    found: dict[str, tuple[str, ...]] = {}
    for first, then in sorted(possible, key=lambda pair: order[pair[0]]):
        found[then] = (*found.get(then, ()), first)
    return found


def batch_sizes(plan: Plan, depends_on: Dependencies) -> dict[str, int]:
    """How many nodes of a site one process may run in a row, where that is more than one.

    Only for calls that are known to be short and hold no GPU; and never so many that fewer than `MIN_GROUPS`
    groups are left of the nodes that could run side by side.
    """
    short = {site.site: site.estimate.ms for site in plan.sites if _is_short(site)}
    if not short:
        return {}
    members: Counter[tuple[str, int]] = Counter()
    for node, depth in zip(plan.nodes, depths(depends_on), strict=True):
        if node.site in short:
            members[node.site, depth] += 1
    found = {site: min(MAX_BATCH, BATCH_MS // ms) for site, ms in short.items()}
    for (site, _), count in members.items():  # what holds on the narrowest level holds everywhere
        found[site] = min(found[site], count // MIN_GROUPS)
    return {site: size for site, size in found.items() if size > 1}


def _alike(one: Node, other: Node) -> bool:
    """Whether two nodes run under the same circumstances."""
    if one.trigger != other.trigger or other.trigger != "success":
        return False
    return (one.when, one.unless) == (other.when, other.unless)


def _may_share(one: Site, other: Site) -> bool:
    """Whether one process may run nodes of both sites: it holds what it holds, and knows what it knows."""
    if one.control != "none" or other.control != "none":
        return False
    return (one.needs, one.secrets, one.env, one.priority) == (
        other.needs,
        other.secrets,
        other.env,
        other.priority,
    )


def _is_short(site: Site) -> bool:
    return site.control == "none" and 0 < site.estimate.ms <= SHORT_MS and site.needs.gpus == 0

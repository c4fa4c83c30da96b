"""A plan as a graph small enough to look at: nodes merged into groups until it is.

The first of these ways that fits is taken: every node for itself; by site, which folds loops up; by scope,
ever fewer segments of the id; by outermost scope and range of levels; by range of levels.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from flowc.plan.graph import critical_path, dependencies, depths, weights
from flowc.plan.model import Node, Plan, Site

By = Literal["node", "site", "scope", "level"]


class Most(msgspec.Struct, frozen=True):
    """What a picture can take: so many groups, so many edges, so many nodes of one level side by side."""

    groups: int
    edges: int
    abreast: int

    @classmethod
    def nodes(cls, count: int) -> Most:
        """In proportion to a number of nodes: more edges or wider levels than this nobody can follow."""
        return cls(count, 5 * count, max(12, count // 8))


class Group(msgspec.Struct, frozen=True):
    """Nodes that are drawn as one. `name` is a node's id, or the part of the ids that they share.

    `members` are numbers of nodes, ascending; `inner` counts the edges among them.
    """

    name: str
    members: tuple[int, ...]
    sites: tuple[Site, ...]
    first_level: int
    last_level: int
    inner: int
    critical: bool

    @property
    def scope(self) -> str:
        """The outermost scope, or nothing."""
        return outermost(self.sites[0].site)


class Edge(msgspec.Struct, frozen=True):
    """`count` edges from nodes of one group to nodes of another; critical if one is on the critical path."""

    source: int
    target: int
    count: int
    critical: bool


class Groups(msgspec.Struct, frozen=True):
    """The groups in the order of their first nodes, and the edges between them; `by` is how they came about.

    Every node is in one group. Groups that are not single nodes may depend on each other in circles.
    """

    by: By
    groups: tuple[Group, ...]
    edges: tuple[Edge, ...]


def collapse(plan: Plan, most: Most) -> Groups:
    """Merge nodes as little as a picture's limits allow."""
    depends_on = dependencies(plan.nodes)
    level = depths(depends_on)
    sites = [node.site for node in plan.nodes]
    by, group_of, counts = _fitting(_ways(plan, sites, level, most), depends_on, most)
    path = critical_path(depends_on, weights(plan))
    critical = {(group_of[a], group_of[b]) for a, b in pairwise(path)}
    edges = (Edge(*ends, n, ends in critical) for ends, n in sorted(counts.items()) if ends[0] != ends[1])
    groups = _groups(plan, by, sites, level, group_of, counts, set(path))
    return Groups(by, tuple(groups), tuple(edges))


def pattern(node_id: str) -> str:
    """A node's id with its loop keys left open: `prep[3]/clean[a]#2` is one of `prep[…]/clean[…]`."""
    return _REPEATS.sub("", _KEYS.sub("[…]", node_id))


def outermost(site: str) -> str:
    """The outermost scope of a site, or nothing."""
    return site.partition("/")[0] if "/" in site else ""


_KEYS = re.compile(r"\[[^\]]*\]")
_REPEATS = re.compile(r"#\d+")


def _ways(
    plan: Plan, sites: Sequence[str], level: Sequence[int], most: Most
) -> Iterator[tuple[By, Sequence[Hashable]]]:
    """How nodes can be merged, from the finest to the coarsest: a key for every node."""
    if max((row.nodes for row in plan.levels), default=0) <= most.abreast:
        yield "node", range(len(plan.nodes))
    yield "site", sites
    segments = {site: site.split("/") for site in dict.fromkeys(sites)}
    for depth in range(max(map(len, segments.values()), default=1) - 1, 0, -1):
        cut = {site: "/".join(parts[:depth]) for site, parts in segments.items()}
        yield "scope", [cut[site] for site in sites]
    scope = {site: outermost(site) for site in segments}
    widths = [1]
    while widths[-1] <= max(level, default=0):
        widths.append(2 * widths[-1])
    for width in widths:
        yield "level", [(scope[site], depth // width) for site, depth in zip(sites, level, strict=True)]
    for width in widths:
        yield "level", [depth // width for depth in level]


def _fitting(
    ways: Iterable[tuple[By, Sequence[Hashable]]], depends_on: Sequence[Sequence[int]], most: Most
) -> tuple[By, list[int], dict[tuple[int, int], int]]:
    """The first way that gives a small enough graph: the group of each node, and the edges between them."""
    for by, keys in ways:
        numbers: dict[Hashable, int] = {}
        group_of = [numbers.setdefault(key, len(numbers)) for key in keys]
        if len(numbers) <= most.groups:
            counts = _counts(depends_on, group_of)
            if len(counts) <= most.edges:
                return by, group_of, counts
    raise AssertionError("the last way gives a single group")


def _counts(depends_on: Sequence[Sequence[int]], group_of: Sequence[int]) -> dict[tuple[int, int], int]:
    """How many edges lead from one group to another, or stay within it."""
    counts: dict[tuple[int, int], int] = {}
    for i, sources in enumerate(depends_on):
        for source in sources:
            ends = (group_of[source], group_of[i])
            counts[ends] = counts.get(ends, 0) + 1
    return counts


def _groups(
    plan: Plan,
    by: By,
    sites: Sequence[str],
    level: Sequence[int],
    group_of: Sequence[int],
    counts: dict[tuple[int, int], int],
    critical: set[int],
) -> Iterator[Group]:
    by_id = {site.site: site for site in plan.sites}
    members: dict[int, list[int]] = {}
    for node, group in enumerate(group_of):
        members.setdefault(group, []).append(node)
    for group, nodes in members.items():
        of = dict.fromkeys(sites[node] for node in nodes)
        first, last = min(level[node] for node in nodes), max(level[node] for node in nodes)
        yield Group(
            _name(by, [plan.nodes[node] for node in nodes], list(of), first, last),
            tuple(nodes),
            tuple(by_id[site] for site in of),
            first,
            last,
            counts.get((group, group), 0),
            not critical.isdisjoint(nodes),
        )


def _name(by: By, nodes: Sequence[Node], sites: Sequence[str], first: int, last: int) -> str:
    if len(nodes) == 1:
        return nodes[0].id
    if len(sites) == 1:
        return pattern(nodes[0].id)
    if by == "scope":
        return f"{_shared(sites)}/…"
    scopes = {outermost(site) for site in sites}
    where = f"{scopes.pop()}/… " if len(scopes) == 1 and "" not in scopes else ""
    return f"{where}level {first}" if first == last else f"{where}levels {first}–{last}"


def _shared(sites: Sequence[str]) -> str:
    """The scope that all of some sites are in."""
    paths = [site.split("/") for site in sites]
    first, last = min(paths), max(paths)
    same = 0
    while same < min(len(first), len(last)) - 1 and first[same] == last[same]:
        same += 1
    return "/".join(first[:same])

"""The order of a plan's nodes, and what follows from it: depths and levels.

A partition that was restored, and stands on the same depths as before, is not looked into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flowc.kept import Slice
from flowc.plan.model import Level, Node, sources_of

Counts = dict[int, tuple[list[int], dict[str, None]]]  # by depth: how many nodes, and their sites in order


class Layout(msgspec.Struct, frozen=True, eq=False):
    """The items of a trace with what follows from their order.

    `depths` are those of nodes, and of the ends of slices. `moved` tells for each item of the trace where it
    is now: slices that had to be opened are longer.
    """

    items: list[Node | Slice]
    depths: dict[str, int]
    counts: Counts
    moved: list[int]

    def levels(self) -> tuple[Level, ...]:
        """The level rows."""
        return tuple(Level(depth, n[0], tuple(sites)) for depth, (n, sites) in sorted(self.counts.items()))


def lay_out(traced: Sequence[Node | Slice], site_of: Mapping[str, str]) -> Layout:
    """Find the depth of every node: the edges on its longest path from a root. `site_of` are nodes' sites."""
    items: list[Node | Slice] = []
    depths: dict[str, int] = {}
    counts: Counts = {}
    moved = []
    for item in traced:
        moved.append(len(items))
        if isinstance(item, Node):
            _lay(item, site_of[item.id], depths, counts)
            items.append(item)
        elif all(depths.get(node) == depth for node, depth in item.kept.needs.items()):
            depths.update(item.kept.ends)
            add_levels(counts, item.kept.levels)
            items.append(item)
        else:
            for node in item.nodes():
                _lay(node, node.site, depths, counts)
                items.append(node)
    return Layout(items, depths, counts, [*moved, len(items)])


def _lay(node: Node, site: str, depths: dict[str, int], counts: Counts) -> None:
    """Find a node's depth, and count it there."""
    deepest = -1
    for tree in node.args.values():
        if type(tree) is dict and "from" in tree:  # by far the most common
            depth = depths[tree["from"]]
            if depth > deepest:
                deepest = depth
        elif type(tree) in (list, dict):
            for source in sources_of(tree):
                deepest = max(deepest, depths[source])
    if node.after or node.when or node.unless:
        deepest = max([deepest, *[depths[s] for s in (*node.after, *node.when, *node.unless)]])
    deepest += 1
    depths[node.id] = deepest
    count(counts, deepest, site)


def count(counts: Counts, depth: int, site: str) -> None:
    """Count a node of a depth."""
    known = counts.get(depth)
    if known is None:
        counts[depth] = ([1], {site: None})
    else:
        known[0][0] += 1
        known[1][site] = None


def add_levels(counts: Counts, levels: Sequence[tuple[int, int, list[str]]]) -> None:
    """Count the nodes of a partition."""
    for depth, n, sites in levels:
        total, known = counts.setdefault(depth, ([0], {}))
        total[0] += n
        known.update(dict.fromkeys(sites))

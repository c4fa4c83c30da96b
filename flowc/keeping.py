"""The second half of incremental compilation: every partition of a trace is summed up for the next one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flowc.incremental import Partitions, TracedPartition, kept_call
from flowc.kept import Kept, KeptSite, Slice
from flowc.layout import Counts, Layout, add_levels, count
from flowc.plan.model import Node, sources_of
from flowc.recording import Trace
from flowc.walk import Unknown

LEAST_NODES = 1000  # of a plan that is worth keeping: smaller ones compile in no time
_LEAST_OF_PARTITION = 30  # nodes: smaller ones are kept with the one around them


class _Summary:
    """What a partition comes to, part by part."""

    def __init__(self, depths: Mapping[str, int]) -> None:
        self.count = 0
        self.inner: list[str] = []
        self.sites: dict[str, None] = {}
        self.needs: dict[str, int] = {}
        self.counts: Counts = {}
        self._inside: set[str] = set()
        self._ends: dict[str, None] = {}  # so far
        self._depths = depths

    def add_node(self, node: Node, site: str) -> None:
        """Add a node of the partition's own."""
        self.count += 1
        self.sites[site] = None
        count(self.counts, self._depths[node.id], site)
        plain = node.trigger == "success"  # what only handlers wait for may still be waited for by others
        inside, ends = self._inside, self._ends
        for tree in node.args.values():
            if type(tree) is dict and "from" in tree and tree["from"] in inside:  # by far the most common
                if plain:
                    ends.pop(tree["from"], None)
            elif type(tree) is dict or type(tree) is list:
                self._wait(sources_of(tree), plain)
        if node.after or node.when or node.unless:
            self._wait((*node.after, *node.when, *node.unless), plain)
        inside.add(node.id)
        ends[node.id] = None

    def add_part(self, key: str, kept: Kept) -> None:
        """Add a partition within this one."""
        self.inner.append(key)
        self.count += kept.count
        self.sites |= dict.fromkeys(site.row.site for site in kept.sites)
        add_levels(self.counts, kept.levels)
        self._wait(kept.needs, False)  # by handlers, perhaps
        self._inside |= kept.ends.keys()
        self._ends |= dict.fromkeys(kept.ends)

    def _wait(self, sources: Iterable[str], plain: bool) -> None:
        for source in sources:
            if source not in self._inside:
                self.needs[source] = self._depths[source]
            elif plain:
                self._ends.pop(source, None)

    def ends(self, result: Iterable[str]) -> dict[str, int]:
        """The nodes that others may come to wait for: of the result, and those that nobody waits for."""
        found = self._ends | dict.fromkeys(name for name in result if name in self._inside)
        return {name: self._depths[name] for name in found}


def sum_up(trace: Trace, partitions: Partitions, layout: Layout, starts: Sequence[int]) -> dict[str, Kept]:
    """Everything worth keeping of a compilation, by key: what it traced, and what it restored.

    `starts` tells where in the plan the rows of each item of the layout begin, and where the last ones end.
    """
    kept: dict[str, Kept] = {}
    for item, start in zip(layout.items, starts, strict=False):
        if isinstance(item, Slice):
            moved = start - item.kept.start
            for key, known in item.partitions():
                kept[key] = msgspec.structs.replace(known, start=known.start + moved) if moved else known
    built: dict[int, tuple[str, int]] = {}  # by where it starts: the outermost so far, and its end
    for traced in partitions.traced:  # the inner ones come first
        if traced.key in kept:  # restored, and taken over as it is
            continue
        start, end = layout.moved[traced.start], layout.moved[traced.end]
        with contextlib.suppress(Unknown):
            summary = _Summary(layout.depths)
            _sum_up_items(summary, range(start, end), layout, built, kept, trace.site_of)
            if summary.count >= _LEAST_OF_PARTITION:
                kept[traced.key] = _kept(trace, traced, summary, starts[start], starts[end])
                built[start] = (traced.key, end)
    return kept


def _sum_up_items(
    summary: _Summary,
    span: range,
    layout: Layout,
    built: Mapping[int, tuple[str, int]],
    kept: Mapping[str, Kept],
    site_of: Mapping[str, str],
) -> None:
    at = span.start
    while at < span.stop:
        item = layout.items[at]
        if at in built and built[at][1] <= span.stop:
            key, at = built[at]
            summary.add_part(key, kept[key])
            continue
        if isinstance(item, Slice):
            summary.add_part(item.key, item.kept)
        else:
            summary.add_node(item, site_of.get(item.id) or item.site)
        at += 1


def _kept(trace: Trace, traced: TracedPartition, summary: _Summary, start: int, end: int) -> Kept:
    sites = []
    for site in summary.sites:
        if site in trace.widened:  # by calls that may be outside of the partition
            raise Unknown
        origin = trace.origins[site]
        outer = len(traced.outer)
        if [c.place for c in origin.calls[:outer]] != [c.place for c in traced.outer]:
            raise Unknown  # the workflow is a lambda, which is not told apart from its caller
        path = "/".join(origin.path.split("/")[outer:])
        calls = tuple(kept_call(call, traced.lines) for call in origin.calls[outer:])
        sites.append(KeptSite(trace.sites[site], origin.reference, path, origin.operator, calls))
    levels = [(depth, n[0], list(found)) for depth, (n, found) in sorted(summary.counts.items())]
    ends = summary.ends(traced.sources)
    size, result = end - start, traced.result
    return Kept(start, size, summary.count, summary.inner, sites, summary.needs, ends, levels, result)

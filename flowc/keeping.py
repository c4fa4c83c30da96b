"""The second half of incremental compilation: from a trace with slices to levels, rows, and to disk.

One pass over the nodes finds depths and levels; a slice that still stands on the same depths is not looked
into. Then every partition that was traced is summed up for the next compilation.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from flowc.incremental import Kept, KeptSite, Part, Partitions, Slice, TracedPartition, kept_call
from flowc.plan.codec import encode_row
from flowc.plan.model import Level, Node, sources_of
from flowc.reach import Unknown
from flowc.recording import Trace

LEAST_NODES = 1000  # of a plan that is worth keeping: smaller ones compile in no time
_LEAST_OF_PARTITION = 30  # nodes: smaller ones are kept with the one around them
_LARGEST_BYTES = 1 << 30  # of a file: more is not read
_HEAD_BYTES = 16

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
            _add(counts, item.kept.levels)
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
    _count(counts, deepest, site)


def _count(counts: Counts, depth: int, site: str) -> None:
    known = counts.get(depth)
    if known is None:
        counts[depth] = ([1], {site: None})
    else:
        known[0][0] += 1
        known[1][site] = None


def _add(counts: Counts, levels: Sequence[tuple[int, int, list[str]]]) -> None:
    for depth, n, sites in levels:
        total, known = counts.setdefault(depth, ([0], {}))
        total[0] += n
        known.update(dict.fromkeys(sites))


def encoded(items: Sequence[Node | Slice]) -> list[bytes | Slice]:
    """The rows of nodes as they stand in a plan; slices as they are."""
    return [item if isinstance(item, Slice) else encode_row(item) for item in items]


def flattened(rows: Sequence[bytes | Slice]) -> Iterator[bytes]:
    """Rows, with those of slices in their places."""
    for row in rows:
        if isinstance(row, bytes):
            yield row
        else:
            yield from row.rows()


class _Summary:
    """What a partition comes to, part by part."""

    def __init__(self, depths: Mapping[str, int]) -> None:
        self.count = 0
        self.parts: list[Part] = []
        self.sites: dict[str, None] = {}
        self.needs: dict[str, int] = {}
        self.counts: Counts = {}
        self._own: list[bytes] = []  # rows that follow each other
        self._inside: set[str] = set()
        self._ends: dict[str, None] = {}  # so far
        self._depths = depths

    def add_node(self, node: Node, site: str, row: bytes) -> None:
        """Add a node of the partition's own."""
        self.count += 1
        self._own.append(row)
        self.sites[site] = None
        _count(self.counts, self._depths[node.id], site)
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
        self.close(key)
        self.count += kept.count
        self.sites |= dict.fromkeys(site.row.site for site in kept.sites)
        _add(self.counts, kept.levels)
        self._wait(kept.needs, False)  # by handlers, perhaps
        self._inside |= kept.ends.keys()
        self._ends |= dict.fromkeys(kept.ends)

    def _wait(self, sources: Iterable[str], plain: bool) -> None:
        for source in sources:
            if source not in self._inside:
                self.needs[source] = self._depths[source]
            elif plain:
                self._ends.pop(source, None)

    def close(self, inner: str = "") -> None:
        """Put the rows since the last partition within, and the next one, together."""
        self.parts.append(Part(b"".join(self._own), inner))
        self._own = []

    def ends(self, result: Iterable[str]) -> dict[str, int]:
        """The nodes that others may come to wait for: of the result, and those that nobody waits for."""
        found = self._ends | dict.fromkeys(name for name in result if name in self._inside)
        return {name: self._depths[name] for name in found}


def sum_up(
    trace: Trace, partitions: Partitions, layout: Layout, rows: Sequence[bytes | Slice]
) -> dict[str, Kept]:
    """Everything worth keeping of a compilation, by key: what it traced, and what it restored."""
    kept: dict[str, Kept] = {}
    for item in layout.items:
        if isinstance(item, Slice):
            kept |= {key: partitions.known[key] for key in item.keys()}  # noqa: SIM118 - a walk, not a mapping
    built: dict[int, tuple[str, int]] = {}  # by where it starts: the outermost so far, and its end
    for traced in partitions.traced:  # the inner ones come first
        if traced.key in kept:  # restored, and taken over as it is
            continue
        start, end = layout.moved[traced.start], layout.moved[traced.end]
        with contextlib.suppress(Unknown):
            summary = _Summary(layout.depths)
            _sum_up_items(summary, range(start, end), layout, rows, built, kept, trace.site_of)
            if summary.count >= _LEAST_OF_PARTITION:
                kept[traced.key] = _kept(trace, traced, summary)
                built[start] = (traced.key, end)
    return kept


def _sum_up_items(
    summary: _Summary,
    span: range,
    layout: Layout,
    rows: Sequence[bytes | Slice],
    built: Mapping[int, tuple[str, int]],
    kept: Mapping[str, Kept],
    site_of: Mapping[str, str],
) -> None:
    at = span.start
    while at < span.stop:
        item, row = layout.items[at], rows[at]
        key, end = built.get(at, ("", at))
        if key and end <= span.stop:
            summary.add_part(key, kept[key])
            at = end
            continue
        if isinstance(item, Slice):
            summary.add_part(item.key, item.kept)
        elif isinstance(row, bytes):
            summary.add_node(item, site_of.get(item.id) or item.site, row)
        at += 1
    summary.close()


def _kept(trace: Trace, traced: TracedPartition, summary: _Summary) -> Kept:
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
    return Kept(summary.count, summary.parts, sites, summary.needs, ends, levels, traced.result)


def read_kept(path: Path) -> dict[str, Kept]:
    """What an earlier compilation kept; nothing if there is none, or it is damaged, or of another flowc."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= _LARGEST_BYTES:
            data = memoryview(path.read_bytes())
            head, body = bytes(data[:_HEAD_BYTES]), data[_HEAD_BYTES:]
            if head == _head(body):
                kept = msgspec.msgpack.decode(body, type=dict[str, Kept])
                inner = {part.inner for partition in kept.values() for part in partition.parts}
                return kept if inner <= {"", *kept} else {}
    return {}


def write_kept(path: Path, kept: Mapping[str, Kept]) -> None:
    """Keep it for the next compilation. That it cannot be written is no reason to complain."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with contextlib.suppress(OSError):
        body = msgspec.msgpack.encode(kept)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.writelines((_head(body), body))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _head(body: bytes | memoryview) -> bytes:
    """What a file begins with: which compiler wrote it, and a checksum."""
    return _compiler() + zlib.crc32(body).to_bytes(4, "little")


@functools.cache
def _compiler() -> bytes:
    """12 bytes that stand for this compiler's source: another one may have other rows."""
    found = hashlib.blake2b(digest_size=_HEAD_BYTES - 4)
    for folder in (Path(__file__).parent, Path(__file__).parent / "plan"):
        for name in sorted(os.listdir(folder)):
            if name.endswith(".py"):
                found.update(f"{name}\n".encode() + (folder / name).read_bytes())
    return found.digest()

"""A plan as a drawing: boxes on layers, edges as smooth lines, the longest path in another colour.

Nothing but the plan decides the bytes. Colours follow the system's light or dark setting. A browser shows
what there is to know of a box when the pointer rests on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import pairwise

from flowc.plan.model import Plan
from flowc.plan.text import clipped, counted
from flowc.plan.types import parse
from flowc.show import Options, summary
from flowc.show.boxes import (
    attribute,
    box_lines,
    box_of,
    by_scope,
    colours_of,
    heights,
    kind_of,
    text,
    text_width,
)
from flowc.show.groups import Edge, Group, Groups, Most, collapse
from flowc.show.layout import Layout, layout
from flowc.show.words import merged, needs, signature

_MARGIN, _HEAD, _GAP = 28, 100, 30
_ROW_GAP, _MOST_ROW_GAP = 46, 150
_PORT_GAP = 14  # between the ends of edges on a side of a box
_TIP = 7  # the length of an arrow's head
_MOST_TOLD = 12  # nodes or sites of a group, in its tip

Points = list[tuple[int, int]]


def render(plan: Plan, options: Options) -> str:
    """The SVG file."""
    return draw(plan, collapse(plan, Most.nodes(options.max_nodes)))


def draw(plan: Plan, found: Groups) -> str:
    """Draw the groups of a plan."""
    boxes = [box_of(group) for group in found.groups]
    widths = [box.width for box in boxes]
    laid = layout(widths, [(edge.source, edge.target) for edge in found.edges], _GAP)
    tall = heights(boxes)
    tops = _tops(laid, tall)
    heading = clipped(signature(plan), 100)
    told = "  ·  ".join(filter(None, [summary(plan), merged(found, len(plan.nodes))]))
    colours = colours_of(found.groups)
    legend = list(_legend(colours, by_scope(found.groups)))
    inside = max(laid.width, round(text_width(heading, 15)), round(text_width(told, 12)))
    wide, high = inside + 2 * _MARGIN, (tops[-1] + tall if tops else _HEAD) + _MARGIN
    left = (wide - laid.width) // 2
    places = {span.site: span.at for span in plan.spans}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flow-plan" viewBox="0 0 {wide} {high}" '
        f'width="{wide}" height="{high}" role="img" aria-label={attribute(f"{plan.header.name}: {told}")}>',
        f"<style>\n{style()}</style>",
        f'<rect class="paper" width="{wide}" height="{high}" rx="8"/>',
        f'<text class="heading" x="{_MARGIN}" y="34">{text(heading)}</text>',
        f'<text class="muted" x="{_MARGIN}" y="54">{text(told)}</text>',
        f'<g class="edges" transform="translate({left} 0)">',
        *_edge_lines(found, laid, widths, tops, tall),
        "</g>",
        f'<g class="nodes" transform="translate({left} 0)">',
    ]
    for number, (group, box) in enumerate(zip(found.groups, boxes, strict=True)):
        kind = colours.get(kind_of(group, found.groups), "") + (" critical" if group.critical else "")
        corner = (laid.x[number] - box.width // 2, tops[laid.layer[number]])
        lines += box_lines(box, number, corner, tall, kind.strip(), _tip(plan, group, places))
    return "\n".join([*lines, "</g>", *legend, "</svg>"]) + "\n"


def style() -> str:
    """The style sheet of drawings."""
    return files("flowc.show").joinpath("drawing.css").read_text(encoding="utf-8")


def _tops(laid: Layout, tall: int) -> list[int]:
    """The y of every row's boxes: rows that edges run far between are further apart."""
    rows = max(laid.layer, default=-1) + 1
    reach = [0] * rows
    for route in laid.routes:
        for (x, row), (after, _) in pairwise(route):
            reach[row] = max(reach[row], abs(after - x))
    tops, y = [], _HEAD
    for row in range(rows):
        tops.append(y)
        y += tall + min(max(_ROW_GAP, reach[row] // 7), _MOST_ROW_GAP)
    return tops


def _edge_lines(
    found: Groups, laid: Layout, widths: Sequence[int], tops: Sequence[int], tall: int
) -> Iterator[str]:
    """The edges, critical ones last and so on top of the others; a circle within a group as a small arc."""
    ends = list(zip(_ports(laid, found.edges, widths, upper=True),
                    _ports(laid, found.edges, widths, upper=False), strict=True))  # fmt: skip
    shared = Counter(tuple(route[-2:]) for route in laid.routes)
    for number in sorted(range(len(found.edges)), key=lambda i: found.edges[i].critical):
        edge, route, backward = found.edges[number], laid.routes[number], laid.backward[number]
        kind = "edge" + " backward" * backward + " critical" * edge.critical
        points = [(ends[number][0], route[0][1]), *route[1:-1], (ends[number][1], route[-1][1])]
        yield f'<g class="{kind}" data-e="{edge.source} {edge.target}">'
        yield from _curve(points, tops, tall, backward)
        if edge.count > 1:
            part = points[:2] if shared[tuple(route[-2:])] > 1 else points[-2:]
            (x, row), (after, _) = part
            y = (tops[row] + tall + tops[row + 1]) // 2 + 3
            yield f'<text x="{(x + after) // 2}" y="{y}" text-anchor="middle">{edge.count:,}</text>'
        yield "</g>"
    for number, group in enumerate(found.groups):
        if group.inner:
            x, y = laid.x[number] + widths[number] // 2 + 5, tops[laid.layer[number]] + tall // 2 + 3
            yield f'<g class="edge backward" data-e="{number} {number}">'
            yield f"<title>{counted(group.inner, 'edge')} among these nodes</title>"
            yield f'<path d="M{x} {y - 9}C{x + 22} {y - 14} {x + 22} {y + 14} {x + _TIP} {y + 9}"/>'
            yield f'<path class="tip" d="M{x} {y + 8}l{_TIP + 1} -4v8z"/></g>'


def _curve(points: Points, tops: Sequence[int], tall: int, backward: bool) -> Iterator[str]:
    """A line from box to box: straight down past the boxes of a row, swung between rows."""
    (x, row), (end, last) = points[0], points[-1]
    start, stop = tops[row] + tall + _TIP * backward, tops[last] - _TIP * (not backward)
    path = [f"M{x} {start}"]
    y = start
    for (x, _), (after, row) in pairwise(points):
        to = stop if row == last else tops[row]
        middle = (y + to) // 2
        path.append(f"L{after} {to}" if x == after else f"C{x} {middle} {after} {middle} {after} {to}")
        y = to
        if row != last:
            y = tops[row] + tall
            path.append(f"V{y}")
    yield f'<path d="{"".join(path)}"/>'
    if backward:
        yield f'<path class="tip" d="M{points[0][0]} {start - _TIP}l-4 {_TIP + 1}h8z"/>'
    else:
        yield f'<path class="tip" d="M{end} {stop + _TIP}l-4 -{_TIP + 1}h8z"/>'


def _ports(laid: Layout, edges: Sequence[Edge], widths: Sequence[int], *, upper: bool) -> list[int]:
    """The x at which each edge leaves its upper box or enters its lower one: side by side, none crossing."""
    beside: dict[int, set[int]] = {}  # of each box, the x of what it is joined to
    ends = []
    for edge, route, backward in zip(edges, laid.routes, laid.backward, strict=True):
        box = edge.source if upper != backward else edge.target
        near = route[1][0] if upper else route[-2][0]
        beside.setdefault(box, set()).add(near)
        ends.append((box, near))
    place = {box: {x: i for i, x in enumerate(sorted(near))} for box, near in beside.items()}
    found = []
    for box, near in ends:
        count = len(place[box])
        gap = min(_PORT_GAP, (widths[box] - 20) / max(1, count - 1))
        found.append(laid.x[box] + round((place[box][near] - (count - 1) / 2) * gap))
    return found


def _legend(colours: dict[str, str], scopes: bool) -> Iterator[str]:
    """A line that tells what the colours mean."""
    x = _MARGIN
    yield f'<g class="edge critical"><path d="M{x} 70h18"/></g>'
    yield f'<text class="small" x="{x + 24}" y="74">longest path</text>'
    x += 24 + round(text_width("longest path", 11)) + 18
    for kind, colour in colours.items() if scopes else ():
        shown = clipped(f"{kind}/" if kind else "no scope", 24)
        yield f'<g class="{colour}"><rect class="box" x="{x}" y="64" width="12" height="12" rx="3"/></g>'
        yield f'<text class="small" x="{x + 18}" y="74">{text(shown)}</text>'
        x += 18 + round(text_width(shown, 11)) + 16


def _tip(plan: Plan, group: Group, places: dict[str, str]) -> str:
    """What is told of a group: of one site all that is known, of more the largest."""
    ids = [plan.nodes[i].id for i in group.members[:_MOST_TOLD]]
    more = [f"... {len(group.members) - len(ids):,} more"] if len(group.members) > len(ids) else []
    if len(group.sites) > 1:
        what = [site.site for site in group.sites[:_MOST_TOLD]]
        rest = len(group.sites) - len(what)
        lines = [counted(len(group.sites), "site") + ":", *what, *([f"... {rest:,} more"] if rest else [])]
        return "\n".join([f"{group.name}: {counted(len(group.members), 'node')}", *lines])
    site = group.sites[0]
    takes = ", ".join(f"{name}: {parse(of).short()}" for name, of in site.takes.items())
    lines = [f"{site.op}({takes}) → {parse(site.gives).short()}", needs(site.needs)]
    if site.site in places:
        lines.append(places[site.site])
    return "\n".join([group.name, *lines, *(["", *ids, *more] if len(group.members) > 1 else [])])

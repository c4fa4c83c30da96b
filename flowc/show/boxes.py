"""The boxes of a drawing: what is written in them, how wide that is, and their SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from flowc.plan.text import clipped, width
from flowc.show.groups import Group
from flowc.show.words import does, gpus, operator

COLOURS = 8  # classes c0 to c7 of drawing.css
_NAME_PX, _SMALL_PX = 13, 11  # sizes of text
_CELL = 0.602  # the width of a letter of common fixed-width fonts, in its size
_MOST_CELLS = 38  # of a line in a box
_PADDING = 15
_NARROWEST = 104
_LINE = 15  # the height of a line
# What XML cannot hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Box(NamedTuple):
    """A group as a box of a `width`: its scope, its name, how many nodes, what they do, their GPUs."""

    scope: str
    name: str
    times: str
    does: str
    gpus: str
    width: int
    stacked: bool


def box_of(group: Group) -> Box:
    """Measure and shorten what is written in a group's box."""
    scope, slash, name = group.name.rpartition("/")
    if name.startswith("…"):  # a whole scope
        scope, slash, name = "", "", group.name
    times = f" ×{len(group.members):,}" if len(group.members) > 1 else ""
    scope = _clipped_left(scope + slash, _MOST_CELLS)
    name = clipped(name, _MOST_CELLS - len(times))
    told = clipped(does(group), _MOST_CELLS)
    chip = gpus(group.sites)
    widest = max(
        text_width(name + times, _NAME_PX), text_width(told, _SMALL_PX), text_width(scope, _SMALL_PX)
    )
    wide = max(_NARROWEST, round(widest) + 2 * _PADDING)
    return Box(scope, name, times, told, chip, wide + wide % 2, len(group.members) > 1)


def heights(boxes: Sequence[Box]) -> int:
    """The height of all boxes: that of the tallest."""
    return 46 + (_LINE if any(box.scope for box in boxes) else 0)


def box_lines(
    box: Box, number: int, corner: tuple[int, int], tall: int, kind: str, tip: str
) -> Iterator[str]:
    """The SVG of a box; `kind` are its classes, `tip` is what is told when the pointer rests on it."""
    x, y = corner
    label = attribute(f"{box.scope}{box.name}{box.times}, {box.does}")
    place = f"translate({x} {y})"
    yield f'<g class="node {kind}" data-n="{number}" transform="{place}" aria-label={label}>'
    yield f"<title>{text(tip)}</title>"
    if box.stacked:
        yield f'<rect class="under" x="5" y="5" width="{box.width}" height="{tall}" rx="6"/>'
    yield f'<rect class="box" width="{box.width}" height="{tall}" rx="6"/>'
    yield f'<rect class="bar" x="5" y="8" width="3" height="{tall - 16}" rx="1.5"/>'
    line = tall // 2 - 3
    if tall > 46:
        line += _LINE // 2 + 1
        if box.scope:
            yield f'<text class="small" x="{_PADDING}" y="{line - _LINE}">{text(box.scope)}</text>'
        else:
            line -= _LINE // 2
    times = f'<tspan class="times">{text(box.times)}</tspan>' if box.times else ""
    yield f'<text class="name" x="{_PADDING}" y="{line}">{text(box.name)}{times}</text>'
    yield f'<text class="small" x="{_PADDING}" y="{line + _LINE}">{text(box.does)}</text>'
    if box.gpus:
        wide = round(text_width(box.gpus, 10)) + 12
        left = box.width - wide + 6
        yield f'<rect class="chip" x="{left}" y="-8" width="{wide}" height="16" rx="8"/>'
        yield f'<text class="chip-text" x="{left + 6}" y="4">{text(box.gpus)}</text>'
    yield "</g>"


def colours_of(groups: Sequence[Group]) -> dict[str, str]:
    """A class for each kind of group, the most frequent kinds first; those that are left share none.

    The kind is the outermost scope where there are several, otherwise the operator.
    """
    nodes: dict[str, int] = {}
    for group in groups:
        for kind in filter(None, [kind_of(group, groups)]):
            nodes[kind] = nodes.get(kind, 0) + len(group.members)
    ranked = sorted(nodes, key=lambda kind: -nodes[kind])[:COLOURS]
    return {kind: f"c{i}" for i, kind in enumerate(kind for kind in nodes if kind in ranked)}


def by_scope(groups: Sequence[Group]) -> bool:
    """Whether colours tell scopes."""
    return len({group.scope for group in groups}) > 1


def kind_of(group: Group, groups: Sequence[Group]) -> str:
    """What a group's colour stands for; nothing if it has no one kind."""
    kinds = {site.site.partition("/")[0] if "/" in site.site else "" for site in group.sites}
    if not by_scope(groups):
        kinds = {operator(site) for site in group.sites}
    return kinds.pop() if len(kinds) == 1 else ""


def text_width(words: str, size: int) -> float:
    """How wide a text is, in pixels."""
    return width(words) * size * _CELL


def text(words: str) -> str:
    """A text for an element of an XML or HTML file."""
    return escape(_FORBIDDEN.sub("\ufffd", words))


def attribute(words: str) -> str:
    """A quoted value of an attribute."""
    return quoteattr(_FORBIDDEN.sub("\ufffd", words))


def _clipped_left(words: str, cells: int) -> str:
    return words if len(words) <= cells else f"…{words[1 - cells :]}"

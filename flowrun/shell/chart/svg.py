"""A timeline as a drawing: a file that needs nothing else, readable with six nodes and with many thousands.

Each node has a bar as long as there are few; from then on each site a curve of how many of its nodes ran.
Below lie the GPUs, each with what ran on it, and how much of each dimension was held. Nothing but the
timeline decides the bytes. Colours follow the system's light or dark setting.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from flowc.plan.text import clipped, width
from flowrun.core.timeline import Interval, Timeline
from flowrun.shell.amounts import duration, moment, share
from flowrun.shell.chart.rows import Row, kinds, peak, profile, rows_of, ticks, use

MOST_ROWS = 60
MOST_LANES = 64  # of GPUs
_COLOURS = 8  # classes c0 to c7 of chart.css
_MARGIN, _HEAD, _AXIS = 28, 92, 24
_SPAN = 760  # pixels of the time axis
_TAIL = 110  # right of it
_BAR_ROW, _CURVE_ROW, _USE_ROW, _LANE_ROW = 22, 34, 40, 16
_CELL = 0.602  # the width of a letter of common fixed-width fonts, in its size
_MOST_CELLS = 34  # of a label
_BINS = _SPAN // 2  # of a curve
_LEAST = 1.5  # pixels of a bar
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Sheet(NamedTuple):
    """What all parts of a drawing share: x of the time axis, its scale, colours, and the chain's nodes."""

    timeline: Timeline
    left: int
    colour: dict[str, str]  # of each site
    kinds: dict[str, str]  # what each colour stands for
    critical: Collection[str]

    def x(self, ms: float) -> float:
        return self.left + (ms / self.timeline.makespan_ms * _SPAN if self.timeline.makespan_ms else 0.0)

    def colour_of(self, row: Row) -> str:
        found = {self.colour[interval.site] for interval in row.intervals}
        return found.pop() if len(found) == 1 else ""


def draw(
    timeline: Timeline,
    title: str,
    told: Sequence[str] = (),
    critical: Collection[str] = (),
    most: int = MOST_ROWS,
) -> str:
    """The SVG file: a heading, up to two lines that tell more, and the chart."""
    rows = rows_of(timeline, most)
    kind_of = kinds(timeline, _COLOURS)
    classes = {
        kind: f"c{i}" if i < _COLOURS else "" for i, kind in enumerate(dict.fromkeys(kind_of.values()))
    }
    colour = {site: classes[kind] for site, kind in kind_of.items()}
    names = [_shown(row) for row in rows] + ["memory"]
    left = _MARGIN + round(max(_wide(name + " " * 2, 12) for name in names)) + 12
    by_site = all(site == kind for site, kind in kind_of.items())
    legend = (
        {} if by_site and not timeline.capacity.gpus else {of: kind for kind, of in classes.items() if of}
    )
    sheet = _Sheet(timeline, left, colour, legend, critical)
    top = _HEAD + 17 * max(0, len(told) - 1)
    body: list[str] = []
    y = top + _AXIS
    for number, row in enumerate(rows):
        body += _row(sheet, row, y, number)
        y += _height(row)
    y += 14
    lanes = timeline.capacity.gpus if len(timeline.capacity.gpus) <= MOST_LANES else ()
    if lanes:
        body += _lanes(sheet, y)
        y += 18 + _LANE_ROW * len(lanes) + 10
    body += _uses(sheet, y)
    high = y + 18 + _USE_ROW * (3 if timeline.capacity.gpus else 2) + _MARGIN - 10
    wide = max(left + _SPAN + _TAIL, *(round(_wide(line, 12)) + 2 * _MARGIN for line in [*told, title]))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flow-gantt" viewBox="0 0 {wide} {high}" '
        f'width="{wide}" height="{high}" role="img" aria-label={_attribute(title)}>',
        f"<style>\n{files('flowrun.shell.chart').joinpath('chart.css').read_text(encoding='utf-8')}</style>",
        f'<rect class="paper" width="{wide}" height="{high}" rx="8"/>',
        f'<text class="heading" x="{_MARGIN}" y="34">{_text(title)}</text>',
        *(
            f'<text class="muted" x="{_MARGIN}" y="{54 + 17 * i}">{_text(line)}</text>'
            for i, line in enumerate(told)
        ),
        *_legend(sheet, top - 16),
        *_axis(sheet, top + _AXIS, high - _MARGIN + 6),
        *body,
    ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _height(row: Row) -> int:
    return _CURVE_ROW if row.folded else _BAR_ROW


def _shown(row: Row) -> str:
    times = f" ×{len(row.intervals):,}" if row.folded else ""
    return clipped(row.label, _MOST_CELLS - len(times)) + times


def _axis(sheet: _Sheet, top: int, bottom: int) -> Iterator[str]:
    for at in ticks(sheet.timeline.makespan_ms, 10):
        x = _number(sheet.x(at))
        yield f'<path class="grid" d="M{x} {top - 4}V{bottom}"/>'
        yield f'<text class="small" x="{x}" y="{top - 9}" text-anchor="middle">{moment(at)}</text>'


def _row(sheet: _Sheet, row: Row, y: int, number: int) -> Iterator[str]:
    high = _height(row)
    if number % 2:
        wide = sheet.left + _SPAN + _TAIL - _MARGIN
        yield f'<rect class="stripe" x="{_MARGIN // 2}" y="{y}" width="{wide}" height="{high}"/>'
    chain = any(interval.node in sheet.critical for interval in row.intervals)
    middle = y + high // 2 + 4
    label, times = clipped(row.label, _MOST_CELLS), ""
    if row.folded:
        count = f" ×{len(row.intervals):,}"
        label, times = clipped(row.label, _MOST_CELLS - len(count)), f'<tspan class="times">{count}</tspan>'
    bold = " chain" if chain else ""
    if chain:
        yield f'<circle class="mark" cx="{_MARGIN - 9}" cy="{y + high // 2}" r="3"/>'
    yield f'<text class="label{bold}" x="{_MARGIN}" y="{middle}">{_text(label)}{times}</text>'
    if row.folded:
        yield from _curve(sheet, row, y)
    else:
        yield from _bar(sheet, row.intervals[0], y, sheet.colour_of(row))


def _bar(sheet: _Sheet, interval: Interval, y: int, colour: str) -> Iterator[str]:
    start, began, end = (sheet.x(at) for at in (interval.start_ms, interval.began_ms, interval.end_ms))
    end = max(end, start + _LEAST)
    began = min(began, end - _LEAST)
    critical = " critical" if interval.node in sheet.critical and end - began > 6 else ""
    yield f'<g class="{colour}"><title>{_text(_tip(interval))}</title>'
    if began - start > 0.05:
        yield _rect("wait", start, y + 4, began - start, 14)
    yield _rect(f"run{critical}", began, y + 4, end - began, 14)
    yield "</g>"
    took = duration(interval.end_ms - interval.start_ms)
    yield f'<text class="small" x="{_number(end + 6)}" y="{y + 15}">{took}</text>'


def _tip(interval: Interval) -> str:
    held = interval.placement
    lines = [interval.node, f"{duration(interval.start_ms)} to {duration(interval.end_ms)}"]
    if interval.began_ms > interval.start_ms:
        lines.append(f"of that {duration(interval.began_ms - interval.start_ms)} until its process ran")
    what = [f"{held.cpus:g} CPUs"] + ([f"{held.memory_mb} MB"] if held.memory_mb else [])
    what += [f"GPU {', '.join(map(str, held.gpus))}"] if held.gpus else []
    return "\n".join([*lines, ", ".join(what)])


def _curve(sheet: _Sheet, row: Row, y: int) -> Iterator[str]:
    """How many nodes held their place, and darker, how many of their processes ran."""
    whole, most = sheet.timeline.makespan_ms, peak(row)
    held = profile(((i.start_ms, i.end_ms, 1.0) for i in row.intervals), whole, _BINS)
    ran = profile(((i.began_ms, i.end_ms, 1.0) for i in row.intervals), whole, _BINS)
    first, last = row.intervals[0].start_ms, max(interval.end_ms for interval in row.intervals)
    tip = f"{row.label}: {len(row.intervals):,} nodes, up to {most:,} at a time\n"
    tip += f"{duration(first)} to {duration(last)}"
    yield f'<g class="{sheet.colour_of(row)}"><title>{_text(tip)}</title>'
    for kind, values in (("wait", held), ("run", ran)):
        yield f'<path class="{kind}" d="{_area(sheet, values, most, y + _CURVE_ROW - 3, _CURVE_ROW - 6)}"/>'
    yield "</g>"
    x = sheet.left + _SPAN + 10
    yield f'<text class="small" x="{x}" y="{y + _CURVE_ROW // 2 + 4}">up to {most:,}</text>'


def _lanes(sheet: _Sheet, y: int) -> Iterator[str]:
    """A lane for each GPU: what ran on it, in bars of at least a pixel."""
    timeline = sheet.timeline
    yield f'<text class="section" x="{_MARGIN}" y="{y + 8}">GPUs</text>'
    y += 16
    whole = timeline.makespan_ms or 1
    on: dict[int, list[Interval]] = {gpu.index: [] for gpu in timeline.capacity.gpus}
    for interval in timeline.intervals:
        for index in interval.placement.gpus:
            on.setdefault(index, []).append(interval)
    for place, gpu in enumerate(timeline.capacity.gpus):
        top = y + place * _LANE_ROW
        name = f"{gpu.index} {gpu.name}"
        yield f'<text class="small" x="{_MARGIN}" y="{top + 11}">{_text(clipped(name, _MOST_CELLS))}</text>'
        yield _rect("back", sheet.left, top + 2, _SPAN, _LANE_ROW - 4)
        busy = 0
        for kind, start, end in _merged(sheet, on[gpu.index], whole / _SPAN):
            wide = max(_LEAST, sheet.x(end) - sheet.x(start))
            yield f'<g class="{kind}">{_rect("run", sheet.x(start), top + 2, wide, _LANE_ROW - 4)}</g>'
            busy += end - start
        x = sheet.left + _SPAN + 10
        yield f'<text class="small" x="{x}" y="{top + 11}">{share(busy / whole)}</text>'


def _merged(sheet: _Sheet, intervals: Sequence[Interval], gap: float) -> Iterator[tuple[str, int, int]]:
    """Intervals as bars: those of one colour that lie closer than a pixel are one."""
    bars: list[tuple[str, int, int]] = []
    for interval in sorted(intervals, key=lambda i: (i.start_ms, i.end_ms)):
        kind = sheet.colour[interval.site]
        if (
            bars
            and interval.start_ms - bars[-1][2] < gap
            and (bars[-1][0] == kind or interval.end_ms - interval.start_ms < gap)
        ):
            bars[-1] = (bars[-1][0], bars[-1][1], max(bars[-1][2], interval.end_ms))
        elif bars and interval.start_ms < bars[-1][2]:  # side by side on one GPU
            if interval.end_ms > bars[-1][2]:
                bars.append((kind, bars[-1][2], interval.end_ms))
        else:
            bars.append((kind, interval.start_ms, interval.end_ms))
    yield from bars


def _uses(sheet: _Sheet, y: int) -> Iterator[str]:
    """How much of each dimension was held, from nothing to all."""
    yield f'<text class="section" x="{_MARGIN}" y="{y + 8}">held</text>'
    y += 16
    averages = use(sheet.timeline, 1)
    for name, values in use(sheet.timeline, _BINS).items():
        yield _rect("back", sheet.left, y + 3, _SPAN, _USE_ROW - 6)
        yield f'<path class="use" d="{_area(sheet, values, 1.0, y + _USE_ROW - 3, _USE_ROW - 6)}"/>'
        middle = y + _USE_ROW // 2 + 4
        yield f'<text class="label" x="{_MARGIN}" y="{middle}">{name}</text>'
        x = sheet.left + _SPAN + 10
        yield f'<text class="small" x="{x}" y="{middle}">{share(averages[name][0])}</text>'
        y += _USE_ROW


def _area(sheet: _Sheet, values: Sequence[float], most: float, bottom: int, high: int) -> str:
    """The outline of a curve that steps from value to value; what is not nothing is seen."""
    path, last = [f"M{sheet.left} {bottom}"], 0.0
    for i, value in enumerate(values):
        up = round(max(min(1.0, value / most) * high, 1.0 if value > 1e-9 else 0.0), 1)
        if up != last:
            path.append(f"H{_number(sheet.left + i * _SPAN / len(values))}V{_number(bottom - up)}")
            last = up
    path.append(f"H{sheet.left + _SPAN}V{bottom}Z")
    return "".join(path)


def _legend(sheet: _Sheet, y: int) -> Iterator[str]:
    x = float(_MARGIN)
    shown = [("", "wait", "being started")]
    shown += [(colour, "run", kind or "no scope") for colour, kind in sheet.kinds.items()]
    if sheet.critical:
        yield f'<circle class="mark" cx="{x + 5}" cy="{y - 4}" r="3"/>'
        yield f'<text class="small" x="{x + 16}" y="{y}">decides the end</text>'
        x += 16 + _wide("decides the end", 11) + 18
    for colour, kind, words in shown:
        words = clipped(words, 24)
        yield f'<g class="{colour}">{_rect(kind, x, y - 9, 11, 11)}</g>'
        yield f'<text class="small" x="{_number(x + 17)}" y="{y}">{_text(words)}</text>'
        x += 17 + _wide(words, 11) + 18


def _rect(kind: str, x: float, y: int, wide: float, high: int) -> str:
    return f'<rect class="{kind}" x="{_number(x)}" y="{y}" width="{_number(wide)}" height="{high}" rx="1.5"/>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _wide(words: str, size: int) -> float:
    return width(words) * size * _CELL


def _text(words: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", words))


def _attribute(words: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", words))

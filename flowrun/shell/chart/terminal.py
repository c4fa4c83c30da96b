"""A timeline as lines of text, with block characters."""

from __future__ import annotations

import shutil
from collections.abc import Collection

from flowc.plan.text import clipped, printable, width
from flowrun.core.timeline import Timeline
from flowrun.shell.amounts import duration, moment, share
from flowrun.shell.chart.rows import Row, peak, rows_of, running, ticks, use

MOST_ROWS = 24
_WIDEST_LABEL = 30
_HEIGHTS = " ▁▂▃▄▅▆▇█"
_MARK = "*"


def draw(
    timeline: Timeline, columns: int, critical: Collection[str] = (), most: int = MOST_ROWS
) -> list[str]:
    """The lines of a chart that is so many columns wide. `critical` nodes are marked with an asterisk.

    Of one node: `░` it is being started, `█` it runs. Of several: how many run, of the most that did.
    """
    rows = rows_of(timeline, most)
    shares = use(timeline, 1)
    labels = [_label(row, critical) for row in rows]
    edge = max([width(label) for label in labels] + [len("memory")], default=0)
    tails = [_tail(row) for row in rows]
    wide = max(20, columns - edge - 3 - max([len(tail) for tail in tails], default=0))
    lines = [f"{'':{edge}}  {_axis(timeline.makespan_ms, wide)}"]
    for row, label, tail in zip(rows, labels, tails, strict=True):
        bar = _curve(row, timeline.makespan_ms, wide) if row.folded else _bar(row, timeline.makespan_ms, wide)
        lines.append(f"{_padded(label, edge)}  {bar} {tail}".rstrip())
    lines.append("")
    for name, held in use(timeline, wide).items():
        line = "".join(_height(part) for part in held)
        lines.append(f"{_padded(name, edge)}  {line} {share(shares[name][0])}".rstrip())
    return lines


def columns() -> int:
    """How wide a chart may be: as the terminal, within reason."""
    return max(60, min(140, shutil.get_terminal_size((100, 40)).columns))


def _label(row: Row, critical: Collection[str]) -> str:
    mark = _MARK if any(interval.node in critical for interval in row.intervals) else " "
    times = f" ×{len(row.intervals):,}" if row.folded else ""
    return mark + clipped(printable(row.label), _WIDEST_LABEL - len(times)) + times


def _tail(row: Row) -> str:
    took = [interval.end_ms - interval.start_ms for interval in row.intervals]
    if not row.folded:
        return duration(took[0])
    return f"up to {peak(row)}"


def _axis(whole: int, wide: int) -> str:
    line = [" "] * (wide + 12)
    end = 0
    for at in ticks(whole, max(2, wide // 12)):
        place, text = round(at / whole * wide) if whole else 0, moment(at)
        if place >= end and place + len(text) <= wide + 8:
            line[place : place + len(text)] = text
            end = place + len(text) + 2
    return "".join(line).rstrip()


def _bar(row: Row, whole: int, wide: int) -> str:
    """One node, to half a cell; what is too short to be seen is shown as half a cell all the same."""
    interval = row.intervals[0]
    scale = 2 * wide / whole if whole else 0.0
    begin, began, end = (round(at * scale) for at in (interval.start_ms, interval.began_ms, interval.end_ms))
    begin = min(begin, 2 * wide - 1)
    end = max(end, begin + 1)
    began = min(began, end - 1)
    cells = []
    for cell in range(wide):
        left, right = (began <= half < end for half in (2 * cell, 2 * cell + 1))
        if left or right:
            cells.append("█" if left and right else "▌" if left else "▐")
        else:
            cells.append("░" if begin <= 2 * cell + 1 and 2 * cell < began else " ")
    return "".join(cells)


def _curve(row: Row, whole: int, wide: int) -> str:
    counts = running(row.intervals, whole, wide)
    most = max(counts, default=0) or 1
    return "".join(_height(count / most) for count in counts)


def _height(part: float) -> str:
    """A share from 0 to 1; what is not nothing is seen."""
    return _HEIGHTS[min(8, max(round(part * 8), int(part > 1e-9)))]


def _padded(text: str, cells: int) -> str:
    return text + " " * (cells - width(text))

"""Runs as text for people."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from flowc.plan.history import Record
from flowc.plan.text import columns, counted, printable
from flowrun.shell.log.home import Home
from flowrun.shell.showing.report import NodeReport, RunReport, abbreviate

if TYPE_CHECKING:
    from flowrun.core.logged import Book, Series

_MOST_ROWS = 25  # nodes in a summary: the slowest
_MOST_LOGGED = 40  # metrics, notes, artifacts that are shown
_SPARK = 40  # cells of a plot


def summary(report: RunReport, home: Home) -> str:
    """The end of `flowrun execute`: where time went, what was produced, where it lies."""
    counts = _counts(report)
    lines = [f"{report.run} {report.status} in {report.wall_ms / 1000:.2f} s: {counts}"]
    ran = sorted(
        (node for node in report.nodes if node.wall_ms and not node.kept), key=lambda node: -node.wall_ms
    )
    if ran:
        lines += ["", "where time went", *_bars(ran[:_MOST_ROWS])]
        if len(ran) > _MOST_ROWS:
            lines.append(f"  ... and {len(ran) - _MOST_ROWS} quicker nodes")
    if report.result is not None:
        lines += ["", "result", *(f"  {line}" for line in _pretty(report.result))]
    lines += ["", f"logs       {home.run_folder(report.run) / 'logs'}", f"artifacts  {home.store.folder}"]
    return "\n".join(lines)


def details(report: RunReport, home: Home) -> str:
    """`flowrun show`: every node with its state."""
    inputs = ", ".join(
        f"{name}={json.dumps(abbreviate(value), default=str)}" for name, value in report.inputs.items()
    )
    lines = [f"{report.run} {report.status}: {report.workflow}({inputs})", ""]
    rows: list[tuple[str, ...]] = [("node", "state", "attempt", "time", "cpu", "peak", "artifact or reason")]
    rows += [_row(node) for node in report.nodes]
    lines += columns(rows)
    lines += ["", f"{_counts(report)} in {report.wall_ms / 1000:.2f} s since it was last started"]
    if report.logged is not None:
        lines += _logged(report.logged)
    if report.result is not None:
        lines += ["result", *(f"  {line}" for line in _pretty(report.result))]
    return "\n".join(lines)


def _logged(book: Book) -> list[str]:
    """What operators logged: metrics as a line each, notes, artifacts."""
    lines: list[str] = []
    if book.metrics:
        rows: list[tuple[str, ...]] = [("metric", "node", "last", "least", "most", "values", "")]
        rows += [_metric(series) for series in book.metrics[:_MOST_LOGGED]]
        lines += ["", *columns(rows)]
        lines += _more(len(book.metrics), "metric")
    if book.artifacts:
        rows = [("logged artifact", "node", "bytes", "hash")]
        for kept in book.artifacts[:_MOST_LOGGED]:
            rows.append((kept.name, kept.node, str(kept.artifact.bytes), kept.artifact.hash[:12]))
        lines += ["", *columns(rows), *_more(len(book.artifacts), "artifact")]
    if book.notes:
        lines += ["", "notes"]
        for note in book.notes[-_MOST_LOGGED:]:
            first, *more = note.text.splitlines() or [""]
            lines += [
                f"  {printable(note.node)}: {printable(first)}",
                *(f"    {printable(line)}" for line in more),
            ]
        lines += _more(len(book.notes), "earlier note")
    return [*lines, ""] if lines else []


def _metric(series: Series) -> tuple[str, ...]:
    from flowrun.shell.showing.sparkline import sparkline

    values = [float(point.value) for point in series.points]
    numbers = [value for value in values if math.isfinite(value)] or values
    shown = (f"{value:.6g}" for value in (values[-1], min(numbers), max(numbers)))
    return (series.name, series.node, *shown, str(len(values)), sparkline(values, _SPARK))


def _more(count: int, noun: str) -> list[str]:
    return (
        [f"... and {counted(count - _MOST_LOGGED, noun)} more: `--json` has all"]
        if count > _MOST_LOGGED
        else []
    )


def measurements(records: list[Record]) -> str:
    """`flowrun history`."""
    cells = [("operator", "code", "calls", "median", "9 of 10", "peak")]
    for row in records:
        times = (f"{row.wall_ms / 1000:.2f} s", f"{row.wall_ms_p90 / 1000:.2f} s")
        cells.append((row.op, row.code[:8], str(row.runs), *times, f"{row.peak_mb} MB"))
    return "\n".join(columns(cells))


def _row(node: NodeReport) -> tuple[str, ...]:
    if node.failure is not None:
        last = f"[{node.failure.code}] {node.failure.message.splitlines()[0][:100]}"
    elif node.note:
        last = node.note
    elif node.blocked_by:
        last = f"waits for `{node.blocked_by}`"
    else:
        last = node.artifact.hash[:12] if node.artifact else ""
    state = node.state
    if node.kept or node.origin:
        state += " (kept)" if node.kept else f" ({node.origin.run if node.origin else ''})"
    if not node.attempt:
        return (node.node, state, "", "", "", "", last)
    usage = node.usage
    peak = f"{usage.peak_mb} MB" if usage.peak_mb else ""
    times = (f"{node.wall_ms / 1000:.2f} s", f"{usage.cpu_ms / 1000:.2f} s")
    attempt = f"{node.attempt} ({node.preemptions} preempted)" if node.preemptions else str(node.attempt)
    return (node.node, state, attempt, *times, peak, last)


def _bars(nodes: list[NodeReport]) -> list[str]:
    longest = max(node.wall_ms for node in nodes)
    width = max(len(node.node) for node in nodes)
    lines = []
    for node in nodes:
        bar = "█" * max(1, round(20 * node.wall_ms / longest))
        usage = f"cpu {node.usage.cpu_ms / 1000:.2f} s, {node.usage.peak_mb} MB"
        lines.append(f"  {node.node:<{width}}  {node.wall_ms / 1000:6.2f} s  {bar:<20}  {usage}")
    return lines


def _counts(report: RunReport) -> str:
    counts: dict[str, int] = {}
    for node in report.nodes:
        counts[node.state] = counts.get(node.state, 0) + 1
    kept = sum(node.kept for node in report.nodes)
    parts = [f"{count} {state}" for state, count in counts.items()]
    parts += [f"{kept} of them kept from before"] if kept else []
    cached = sum(node.origin is not None and not node.kept for node in report.nodes)
    parts += [f"{cached} of them computed by earlier runs"] if cached else []
    return f"{counted(len(report.nodes), 'node')}, {', '.join(parts)}"


def _pretty(value: object) -> list[str]:
    return json.dumps(_rounded(value), indent=2, ensure_ascii=False, default=str).splitlines()


def _rounded(value: object) -> object:
    """Six significant digits are enough for the eye; `--json` has all."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value

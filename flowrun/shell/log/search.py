"""`flowrun runs --where`: searching runs by what the run log knows of them."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.text import columns, counted
from flowrun.core import search
from flowrun.core.search import Facts, Field
from flowrun.shell.amounts import duration, duration_ms
from flowrun.shell.log.runlog import RunLog

_OWN = ("run", "number", "workflow", "state", "started", "took", "plan")  # columns that are there anyway
_WIDEST = 40  # characters of a cell


class Found(msgspec.Struct, frozen=True):
    """What a search came to: the runs, of how many, and the fields that it was about."""

    runs: list[Facts]
    of: int
    about: tuple[Field, ...]


def find(log: RunLog, where: str, order: str, limit: int, now_ms: int) -> Found:
    """The runs for which a condition holds, in an order; `Refused` (FR154) if it cannot be understood."""
    known = _all(log, now_ms)
    about: list[Field] = []
    found = known
    if where:
        condition = _read(where, now_ms)
        found = [facts for facts in known if condition.holds(facts)]
        about += search.fields(condition)
    if order:
        descending, name = order.startswith("-"), order.removeprefix("-")
        try:
            field = search.parse_field(name)
        except search.Wrong as wrong:
            refuse("FR154", f"`--sort {order}`: {wrong}", hint=wrong.hint)
        found = search.sort(found, field, descending)
        about.append(field)
    of = len(found)
    if limit and limit < of:  # of an order the first, else the latest
        found = found[:limit] if order else found[-limit:]
    return Found(found, of, tuple(dict.fromkeys(about)))


def _all(log: RunLog, now_ms: int) -> list[Facts]:
    """What is known of all runs, oldest first."""
    known = log.facts()
    found = []
    for row in log.runs():
        facts = known.get(row.run, {})
        took = (row.ended_ms or now_ms) - row.created_ms
        metrics = {name: float(value) for name, value in facts.get("metric", {}).items()}
        found.append(
            Facts(
                row.run,
                int(row.run.rpartition("-")[2]),
                row.workflow,
                row.plan_file,
                row.status,
                row.created_ms,
                row.ended_ms,
                took,
                facts.get("input", {}),
                metrics,
                facts.get("tag", {}),
            )
        )
    return found


def plain(found: Found) -> list[dict[str, Any]]:
    """For machines."""
    return [
        {
            "run": facts.run,
            "workflow": facts.workflow,
            "plan_file": facts.plan,
            "created_ms": facts.started,
            "status": facts.state,
            "ended_ms": facts.ended,
            "inputs": facts.input,
            "metrics": facts.metric,
            "tags": facts.tag,
        }
        for facts in found.runs
    ]


def _read(where: str, now_ms: int) -> search.Condition:
    def moment(text: str) -> int | None:
        return _moment_ms(text, now_ms)

    try:
        return search.parse(where, moment, duration_ms)
    except search.Wrong as wrong:
        width = max(1, wrong.end - wrong.start)
        line = where.replace("\n", " ").replace("\t", " ")
        start = max(0, wrong.start - 80)
        excerpt = line[start : start + 100]
        marks = " " * (wrong.start - start) + "^" * min(width, 100)
        refuse("FR154", str(wrong), notes=(excerpt, marks), hint=wrong.hint)


def _moment_ms(text: str, now_ms: int) -> int | None:
    """A date, a time of this machine's zone or of one that is named, or how long ago."""
    if text.startswith("-"):
        ago = duration_ms(text[1:])
        return None if ago is None else now_ms - ago
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def table(found: Found) -> str:
    """Runs as people read them, with a column for each field that was asked about."""
    tagged = any(facts.tag for facts in found.runs)
    extra = [
        field for field in found.about if str(field) not in _OWN and not (tagged and field.space == "tag")
    ]
    head = ("run", "status", "started", "took", *map(str, extra), *(["tags"] if tagged else []), "plan")
    rows: list[tuple[str, ...]] = [head]
    for facts in found.runs:
        cells = [_cell(field, field.of(facts)) for field in extra]
        tags = [", ".join(f"{name}={value}" for name, value in sorted(facts.tag.items()))] if tagged else []
        started = _clock(facts.started)
        took = f"{facts.took / 1000:.2f} s" if facts.ended else ""
        rows.append((facts.run, facts.state, started, took, *cells, *tags, facts.plan))
    lines = columns(rows)
    if len(found.runs) < found.of:
        lines.append(f"... {counted(found.of - len(found.runs), 'more run')}: a larger `--limit` shows them")
    return "\n".join(lines)


def _cell(field: Field, value: Any) -> str:
    if value is None:
        return ""
    kind = search.FIELDS.get(field.space)
    if kind == search.MOMENTS:
        return _clock(value)
    if kind == search.DURATIONS:
        return duration(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _clock(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))

"""`flowrun diff`: two runs side by side, as text."""

from __future__ import annotations

import msgspec

from flowc.plan.text import columns, counted
from flowrun.core.compare import Comparison, NodePair, Pair, Side, compare
from flowrun.shell.amounts import duration, size
from flowrun.shell.log.finding import state_of
from flowrun.shell.log.runlog import RunLog

_MOST_NODES = 40
_MOST_NAMED = 8
_WIDEST = 40


def differences(log: RunLog, first: str, second: str, now_ms: int) -> Comparison:
    """What differs between two runs; `Refused` (FR301) if there is none of a name."""
    return compare(_side(log, first, now_ms), _side(log, second, now_ms))


def _side(log: RunLog, name: str, now_ms: int) -> Side:
    row = log.find(name)
    state = state_of(log, row.run)
    opened = log.opened(row.run)
    assert opened is not None, "it has a state"
    until = state.ended_ms or (now_ms if row.status == "running" else state.now_ms)
    return Side(row.run, row.status, state, opened.versions, opened.plan, max(0, until - state.opened_ms))


def text(found: Comparison) -> str:
    """For people."""
    took = _change(Pair(*(duration(ms) for ms in (found.wall_ms.first, found.wall_ms.second))))
    rows: list[tuple[str, ...]] = [("", f"{found.runs.first} → {found.runs.second}")]
    rows.append(("status", _change(found.status)))
    rows.append(("took", took))
    rows += [("workflow", _change(found.workflow))] if found.workflow else []
    rows += [(f"input {name}", _change(pair)) for name, pair in found.inputs.items()]
    rows += [(f"package {name}", _change(pair)) for name, pair in found.versions.items()]
    rows.append(("plan", "the same" if found.same_plan else "another"))
    rows += [("code", f"another of {_named(found.code)}")] if found.code else []
    rows += [("only in the first", _named(found.only_first))] if found.only_first else []
    rows += [("only in the second", _named(found.only_second))] if found.only_second else []
    lines = columns(rows)
    if found.nodes:
        cells: list[tuple[str, ...]] = [("node", "state", "time", "memory", "artifact", "because of")]
        cells += [_row(pair) for pair in found.nodes[:_MOST_NODES]]
        lines += ["", *columns(cells)]
    if len(found.nodes) > _MOST_NODES:
        lines.append(f"... and {counted(len(found.nodes) - _MOST_NODES, 'more node')} that differ")
    lines += ["", f"{counted(found.same, 'node')} {'is' if found.same == 1 else 'are'} the same"]
    return "\n".join(lines)


def _row(pair: NodePair) -> tuple[str, ...]:
    because = ", ".join(pair.because)
    artifact = ""
    if pair.artifact is not None:
        artifact = _change(
            Pair(*((h[:8] if h else "none") for h in (pair.artifact.first, pair.artifact.second)))
        )
        if not pair.because and pair.artifact.first and pair.artifact.second:
            because = "chance: the same was computed"
    return (
        pair.node,
        _change(pair.state) if pair.state else "",
        _change(pair.wall_ms, duration) if pair.wall_ms else "",
        _change(pair.peak_mb, size) if pair.peak_mb else "",
        artifact,
        because,
    )


def _change(pair: Pair, show: object = None) -> str:
    shown = show if callable(show) else _shown
    first, second = shown(pair.first), shown(pair.second)
    return first if first == second else f"{first} → {second}"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _named(names: list[str]) -> str:
    more = f", ... {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more

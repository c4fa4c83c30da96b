"""Teams and the queue as text for people. Pure functions of rows."""

from __future__ import annotations

from collections.abc import Sequence

from flowc.plan.text import columns, counted
from flowrun.core.sharing.rows import QueueRow, TeamRow

_LEGEND = """\
amounts are used/guaranteed, and never more than what follows `<=`; `share` is of the resource that a team has
most of, `entitled` the same of what it is guaranteed"""
_MOST_ROWS = 50  # of the queue: those whose turn is next


def teams(rows: Sequence[TeamRow]) -> str:
    """`flowrun teams`: use against entitlement."""
    resources = [name for name in (rows[0].used if rows else {}) if any(row.guaranteed[name] for row in rows)]
    head = ("team", "running", "waiting", *resources, "share", "entitled", "", "finish times")
    cells: list[tuple[str, ...]] = [head]
    cells += [_team(row, resources) for row in rows]
    return "\n".join([*columns(cells), "", _LEGEND])


def queue(rows: Sequence[QueueRow], now_ms: int) -> str:
    """`flowrun queue`: what waits, in the order of its effective priority."""
    if not rows:
        return "nothing waits"
    ordered = sorted(rows, key=lambda row: (-row.effective, row.since_ms, row.task))
    head = (
        "task",
        "team",
        "tier",
        "since",
        "starts in",
        "effective",
        "= priority",
        "- tier",
        "- team",
        "+ waiting",
        "waits for",
    )
    cells: list[tuple[str, ...]] = [head]
    for row in ordered[:_MOST_ROWS]:
        numbers = (row.effective, row.priority, row.tier_penalty, row.team_penalty, row.boost)
        since = duration(now_ms - row.since_ms)
        soon = f"~{duration(row.expected_ms - now_ms)}" if row.expected_ms > now_ms else ""
        cells.append(
            (row.task, row.team, str(row.tier), since, soon, *(_points(n) for n in numbers), row.waits_for)
        )
    lines = columns(cells)
    if len(ordered) > _MOST_ROWS:
        lines.append(f"... and {counted(len(ordered) - _MOST_ROWS, 'task')} after these")
    return "\n".join(lines)


def duration(ms: float) -> str:
    """`12 s`, `3 min 20 s`, `5 h 10 min`, `2 d 4 h`."""
    s = max(0, round(ms / 1000))
    for large, unit, small, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if s >= large:
            rest = s % large // small
            return f"{s // large} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{s} s"


def _team(row: TeamRow, resources: Sequence[str]) -> tuple[str, ...]:
    amounts = [_amount(row, name) for name in resources]
    note = "above" if row.load > 1 + 1e-9 else ""
    if row.waiting and row.load < 1 - 1e-9:
        note = "below, and waits"
    rho = (
        ""
        if row.finish_time_mean is None
        else f"{row.finish_time_mean:.2f}, worst {row.finish_time_worst:.2f}"
    )
    shares = (f"{row.share:.1%}", f"{row.entitled:.1%}")
    return ("  " * row.depth + row.team, str(row.running), str(row.waiting), *amounts, *shares, note, rho)


def _amount(row: TeamRow, name: str) -> str:
    most = f" <= {row.limits[name]:g}" if name in row.limits else ""
    return f"{_number(row.used[name])}/{_number(row.guaranteed[name])}{most}"


def _number(amount: float) -> str:
    """Amounts of six digits and more as they are, others with at most two decimals."""
    return f"{amount:.0f}" if amount >= 1000 else f"{round(amount, 2):g}"


def _points(number: float) -> str:
    return f"{number:.2f}"

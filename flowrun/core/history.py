"""What operators took, from the changes of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flowc.plan.history import Record
from flowc.plan.model import Plan, site_of
from flowrun.core.changes import AnyChange, Exited, Start


class Call(NamedTuple):
    """An attempt that succeeded: of which operator and code, how long it took, and its memory."""

    op: str
    code: str
    wall_ms: int
    peak_mb: int


def calls(plan: Plan, changes: Iterable[AnyChange]) -> list[Call]:
    """The successful attempts of one execution of a plan. What was kept from before did not run."""
    sites = {site.site: site for site in plan.sites}
    started: dict[tuple[str, int], int] = {}
    found = []
    for change in changes:
        match change:
            case Start():
                started[change.node, change.attempt] = change.at_ms
            case Exited() if change.artifact is not None:
                site = sites[site_of(change.node)]  # of a loop's nodes, too: it has their operator
                wall_ms = max(0, change.at_ms - started[change.node, change.attempt])
                found.append(Call(site.op, site.code, wall_ms, change.usage.peak_mb))
    return found


def summarise(measured: Iterable[Call]) -> list[Record]:
    """One record for each operator and code, sorted."""
    by_code: dict[tuple[str, str], list[Call]] = {}
    for call in measured:
        by_code.setdefault((call.op, call.code), []).append(call)
    return [_record(op, code, group) for (op, code), group in sorted(by_code.items())]


def _record(op: str, code: str, group: Sequence[Call]) -> Record:
    times = sorted(call.wall_ms for call in group)
    # Nearest rank: a time that some call really took, and the same whatever the machine.
    median, p90 = (times[max(0, -(-len(times) * percent // 100) - 1)] for percent in (50, 90))
    return Record(op, code, len(times), median, p90, max(call.peak_mb for call in group))

"""What operators took, from the changes of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from flowc.plan.history import Module, Record, Runner
from flowc.plan.model import Plan, Site, site_of
from flowrun.core.changes import AnyChange, Exited, Resolved, Start


class Call(NamedTuple):
    """An attempt that succeeded: of which operator and code, how long it took, and its memory.

    `own_ms` is the time in its own process, `imports` what loading each module for it took before; nothing in
    logs that do not tell. `start_ms` is what the runner added after that, from when it was free to: with
    `queued`, processes of others had still to be started when this one was wanted.
    """

    op: str
    code: str
    wall_ms: int
    peak_mb: int
    own_ms: int = 0
    imports: Mapping[str, int] = {}
    start_ms: int = 0
    queued: bool = False
    gpu_peak_mb: int = 0


class Loop(NamedTuple):
    """A loop over an operator, and how many items it turned out to have."""

    op: str
    code: str
    items: int


class Measured(NamedTuple):
    """All that a history file is made of."""

    records: list[Record]
    modules: list[Module]
    runner: Runner | None


def calls(plan: Plan, changes: Iterable[AnyChange]) -> list[Call]:
    """The successful attempts of one execution of a plan. What was kept from before did not run."""
    sites = {site.site: site for site in plan.sites}
    started: dict[tuple[str, int], int] = {}
    found: list[tuple[int, Call]] = []
    for change in changes:
        match change:
            case Start():
                started[change.node, change.attempt] = change.at_ms
            case Exited() if change.artifact is not None:
                site = sites[site_of(change.node)]  # of a loop's nodes, too: it has their operator
                start = started[change.node, change.attempt]
                used, wall_ms = change.usage, max(0, change.at_ms - start)
                call = Call(
                    site.op,
                    site.code,
                    wall_ms,
                    used.peak_mb,
                    used.wall_ms,
                    used.imports,
                    gpu_peak_mb=used.gpu_peak_mb,
                )
                found.append((start, call))
    return _with_starts(found)


def _with_starts(found: Sequence[tuple[int, Call]]) -> list[Call]:
    """Calls and when they were decided, with what it took to start each: one process after the other."""
    told = list(found)
    free_at = 0
    for i in sorted(range(len(found)), key=lambda i: _began(*found[i])):
        start, call = found[i]
        if call.own_ms:
            began = _began(start, call)
            added = began - max(start, free_at) - sum(call.imports.values())
            told[i] = (start, call._replace(start_ms=max(0, added), queued=start < free_at))
            free_at = began
    return [call for _, call in told]


def _began(start: int, call: Call) -> int:
    return start + call.wall_ms - call.own_ms


def loops(plan: Plan, changes: Iterable[AnyChange]) -> list[Loop]:
    """The loops of one execution of a plan that unfolded."""
    sites = {site.site: site for site in plan.sites}
    found = []
    for change in changes:
        if isinstance(change, Resolved) and change.failure is None:
            site: Site = sites[site_of(change.node)]
            if site.control in ("map", "reduce"):
                found.append(Loop(site.op, site.code, len(change.names)))
    return found


def summarise(measured: Iterable[Call], unfolded: Iterable[Loop] = ()) -> list[Record]:
    """One record for each operator and code, sorted."""
    by_code: dict[tuple[str, str], list[Call]] = {}
    for call in measured:
        by_code.setdefault((call.op, call.code), []).append(call)
    items: dict[tuple[str, str], list[int]] = {}
    for loop in unfolded:
        items.setdefault((loop.op, loop.code), []).append(loop.items)
    return [
        _record(op, code, group, items.get((op, code), [])) for (op, code), group in sorted(by_code.items())
    ]


def modules(measured: Iterable[Call]) -> list[Module]:
    """What it took to load each module, sorted."""
    times: dict[str, list[int]] = {}
    for call in measured:
        for name, took_ms in call.imports.items():
            times.setdefault(name, []).append(took_ms)
    return [Module(name, len(took), _median(took)) for name, took in sorted(times.items())]


def runner(measured: Iterable[Call]) -> Runner | None:
    """What the runner adds to a call; `None` if no log tells.

    Of a call for which modules were loaded it cannot be told: that may have begun before it was wanted.
    """
    told = [call for call in measured if call.own_ms]
    told = [call for call in told if not call.imports] or told
    alone = [call.start_ms for call in told if not call.queued]
    queued = [call.start_ms for call in told if call.queued]
    return Runner(len(told), _median(alone), _median(queued)) if told else None


def _record(op: str, code: str, group: Sequence[Call], items: Sequence[int]) -> Record:
    times = [call.wall_ms for call in group]
    own = [call.own_ms for call in group if call.own_ms]
    return Record(
        op,
        code,
        len(times),
        _rank(times, 50),
        _rank(times, 90),
        max(call.peak_mb for call in group),
        _median(own),
        _rank(own, 90),
        _rank(items, 50),
        max(call.gpu_peak_mb for call in group),
    )


def _median(values: Sequence[int]) -> int:
    """Of an even number the mean of the two in the middle: the lower one of two runs would be too hopeful."""
    ordered, half = sorted(values), len(values) // 2
    return round((ordered[half] + ordered[~half]) / 2) if ordered else 0


def _rank(values: Sequence[int], percent: int) -> int:
    """Nearest rank: a value that really occurred, and the same whatever the machine; 0 of none."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)] if values else 0

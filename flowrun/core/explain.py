"""Why nodes waited: read from a run's log, by living through it again.

The scheduler keeps no diary. What it knew at each moment follows from the log, and so does why a node that
was ready got no place: which dimension was short, who held it, for whom a place was kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from flowrun.core.changes import (
    AnyChange,
    CancelRequested,
    Elsewhere,
    Exceeded,
    Exited,
    Opened,
    Resolved,
    Start,
    Woke,
)
from flowrun.core.scheduler.queue import Kind
from flowrun.core.scheduler.request import Ref
from flowrun.core.scheduler.waits import Waits, waits
from flowrun.core.state import State
from flowrun.core.task import Task

EVENTS = (Opened, Exited, Exceeded, Resolved, Elsewhere, Woke, CancelRequested)


class Spell(msgspec.Struct, frozen=True):
    """A time, from `since_ms` to `until_ms`, in which a node waited for the same thing."""

    since_ms: int
    until_ms: int
    waits: Waits


class Wait(msgspec.Struct, frozen=True):
    """From when an attempt of a node could have started to when it did, or to now: then `started_ms` is 0."""

    node: str
    attempt: int
    ready_ms: int
    started_ms: int
    spells: tuple[Spell, ...]


def explain(state: State, changes: Iterable[AnyChange], now_ms: int) -> list[Wait]:
    """Every wait in a run, in order of start. `state` is new, and `changes` are those from `Opened` on.

    Costs a look at each kind of request for each step, however many wait.
    """
    diary: Diary = defaultdict(list)
    found: list[Wait] = []
    for change in changes:
        if isinstance(change, EVENTS) and not isinstance(change, Opened):
            _look(state, diary)
        if isinstance(change, Start):
            found.append(_wait(state, diary, change.node, change.attempt, change.at_ms))
        state.apply(change)
    if state.status == "running":
        _look(state, diary)
        for ref in state.scheduler.queue:
            wait = _wait(state, diary, ref.node, state.by_id[ref.node].attempt + 1, now_ms)
            found.append(msgspec.structs.replace(wait, started_ms=0))
    return found


def unmet(state: State, task: Task) -> list[Task]:
    """What a node still waits for before it is ready."""
    over = ("succeeded", "failed", "blocked", "skipped", "cancelled")
    before = (state.tasks[i] for i, after in enumerate(state.dependents) if task.index in after)
    return [other for other in before if other.state not in over]


# For each kind of request, since when the first of it waited for what.
Diary = defaultdict[Kind, list[tuple[int, Waits]]]


def _look(state: State, diary: Diary) -> None:
    """Note why the first of each kind waits, where that is something new."""
    scheduler, now_ms = state.scheduler, state.now_ms
    next(scheduler.dispatch(now_ms), None)  # lets it see for whom it keeps a place
    for heads in scheduler.queue.heads.values():
        for _, _, request, kind in heads:
            reason = waits(scheduler, request, now_ms)
            spells = diary[kind]
            if not spells or _same(spells[-1][1]) != _same(reason):
                spells.append((now_ms, reason))


def _same(reason: Waits) -> tuple[object, ...]:
    holders = [holder.ref for holder in reason.holders]
    return reason.reason, reason.lacks and reason.lacks.dimension, reason.behind, holders


def _wait(state: State, diary: Diary, node: str, attempt: int, until_ms: int) -> Wait:
    ready_ms = state.by_id[node].ready_at_ms
    spells = diary[state.scheduler.queue.kind_of(Ref(state.run, node))]
    ends = [*(since for since, _ in spells[1:]), until_ms]
    clipped = [
        Spell(max(since, ready_ms), min(end, until_ms), reason)
        for (since, reason), end in zip(spells, ends, strict=False)
        if end > ready_ms
    ]
    return Wait(
        node,
        attempt,
        ready_ms,
        until_ms,
        tuple(spell for spell in clipped if spell.until_ms > spell.since_ms),
    )

"""Why nodes waited: read from the log of a run, and of those beside it, by living through them again.

The scheduler keeps no diary. What it knew at each moment follows from the log, and so does why a node that
was ready got no place: which dimension was short, who held it, for whom a place was kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from heapq import merge

import msgspec

from flowrun.core.changes import AnyChange, CancelRequested, Exited, Opened, Resolved, Start, Woke
from flowrun.core.scheduler.queue import Kind
from flowrun.core.scheduler.request import Ref
from flowrun.core.scheduler.waits import Waits, waits
from flowrun.core.state import State
from flowrun.core.task import Task

EVENTS = (Opened, Exited, Resolved, Woke, CancelRequested)


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


class Past(msgspec.Struct, frozen=True):
    """An execution of a run: its changes from `Opened` on, and a state that is new.

    `cut_ms` is when it was cut off, by the end of who executed it.
    """

    state: State
    changes: Sequence[AnyChange]
    cut_ms: int | None = None


def explain(past: Past, now_ms: int, beside: Sequence[Past] = ()) -> list[Wait]:
    """Every wait in a run, in order of start; `beside` are the executions that shared its scheduler.

    Costs a look at each kind of request for each step, however many wait.
    """
    diary: Diary = defaultdict(list)
    found: list[Wait] = []
    state, opened, seen_ms = past.state, False, 0
    for at_ms, other, change in _in_order([past, *beside]):
        if change is None and other is state:
            break
        if opened and (change is None or isinstance(change, EVENTS)):
            _look(state, diary, seen_ms)
        seen_ms = at_ms
        if change is None:
            _leave(other)
            continue
        if other is state:
            opened = True
            if isinstance(change, Start):
                found.append(_wait(state, diary, change.node, change.attempt, change.at_ms))
        other.apply(change)
        if state.status != "running":
            return found
    if opened:
        _look(state, diary, seen_ms)
        for ref in state.scheduler.queue:
            if ref.run == state.run:
                wait = _wait(state, diary, ref.node, state.by_id[ref.node].attempt + 1, now_ms)
                found.append(msgspec.structs.replace(wait, started_ms=0))
    return found


def _in_order(pasts: Sequence[Past]) -> Iterator[tuple[int, State, AnyChange | None]]:
    """The changes of several runs by time; nothing, where one is cut off.

    What happened in the same millisecond is in the order of each run, and what starts comes last: it may have
    got what another one gave back.
    """

    def timed(number: int, past: Past) -> Iterator[tuple[int, bool, int, AnyChange | None]]:
        at_ms = 0
        for change in past.changes:
            at_ms = getattr(change, "at_ms", at_ms)
            yield at_ms, isinstance(change, Start), number, change
        if past.cut_ms is not None:
            yield max(at_ms, past.cut_ms), False, number, None

    each = [timed(number, past) for number, past in enumerate(pasts)]
    for at_ms, _, number, change in merge(*each, key=lambda one: one[:3]):
        yield at_ms, pasts[number].state, change


def _leave(state: State) -> None:
    """A run is not executed any more."""
    for task in state.running.values():
        if task.site.control == "none":
            state.scheduler.ended(task.ref)
    for ref in state.scheduler.queue:
        if ref.run == state.run:
            state.scheduler.withdraw(ref)


def last_time(changes: Sequence[AnyChange]) -> int:
    """When the last of some changes happened."""
    times: Iterator[int] = (change.at_ms for change in reversed(changes) if hasattr(change, "at_ms"))
    return next(times)


def unmet(state: State, task: Task) -> list[Task]:
    """What a node still waits for before it is ready."""
    over = ("succeeded", "failed", "blocked", "skipped", "cancelled")
    before = (state.tasks[i] for i, after in enumerate(state.dependents) if task.index in after)
    return [other for other in before if other.state not in over]


# For each kind of request, since when the first of it waited for what.
Diary = defaultdict[Kind, list[tuple[int, Waits]]]


def _look(state: State, diary: Diary, now_ms: int) -> None:
    """Note why the first of each kind in the run's lane waits, where that is something new.

    The first may be another run's: what it waits for, the others of its kind wait for, too.
    """
    scheduler = state.scheduler
    heads = scheduler.queue.heads.get(state.lane, ())
    if heads:
        next(scheduler.dispatch(now_ms), None)  # lets it see for whom it keeps a place
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

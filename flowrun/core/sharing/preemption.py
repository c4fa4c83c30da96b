"""Which running work is taken away for work that must not wait. A pure function; it only names the victims.

Who may ask: tier 1, and who starves while their team is below its entitlement. What may be taken:

- for tier 1, work of lower tiers;
- for the starving, work that is no more important, of teams that are above their entitlement, and further
  above it than the team that asks will be.

So no two take from each other by turns. Nobody takes from tier 1; and what a starving team takes leaves it
less above its entitlement than the other was, who then cannot take it back. Besides, a task runs for a
while before it can be taken, and is taken only so many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Literal

import msgspec

from flowrun.core.sharing.entitlement import Amount
from flowrun.core.sharing.shares import Shares


class Held(msgspec.Struct, frozen=True):
    """A running task and what it holds. What it did since `kept_ms` would be lost with it."""

    task: int
    team: int
    tier: int
    priority: float
    amounts: tuple[Amount, ...]
    started_ms: int
    kept_ms: int = 0  # its last checkpoint; 0 if it has none: all since its start is lost
    preempted: int = 0  # times before


class Asking(msgspec.Struct, frozen=True):
    """A task that waits and cannot start."""

    team: int
    tier: int
    priority: float
    amounts: tuple[Amount, ...]
    since_ms: int


Why = Literal[
    "preemption is switched off",
    "it is neither of tier 1 nor starving",
    "its team has what it is entitled to",
    "its team has reached its limit",
    "nothing that runs may be taken for it",
    "all that may be taken is not enough",
]


class Victims(msgspec.Struct, frozen=True):
    """Tasks to take, the first to go first, and what is `lost` by that; or `why` none can be taken.

    No tasks and no reason: there is room already.
    """

    tasks: tuple[int, ...] = ()
    lost: float = 0  # milliseconds of work not saved, times the part of the host that was held
    why: Why | None = None


Fits = Callable[[Sequence[Held]], bool]
Rank = tuple[bool, int, float, float, int]


def victims(asking: Asking, running: Iterable[Held], shares: Shares, fits: Fits, now_ms: int) -> Victims:
    """Choose what to take: enough to make `fits(taken)` true, and not a task that could be spared.

    `fits` says whether the request has room once the given tasks are gone; more of them never make it false.
    First goes the work of teams above their entitlement; of that the lowest tier, then the lowest priority,
    then what loses least. Calls `fits` at most twice for each task considered.
    """
    why = _may_ask(asking, shares, now_ms)
    if why is not None:
        return Victims(why=why)
    fits = _with_headroom(fits, asking, shares)
    if fits(()):
        return Victims()
    candidates = [held for held in running if _may_be_taken(held, asking, shares, now_ms)]
    if not candidates:
        return Victims(why="nothing that runs may be taken for it")
    taken = _enough(asking, candidates, shares, fits, now_ms)
    if taken is None:
        return Victims(why="all that may be taken is not enough")
    return Victims(tuple(held.task for held in taken), sum(lost(held, shares, now_ms) for held in taken))


def lost(held: Held, shares: Shares, now_ms: int) -> float:
    """What taking a task throws away: the time since it was last saved, by the part of the host it holds."""
    return float((now_ms - max(held.started_ms, held.kept_ms)) * shares.dominant(held.amounts))


def _may_ask(asking: Asking, shares: Shares, now_ms: int) -> Why | None:
    if not shares.sharing.preemption.enabled:
        return "preemption is switched off"
    if asking.tier > 1:
        if not shares.starving(now_ms - asking.since_ms):
            return "it is neither of tier 1 nor starving"
        if shares.has_its_part(asking.team):
            return "its team has what it is entitled to"
    if shares.allowed(asking.team, 1, asking.amounts) is not None:  # as tier 1: headroom is looked at later
        return "its team has reached its limit"
    return None


def _may_be_taken(held: Held, asking: Asking, shares: Shares, now_ms: int) -> bool:
    rules = shares.sharing.preemption
    if held.tier == 1 or held.preempted >= rules.times:
        return False
    if now_ms - held.started_ms < rules.run_at_least_s * 1000:
        return False
    return asking.tier == 1 or (held.tier, -held.priority) >= (asking.tier, -asking.priority)


def _with_headroom(fits: Fits, asking: Asking, shares: Shares) -> Fits:
    """Room that a lower tier may not use, because it is kept for tier 1, is none."""
    if asking.tier == 1:
        return fits

    def both(taken: Sequence[Held]) -> bool:
        freed = [sum(held.amounts[d] for held in taken) for d in range(len(asking.amounts))]
        return shares.below_headroom(asking.amounts, freed) is None and fits(taken)

    return both


def _enough(
    asking: Asking, candidates: list[Held], shares: Shares, fits: Fits, now_ms: int
) -> list[Held] | None:
    """Take the cheapest until it fits, then give back the dearest that are not needed."""
    gone: dict[int, list[Amount]] = {}  # amounts already taken, by team, and by those that it is a part of
    least = 0 if asking.tier == 1 else max(0, shares.above_with(asking.team, asking.amounts))

    def rank(held: Held) -> Rank:
        spared = shares.above(held.team, gone) <= least
        return spared, -held.tier, held.priority, lost(held, shares, now_ms), held.task

    heap = [(rank(held), at) for at, held in enumerate(candidates)]
    heapify(heap)
    taken: list[Held] = []
    while True:
        if not heap:
            return None
        before, at = heap[0]
        held = candidates[at]
        now = rank(held)
        if now != before:  # its team has lost others meanwhile: that can only spare it
            heapreplace(heap, (now, at))
            continue
        if now[0] and asking.tier > 1:
            return None  # no team is left that is further above its entitlement
        heappop(heap)
        taken.append(held)
        for node in shares.path[held.team]:
            column = gone.setdefault(node, [0] * len(held.amounts))
            column[:] = [sum(pair) for pair in zip(column, held.amounts, strict=True)]
        if fits(taken):
            break
    for held in reversed(taken[:]):
        others = [other for other in taken if other is not held]
        if others and fits(others):
            taken = others
    return taken

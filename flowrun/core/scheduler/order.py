"""Whose turn it is: the lanes in which requests wait, the most urgent first."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import add
from typing import Protocol

from flowc.plan.model import Resources
from flowrun.core.model import Placement, Rejected
from flowrun.core.scheduler.request import Holding, Lane, Request
from flowrun.core.sharing.entitlement import Amount
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.turns import Turn, Turns

_KNOWN_MAX = 10_000


class Round(Protocol):
    """The lanes in turn, each until it has nothing more that fits."""

    def next(self) -> Lane | None:
        """The lane whose turn it is; none if all had theirs."""

    def again(self, lane: Lane) -> None:
        """A lane got a place, and would like another one."""


class Order(Protocol):
    """Puts lanes in order, and says what they may have: all that there is, if nothing is `limited`."""

    limited: bool

    def heads_changed(self, lane: Lane, first: Request | None) -> None:
        """Another request is the first of a lane, or none is."""

    def round(self, now_ms: int) -> Round:
        """One round of turns."""

    def allowed(self, request: Request) -> Rejected | None:
        """Why a request may not have a place now, whatever is free, and others of its tier might."""

    def reserved(
        self, request: Request, gone: Sequence[Holding] = (), beside: Request | None = None
    ) -> Rejected | None:
        """Why no request like it may: the rest is kept for the first tier.

        Asked of a moment when some holdings are gone, or when another request has got a place as well.
        """

    def exceeds(self, request: Request, placement: Placement) -> Rejected | None:
        """Why a place is more than a request may have, which may have what it asks for at least."""

    def team(self, lane: Lane) -> str:
        """Whose a lane is; nobody's in particular, if there are no others."""

    def started(self, request: Request, placement: Placement) -> None:
        """A request got a place."""

    def ended(self, request: Request, placement: Placement) -> None:
        """A place was given back."""


class Single:
    """One lane, as for a run that has the host to itself."""

    limited = False

    def heads_changed(self, lane: Lane, first: Request | None) -> None:
        """Nothing depends on it."""

    def round(self, now_ms: int) -> Round:
        """The one lane's turn, until nothing more fits."""
        return _Once()

    def allowed(self, request: Request) -> Rejected | None:
        """Everything is."""
        return None

    def reserved(
        self, request: Request, gone: Sequence[Holding] = (), beside: Request | None = None
    ) -> Rejected | None:
        """Nothing is."""
        return None

    def exceeds(self, request: Request, placement: Placement) -> Rejected | None:
        """None is."""
        return None

    def team(self, lane: Lane) -> str:
        """There are none."""
        return ""

    def started(self, request: Request, placement: Placement) -> None:
        """Nothing depends on it."""

    def ended(self, request: Request, placement: Placement) -> None:
        """Nothing depends on it."""


class _Once:
    def __init__(self) -> None:
        self._left = True

    def next(self) -> Lane | None:
        left, self._left = self._left, False
        return Lane() if left else None

    def again(self, lane: Lane) -> None:
        self._left = True


class Fair:
    """Lanes of teams and tiers, by effective priority: what each holds against what it is entitled to.

    Of a GPU that is shared, a team holds the part of its memory that its task may use: `gpu_memory_mb` is
    what the smallest GPU has.
    """

    limited = True

    def __init__(self, shares: Shares, gpu_memory_mb: int) -> None:
        self.shares = shares
        self._turns = Turns(shares)
        self._gpu_memory_mb = gpu_memory_mb
        self._first: dict[Lane, Request] = {}
        self._changed: set[Lane] = set()
        self._known: dict[Resources, tuple[Amount, ...]] = {}  # a memory of a pure function
        self._limited = [
            any(limit != math.inf for node in path for limit in shares.entitled[node].limits)
            for path in shares.path
        ]

    def heads_changed(self, lane: Lane, first: Request | None) -> None:
        """It counts from the next round on: the order of a round that is going on stays as it is."""
        self._changed.add(lane)
        if first is None:
            self._first.pop(lane, None)
        else:
            self._first[lane] = first

    def round(self, now_ms: int) -> Round:
        """Every lane in turn. What a lane gets makes its next turn later."""
        for lane in sorted(self._changed):
            first = self._first.get(lane)
            if first is None:
                self._turns.leave(lane.team, lane.tier)
            else:
                self._turns.wait(lane.team, lane.tier, -first.rank[0], first.since_ms, now_ms)
        self._changed.clear()
        return _FairRound(self, self._turns.in_order(now_ms), now_ms)

    def effective(self, lane: Lane, now_ms: int) -> float | None:
        """The priority of the first that waits in a lane, if any does."""
        first = self._first.get(lane)
        if first is None:
            return None
        return self.shares.effective(lane.team, lane.tier, -first.rank[0], now_ms - first.since_ms)

    def allowed(self, request: Request) -> Rejected | None:
        """A limit of the team's."""
        lane = request.lane
        return self.shares.allowed(lane.team, 1, self.amounts(request)) if self._limited[lane.team] else None

    def ever_allowed(self, lane: Lane, needs: Resources) -> Rejected | None:
        """Why a request may not have a place even if nothing runs."""
        return self.shares.ever_allowed(lane.team, lane.tier, self.needed(needs))

    def reserved(
        self, request: Request, gone: Sequence[Holding] = (), beside: Request | None = None
    ) -> Rejected | None:
        """What is kept for the first tier."""
        if request.lane.tier == 1:
            return None
        amounts = self.amounts(request)
        if beside is not None and beside.lane.tier > 1:
            amounts = tuple(map(add, amounts, self.amounts(beside)))
        lower = [
            self.held(holding.request, holding.placement) for holding in gone if holding.request.lane.tier > 1
        ]
        return self.shares.below_headroom(amounts, [sum(column) for column in zip(*lower, strict=True)])

    def exceeds(self, request: Request, placement: Placement) -> Rejected | None:
        """By a limit of the team's, or by what is kept for the first tier."""
        lane, needs = request.lane, request.needs
        if not needs.gpus_max and not placement.parts:
            return None
        return self.shares.allowed(lane.team, lane.tier, self.held(request, placement))

    def team(self, lane: Lane) -> str:
        """Its name, if there are several."""
        names = self.shares.names
        return names[lane.team] if len(names) > 1 else ""

    def started(self, request: Request, placement: Placement) -> None:
        """The team holds more."""
        self.shares.start(request.lane.team, request.lane.tier, self.held(request, placement))

    def ended(self, request: Request, placement: Placement) -> None:
        """The team holds less."""
        self.shares.end(request.lane.team, request.lane.tier, self.held(request, placement))

    def amounts(self, request: Request) -> tuple[Amount, ...]:
        """What a request asks for, in the order of the shares' resources."""
        return self.needed(request.needs)

    def needed(self, needs: Resources) -> tuple[Amount, ...]:
        """Needs, in the order of the shares' resources."""
        known = self._known.get(needs)
        if known is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            known = self._known[needs] = self._amounts(
                needs.cpus, needs.memory_mb, needs.gpus, needs.gpu_memory_mb, needs.uses
            )
        return known

    def held(self, request: Request, placement: Placement) -> tuple[Amount, ...]:
        """What a request got, in the order of the shares' resources: maybe more than it asked for at least.

        A gang holds named resources on each of its hosts.
        """
        needs = request.needs
        if not needs.gpus_max and not placement.parts:
            return self.amounts(request)
        parts = (placement, *placement.parts)
        gpus = sum(len(part.gpus) for part in parts)
        uses: Counter[str] = Counter()
        for part in parts:
            uses.update(dict(part.uses))
        return self._amounts(needs.cpus, needs.memory_mb, gpus, needs.gpu_memory_mb, tuple(uses.items()))

    def _amounts(
        self, cpus: float, memory_mb: int, gpus: int, gpu_memory_mb: int, uses: tuple[tuple[str, int], ...]
    ) -> tuple[Amount, ...]:
        part = min(1, gpu_memory_mb / self._gpu_memory_mb) if gpu_memory_mb and self._gpu_memory_mb else 1
        amounts = {"cpus": cpus, "memory_mb": memory_mb, "gpus": gpus * part, **dict(uses)}
        return tuple([amounts.get(resource, 0) for resource in self.shares.resources])


class _FairRound:
    """Lanes as they stood when the round began, and those that got something, as they stand now.

    What a lane gets makes the turns of all lanes of its team and of its tier later, never sooner: so it is
    enough to look again at the one that comes to the top.
    """

    def __init__(self, order: Fair, turns: Iterator[Turn], now_ms: int) -> None:
        self._order = order
        self._turns = turns
        self._now_ms = now_ms
        self._ahead = next(turns, None)
        self._again: list[tuple[float, Lane]] = []  # a heap
        self._given = False

    def next(self) -> Lane | None:
        again = self._again
        while True:
            ahead = self._ahead
            if again and (ahead is None or -again[0][0] >= ahead.effective):
                negative, lane = heapq.heappop(again)
                stood = -negative
            elif ahead is not None:
                stood, lane = ahead.effective, Lane(ahead.team, ahead.tier)
                self._ahead = next(self._turns, None)
            else:
                return None
            if not self._given:
                return lane
            stands = self._order.effective(lane, self._now_ms)
            if stands is None or stands >= stood:
                return lane
            heapq.heappush(again, (-stands, lane))

    def again(self, lane: Lane) -> None:
        self._given = True
        effective = self._order.effective(lane, self._now_ms)
        if effective is not None:
            heapq.heappush(self._again, (-effective, lane))

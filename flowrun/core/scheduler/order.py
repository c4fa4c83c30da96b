"""Whose turn it is: the lanes in which requests wait, the most urgent first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import add
from typing import Protocol

from flowc.plan.model import Resources
from flowrun.core.model import Placement, Rejected
from flowrun.core.scheduler.request import Lane, Request
from flowrun.core.sharing.entitlement import Amount
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.turns import Turn, Turns


class Round(Protocol):
    """The lanes in turn, each until it has nothing more that fits."""

    def next(self) -> Lane | None:
        """The lane whose turn it is; none if all had theirs."""

    def again(self, lane: Lane) -> None:
        """A lane got a place, and would like another one."""


class Order(Protocol):
    """Puts lanes in order, and says what they may have."""

    def heads_changed(self, lane: Lane, first: Request | None) -> None:
        """Another request is the first of a lane, or none is."""

    def round(self, now_ms: int) -> Round:
        """One round of turns."""

    def allowed(self, request: Request) -> Rejected | None:
        """Why a request may not have a place now, whatever is free."""

    def started(self, request: Request, placement: Placement) -> None:
        """A request got a place."""

    def ended(self, request: Request, placement: Placement) -> None:
        """A place was given back."""


class Single:
    """One lane, as for a run that has the host to itself."""

    def heads_changed(self, lane: Lane, first: Request | None) -> None:
        """Nothing depends on it."""

    def round(self, now_ms: int) -> Round:
        """The one lane's turn, until nothing more fits."""
        return _Once()

    def allowed(self, request: Request) -> Rejected | None:
        """Everything is."""
        return None

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

    def __init__(self, shares: Shares, gpu_memory_mb: int) -> None:
        self.shares = shares
        self._turns = Turns(shares)
        self._gpu_memory_mb = gpu_memory_mb
        self._first: dict[Lane, Request] = {}
        self._changed: set[Lane] = set()

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
        """A limit of the team's, or what is kept for the first tier."""
        return self.shares.allowed(*request.lane, self.needed(request.needs))

    def ever_allowed(self, lane: Lane, needs: Resources) -> Rejected | None:
        """Why a request may not have a place even if nothing runs."""
        return self.shares.ever_allowed(*lane, self.needed(needs))

    def started(self, request: Request, placement: Placement) -> None:
        """The team holds more."""
        self.shares.start(request.lane.team, request.lane.tier, self.held(placement))

    def ended(self, request: Request, placement: Placement) -> None:
        """The team holds less."""
        self.shares.end(request.lane.team, request.lane.tier, self.held(placement))

    def needed(self, needs: Resources) -> tuple[Amount, ...]:
        """What a team is going to hold with a request."""
        return self._amounts(needs.cpus, needs.memory_mb, needs.gpus, needs.gpu_memory_mb, needs.uses)

    def held(self, placement: Placement) -> tuple[Amount, ...]:
        """What a team holds with a place."""
        gpus, memory_mb = len(placement.gpus), placement.gpu_memory_mb
        amounts = self._amounts(placement.cpus, placement.memory_mb, gpus, memory_mb, placement.uses)
        for part in placement.parts:
            amounts = tuple(map(add, amounts, self.held(part)))
        return amounts

    def _amounts(
        self, cpus: float, memory_mb: int, gpus: int, gpu_memory_mb: int, uses: tuple[tuple[str, int], ...]
    ) -> tuple[Amount, ...]:
        part = min(1, gpu_memory_mb / self._gpu_memory_mb) if gpu_memory_mb and self._gpu_memory_mb else 1
        amounts = {"cpus": cpus, "memory_mb": memory_mb, "gpus": gpus * part, **dict(uses)}
        return tuple([amounts.get(resource, 0) for resource in self.shares.resources])


class _FairRound:
    def __init__(self, order: Fair, turns: Iterator[Turn], now_ms: int) -> None:
        self._order = order
        self._turns = turns
        self._now_ms = now_ms
        self._ahead = next(turns, None)
        self._again: list[tuple[float, Lane]] = []  # a heap

    def next(self) -> Lane | None:
        ahead, again = self._ahead, self._again
        if again and (ahead is None or -again[0][0] >= ahead.effective):
            return heapq.heappop(again)[1]
        if ahead is None:
            return None
        self._ahead = next(self._turns, None)
        return Lane(ahead.team, ahead.tier)

    def again(self, lane: Lane) -> None:
        effective = self._order.effective(lane, self._now_ms)
        if effective is not None:
            heapq.heappush(self._again, (-effective, lane))

"""Whose turn it is: the teams that have waiting work, by the effective priority of the first of it.

A tree of heaps for each tier, shaped as the teams are; a team stands in its parent's heap with the best
that it has, less its own penalty. So a start or an end moves only the teams on one path to the root,
whatever the number of teams; the penalty of a tier is added at the root. Entries that are out of date are
left in the heaps and passed over; a heap of mostly those is built anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, NamedTuple

from flowrun.core.sharing.priority import boost
from flowrun.core.sharing.shares import Shares

# What waiting earns is brought up to date when it has grown by half a point.
_GROWTH = math.exp(1 / 2)
_MOST_STALE = 32  # entries of a heap that are out of date, beyond as many as are not


class Turn(NamedTuple):
    """The first of a team in a tier. `effective` lags what waiting earns by half a point at most."""

    team: int
    tier: int
    effective: float


class Turns:
    """The order of the teams with waiting work. Which of a team's work is first, its owner says.

    O(depth of the teams * log teams) for each call; `in_order` that for each turn that is taken from it.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        teams = len(shares.names)
        root = teams
        self._up = [parent if parent >= 0 else root for parent in shares.parent]
        tiers = len(shares.tier_penalty)
        # All of these by tier, then by team; heaps by team and at last the root.
        self._heads: list[list[tuple[float, int] | None]] = [[None] * teams for _ in range(tiers)]
        self._value: list[list[Any]] = [[None] * teams for _ in range(tiers)]  # of the head: -(its priority)
        self._key: list[list[Any]] = [[None] * teams for _ in range(tiers)]  # as it stands in the heap above
        # Of each heap, how many of its entries are of teams that stand in it.
        self._live = [[0] * (teams + 1) for _ in range(tiers)]
        self._heaps: list[list[list[tuple[Any, int]]]] = [
            [[] for _ in range(teams + 1)] for _ in range(tiers)
        ]
        self._due: list[tuple[float, int, int, int]] = []  # when, tier, team, since: when a boost grows
        self._threshold_ms = shares.sharing.fairness.starvation_s * 1000

    def wait(self, team: int, tier: int, priority: float, since_ms: int, now_ms: int) -> None:
        """The first that waits of a team in a tier is of this priority, and waits since then."""
        head = (priority, since_ms)
        if self._heads[tier][team] != head:
            self._heads[tier][team] = head
            self._revalue(tier, team, now_ms)

    def leave(self, team: int, tier: int) -> None:
        """Nothing of a team waits in a tier any more."""
        self._heads[tier][team] = None
        self._value[tier][team] = None
        self._move(tier, team)

    def next(self, now_ms: int) -> Turn | None:
        """The team whose turn it is; none if nothing waits."""
        return next(self.in_order(now_ms), None)

    def in_order(self, now_ms: int) -> Iterator[Turn]:
        """Every team with waiting work, the one whose turn it is first; valid until something changes.

        Looks only at as many as are taken: for a scheduler that goes on to the next when one does not fit.
        """
        self._bring_up_to_date(now_ms)
        penalty = self._shares.penalty
        # (total, tier, team, heap's owner, position in the heap, what to add to keys of the heap)
        frontier: list[tuple[Any, int, int, int, int, Any]] = []
        root = len(penalty)
        for tier, heaps in enumerate(self._heaps):
            if heaps[root]:
                offset = self._shares.tier_penalty[tier]
                key, team = heaps[root][0]
                heappush(frontier, (key + offset, tier, team, root, 0, offset))
        seen: set[tuple[int, int]] = set()
        while frontier:
            total, tier, team, owner, at, offset = heappop(frontier)
            heap = self._heaps[tier][owner]
            for below in (2 * at + 1, 2 * at + 2):
                if below < len(heap):
                    key, other = heap[below]
                    heappush(frontier, (key + offset, tier, other, owner, below, offset))
            if heap[at][0] != self._key[tier][team] or (tier, team) in seen:
                continue  # out of date
            seen.add((tier, team))
            if self._heads[tier][team] is not None:
                yield Turn(team, tier, -total)
            else:  # a team that has parts: the best of them is as good as it
                key, part = self._heaps[tier][team][0]
                offset += penalty[team]
                heappush(frontier, (key + offset, tier, part, team, 0, offset))

    def _bring_up_to_date(self, now_ms: int) -> None:
        due, changed = self._due, self._shares.changed
        while due and due[0][0] <= now_ms:
            _, tier, team, since_ms = heappop(due)
            head = self._heads[tier][team]
            if head is not None and head[1] == since_ms:
                self._revalue(tier, team, now_ms)
        for team in sorted(changed):
            for tier in range(1, len(self._heaps)):
                if self._key[tier][team] is not None:
                    self._move(tier, team)
        changed.clear()

    def _revalue(self, tier: int, team: int, now_ms: int) -> None:
        head = self._heads[tier][team]
        assert head is not None
        priority, since_ms = head
        waited_ms = now_ms - since_ms
        self._value[tier][team] = -(priority + boost(waited_ms, self._threshold_ms))
        grows_ms = self._threshold_ms if waited_ms < self._threshold_ms else waited_ms * _GROWTH
        heappush(self._due, (since_ms + grows_ms, tier, team, since_ms))
        self._move(tier, team)

    def _move(self, tier: int, team: int) -> None:
        """Put a team where it belongs, and those that it is a part of."""
        root = len(self._up)
        keys, heaps, live = self._key[tier], self._heaps[tier], self._live[tier]
        while team != root:
            value = self._value[tier][team]
            key = None if value is None else value + self._shares.penalty[team]
            if key == keys[team]:
                return
            above = self._up[team]
            if keys[team] is None:
                live[above] += 1
            elif key is None:
                live[above] -= 1
            keys[team] = key
            heap = heaps[above]
            if key is not None:
                heappush(heap, (key, team))
            if len(heap) > _MOST_STALE + 2 * live[above]:
                heap[:] = sorted(
                    (keys[child], child) for child in {child for _, child in heap} if keys[child] is not None
                )
            while heap and heap[0][0] != keys[heap[0][1]]:
                heappop(heap)
            if above != root:
                self._value[tier][above] = heap[0][0] if heap else None
            team = above

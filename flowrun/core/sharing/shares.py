"""What each team and tier holds, kept up to date as work starts and ends; in O(resources) each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flowrun.core.model import Rejected
from flowrun.core.sharing.entitlement import Amount, entitlements, headroom
from flowrun.core.sharing.priority import LEAST_SHARE, boost, penalty
from flowrun.core.sharing.teams import Sharing, paths

_DUST = 1e-9  # fractions of CPUs are added and taken away: forgive what rounding leaves


class Parts(NamedTuple):
    """An effective priority and what it is made of: `effective = priority - tier - team + waiting`."""

    effective: float
    priority: float
    tier: float  # the penalty of the tier
    team: float  # the penalties of the team and of those that it is a part of
    waiting: float


class Shares:
    """The use of a host by teams and tiers against what they are entitled to.

    Teams are numbers, positions in `names`; tiers count from 1. Amounts are sequences in the order of
    `resources`. `changed` collects the teams whose penalty is not what it was; who keeps an order of teams
    takes them from there.
    """

    def __init__(self, sharing: Sharing, capacity: Mapping[str, Amount]) -> None:
        self.sharing = sharing
        self.resources = tuple(capacity)
        self.names = tuple(sharing.teams)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.capacity = tuple(capacity.values())
        entitled = entitlements(sharing, capacity)
        self.entitled = [entitled[name] for name in self.names]
        up = paths(sharing.teams)
        self.path = [tuple(self.index[part] for part in up[name]) for name in self.names]
        self.parent = [path[1] if len(path) > 1 else -1 for path in self.path]
        weights = sharing.tiers.weights
        self.tier_entitled = (0, *(weight / sum(weights) for weight in weights))

        self.used: list[list[Amount]] = [[0] * len(capacity) for _ in self.names]
        self.tier_used: list[list[Amount]] = [[0] * len(capacity) for _ in self.tier_entitled]
        self.running = [0] * len(self.names)
        self._tier_running = [0] * len(self.tier_entitled)
        self.share: list[Amount] = [0] * len(self.names)  # dominant
        self.tier_share: list[Amount] = [0] * len(self.tier_entitled)
        self.changed: set[int] = set()

        self._per = [1 / amount if amount else 0 for amount in self.capacity]
        fairness = sharing.fairness
        self._threshold_ms = fairness.starvation_s * 1000
        # penalty = rate * share + base: the formula of `penalty`, which is linear, taken apart once
        lines = [self._line(entitlement.share) for entitlement in self.entitled]
        self._rate, self._base = [line[0] for line in lines], [line[1] for line in lines]
        self._tier_lines = [(0, 0), *(self._line(part) for part in self.tier_entitled[1:])]
        self.penalty: list[Amount] = list(self._base)
        self.tier_penalty: list[Amount] = [base for _, base in self._tier_lines]
        self._limited = [
            tuple(
                (node, d, limit)
                for node in path
                for d, limit in enumerate(self.entitled[node].limits)
                if limit != math.inf
            )
            for path in self.path
        ]
        reserved = headroom(sharing, capacity)
        self._lower = [
            (d, amount - kept)
            for d, (amount, kept) in enumerate(zip(self.capacity, reserved, strict=True))
            if kept
        ]

    def _line(self, entitled: Amount) -> tuple[Amount, Amount]:
        fairness = self.sharing.fairness
        relative = fairness.violation == "relative"
        base = penalty(0, entitled, fairness.weight, relative)
        return penalty(1, entitled, fairness.weight, relative) - base, base

    def amounts(self, **of: Amount) -> tuple[Amount, ...]:
        """A vector of amounts from names: `amounts(cpus=4, gpus=1)`; what is not named is 0."""
        assert of.keys() <= set(self.resources), of
        return tuple(of.get(resource, 0) for resource in self.resources)

    def start(self, team: int, tier: int, amounts: Sequence[Amount]) -> None:
        """Work has started."""
        self._change(team, tier, amounts, 1)

    def end(self, team: int, tier: int, amounts: Sequence[Amount]) -> None:
        """Work that had started has ended, or was taken away."""
        self._change(team, tier, [-amount for amount in amounts], -1)

    def _change(self, team: int, tier: int, amounts: Sequence[Amount], count: int) -> None:
        running = self._tier_running[tier] = self._tier_running[tier] + count
        assert running >= 0, "work ended that had not started"
        self.tier_share[tier] = share = self._add(self.tier_used[tier], amounts, running)
        rate, base = self._tier_lines[tier]
        self.tier_penalty[tier] = rate * share + base
        for node in self.path[team]:
            running = self.running[node] = self.running[node] + count
            self.share[node] = share = self._add(self.used[node], amounts, running)
            self.penalty[node] = self._rate[node] * share + self._base[node]
            self.changed.add(node)

    def _add(self, used: list[Amount], amounts: Sequence[Amount], running: int) -> Amount:
        """Add to `used`; return its dominant share. When nothing runs, no dust of rounding is left."""
        if not running:
            used[:] = [0] * len(used)
            return 0
        most: Amount = 0
        for d, amount in enumerate(amounts):
            if amount:
                used[d] += amount
            share = used[d] * self._per[d]
            if share > most:
                most = share
        return most

    def allowed(self, team: int, tier: int, amounts: Sequence[Amount]) -> Rejected | None:
        """Why a team may not start this now, whatever is free: a burst limit, or the headroom of tier 1."""
        for node, d, limit in self._limited[team]:
            if amounts[d] and self.used[node][d] + amounts[d] > limit + _DUST:
                need = self.used[node][d] + amounts[d]
                return Rejected(f"{self.resources[d]} of team `{self.names[node]}`, limit", need, limit)
        return self.below_headroom(amounts) if tier > 1 else None

    def below_headroom(self, amounts: Sequence[Amount], freed: Sequence[Amount] = ()) -> Rejected | None:
        """Why work of a lower tier may not start even once `freed` is given up by work of lower tiers."""
        for d, limit in self._lower:
            if amounts[d]:
                used = sum(used[d] for used in self.tier_used[2:]) - (freed[d] if freed else 0)
                if used + amounts[d] > limit + _DUST:
                    name = f"{self.resources[d]} below tier 1, all but the headroom"
                    return Rejected(name, used + amounts[d], limit)
        return None

    def ever_allowed(self, team: int, tier: int, amounts: Sequence[Amount]) -> Rejected | None:
        """Why a team could not start this even if nothing ran."""
        for node, d, limit in self._limited[team]:
            if amounts[d] > limit + _DUST:
                name = f"{self.resources[d]} of team `{self.names[node]}`, limit"
                return Rejected(name, amounts[d], limit)
        for d, limit in self._lower if tier > 1 else ():
            if amounts[d] > limit + _DUST:
                name = f"{self.resources[d]} below tier 1, all but the headroom"
                return Rejected(name, amounts[d], limit)
        return None

    def effective(self, team: int, tier: int, priority: float, waited_ms: float) -> float:
        """The priority that counts: the higher, the sooner."""
        total: float = priority - self.tier_penalty[tier]
        for node in self.path[team]:
            total -= self.penalty[node]
        if waited_ms > self._threshold_ms:
            total += boost(waited_ms, self._threshold_ms)
        return total

    def parts(self, team: int, tier: int, priority: float, waited_ms: float) -> Parts:
        """The effective priority, taken apart, for people to read."""
        of_team = sum(self.penalty[node] for node in self.path[team])
        waiting = boost(waited_ms, self._threshold_ms)
        effective = self.effective(team, tier, priority, waited_ms)
        return Parts(effective, priority, self.tier_penalty[tier], of_team, waiting)

    def starving(self, waited_ms: float) -> bool:
        """Whether someone has waited longer than the threshold."""
        return waited_ms > self._threshold_ms

    def dominant(self, amounts: Sequence[Amount]) -> Amount:
        """The largest part of the host that amounts are."""
        return max((a * per for a, per in zip(amounts, self._per, strict=True)), default=0)

    def above(self, team: int) -> Amount:
        """How far a team is above its entitlement: 1 is twice that, below 0 is below it.

        With teams within teams, the least of its own and of those that it is a part of: what a department
        is entitled to and does not use, its teams may use.
        """
        return min(
            self.share[node] / max(self.entitled[node].share, LEAST_SHARE) - 1 for node in self.path[team]
        )

    def above_with(self, team: int, amounts: Sequence[Amount]) -> Amount:
        """How far a team would be above its entitlement, or one that it is a part of, with this as well."""
        return max(
            self.dominant([used + a for used, a in zip(self.used[node], amounts, strict=True)])
            / max(self.entitled[node].share, LEAST_SHARE)
            - 1
            for node in self.path[team]
        )

"""What each team and tier holds, kept up to date as work starts and ends; in O(resources) each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
        parts = [weight / sum(weights) for weight in weights]

        teams, tiers, resources = len(self.names), len(weights) + 1, len(capacity)
        self.used: list[list[Amount]] = [[0] * resources for _ in range(teams)]
        self.tier_used: list[list[Amount]] = [[0] * resources for _ in range(tiers)]
        self.running = [0] * teams
        self.changed: set[int] = set()
        self._tier_running = [0] * tiers
        self._threshold_ms = sharing.fairness.starvation_s * 1000
        self._per = [1 / amount if amount else 0 for amount in self.capacity]
        self._per_entitled = [
            [per / max(part, LEAST_SHARE) for per, part in zip(self._per, entitlement.parts, strict=True)]
            for entitlement in self.entitled
        ]
        self._lines = [self._penalties(entitlement.parts) for entitlement in self.entitled]
        self._tier_lines = [[(0, 0)] * resources, *(self._penalties([p] * resources) for p in parts)]
        self.penalty: list[Amount] = [max(base for _, base in lines) for lines in self._lines]
        self.tier_penalty: list[Amount] = [max(base for _, base in lines) for lines in self._tier_lines]
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

    def _penalties(self, parts: Sequence[Amount]) -> list[tuple[Amount, Amount]]:
        """`penalty` for an entitlement, by resource: it is linear, `rate * used + base`."""
        fairness = self.sharing.fairness
        relative = fairness.violation == "relative"
        lines: list[tuple[Amount, Amount]] = []
        for per, part in zip(self._per, parts, strict=True):
            base = penalty(0, part, fairness.weight, relative)
            rate = (penalty(1, part, fairness.weight, relative) - base) * per
            lines.append(
                (rate, base) if per else (0, -math.inf)
            )  # what the host does not have counts for none
        return lines

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
        self.tier_penalty[tier] = _add(self.tier_used[tier], amounts, self._tier_lines[tier], running)
        for node in self.path[team]:
            running = self.running[node] = self.running[node] + count
            self.penalty[node] = _add(self.used[node], amounts, self._lines[node], running)
            self.changed.add(node)

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
        """The largest part of any resource of the host that amounts are: their dominant share."""
        return max(a * per for a, per in zip(amounts, self._per, strict=True))

    def load(self, team: int, amounts: Sequence[Amount]) -> Amount:
        """Amounts as a multiple of what a team is entitled to, of the resource where that is largest."""
        return max(a * per for a, per in zip(amounts, self._per_entitled[team], strict=True))

    def above(self, team: int, gone: Mapping[int, Sequence[Amount]] = MappingProxyType({})) -> Amount:
        """How far a team is above its entitlement: 1 is twice that, below 0 is below it.

        With teams within teams, the least of its own and of those that it is a part of: what a department
        is entitled to and does not use, its teams may use. `gone` are amounts, by team, not to count.
        """
        return (
            min(
                self.load(node, [u - g for u, g in zip(self.used[node], gone[node], strict=True)])
                if node in gone
                else self.load(node, self.used[node])
                for node in self.path[team]
            )
            - 1
        )

    def has_its_part(self, team: int) -> bool:
        """Whether a team has all that it is entitled to, as far as rounding lets one tell."""
        return bool(self.above(team) >= -_DUST)

    def above_with(self, team: int, amounts: Sequence[Amount]) -> Amount:
        """How far a team would be above its entitlement, or one that it is a part of, with this as well."""
        return (
            max(
                self.load(node, [u + a for u, a in zip(self.used[node], amounts, strict=True)])
                for node in self.path[team]
            )
            - 1
        )


def _add(
    used: list[Amount], amounts: Sequence[Amount], lines: Sequence[tuple[Amount, Amount]], running: int
) -> Amount:
    """Add to `used`; return its penalty. When nothing runs, no dust of rounding is left."""
    if not running:
        used[:] = [0] * len(used)
        return max([base for _, base in lines])
    most: Amount = -math.inf
    for d, (rate, base) in enumerate(lines):
        amount = amounts[d]
        if amount:
            used[d] += amount
        violation = used[d] * rate + base
        if violation > most:
            most = violation
    return most

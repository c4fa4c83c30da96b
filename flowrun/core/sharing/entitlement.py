"""What each team is guaranteed on a host, and the most that it may hold.

Amounts are vectors in the order of the capacity's resources. All arithmetic keeps the capacity's kind of
number: with Fractions it is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowrun.core.sharing.teams import Sharing, Team

_DUST = 1e-9  # what rounding leaves of 0.1 * 30 is no reason for one more

Amount = Any  # int, float or Fraction: whatever the capacity is given in


class Entitlement(NamedTuple):
    """What a team may count on (`amounts`), what its use is measured by (`parts`), and its `limits`.

    `parts` are parts of the host, 0 to 1. Where a quota leaves a resource out, nothing of it is guaranteed,
    and its use is measured by the largest part that the quota names.
    """

    amounts: tuple[Amount, ...]
    parts: tuple[Amount, ...]
    limits: tuple[Amount, ...]  # infinite where there is none


def entitlements(sharing: Sharing, capacity: Mapping[str, Amount]) -> dict[str, Entitlement]:
    """Divide a host, from the top down: quotas and shares first, then by weight what they leave."""
    teams = sharing.teams
    resources = tuple(capacity)
    everything = tuple(capacity.values())
    parts: dict[str, list[str]] = {}
    for name, team in teams.items():
        parts.setdefault(team.parent, []).append(name)
    of: dict[str, Entitlement] = {}
    parents = [""]
    for parent in parents:  # grows as it goes
        whole = of[parent] if parent else Entitlement(everything, tuple(1 for _ in everything), ())
        members = {part: teams[part] for part in parts.get(parent, ())}
        for name, amounts in _divide(whole.amounts, members, resources).items():
            own = tuple(a / c if c else 0 for a, c in zip(amounts, everything, strict=True))
            if members[name].quota:
                filled = tuple(part or max(own) for part in own)
            else:
                fraction = _fraction(name, members)
                filled = tuple(
                    part if has else above * fraction
                    for part, has, above in zip(own, whole.amounts, whole.parts, strict=True)
                )
            of[name] = Entitlement(amounts, filled, _limits(members[name], amounts, resources))
        parents += members
    return of


def headroom(sharing: Sharing, capacity: Mapping[str, Amount]) -> tuple[Amount, ...]:
    """What is kept for tier 1. Whole units: a tenth of one GPU is no reason to forbid its use."""
    return tuple(math.floor(amount * sharing.tiers.headroom + _DUST) for amount in capacity.values())


def _divide(
    whole: tuple[Amount, ...], teams: dict[str, Team], resources: tuple[str, ...]
) -> dict[str, tuple[Amount, ...]]:
    fixed = {name: guaranteed(whole, team, resources) for name, team in teams.items()}
    taken = [amounts for amounts in fixed.values() if amounts is not None]
    left = [max(0, amount - sum(column)) for amount, *column in zip(whole, *taken, strict=True)]
    weights = sum(team.weight for name, team in teams.items() if fixed[name] is None)
    return {
        name: amounts if amounts is not None else tuple(a * teams[name].weight / weights for a in left)
        for name, amounts in fixed.items()
    }


def guaranteed(
    whole: tuple[Amount, ...], team: Team, resources: tuple[str, ...]
) -> tuple[Amount, ...] | None:
    """What a team is guaranteed of a whole by quota or share; `None` if that follows from weights."""
    if team.quota:
        return tuple(team.quota.get(resource, 0) for resource in resources)
    if team.share is not None:
        return tuple(amount * team.share for amount in whole)
    return None


def _fraction(name: str, members: Mapping[str, Team]) -> Amount:
    """Which fraction of the whole a member without a quota is given of what the whole has no amounts of."""
    own = members[name].share
    if own is not None:
        return own
    by_weight = sum(team.weight for team in members.values() if not team.quota and team.share is None)
    return members[name].weight / by_weight


def _limits(team: Team, amounts: tuple[Amount, ...], resources: tuple[str, ...]) -> tuple[Amount, ...]:
    """Limits by `burst` are rounded up to whole units: everyone may use one GPU, however small their part."""
    bursts = [
        math.ceil(a * team.burst - _DUST) if team.burst is not None and a else math.inf for a in amounts
    ]
    return tuple(team.limit.get(resource, burst) for resource, burst in zip(resources, bursts, strict=True))

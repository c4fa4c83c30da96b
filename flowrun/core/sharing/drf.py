"""Dominant-resource fairness as it is defined, with exact numbers: what the scheduler's order is held to.

Ghodsi, Zaharia, Hindman, Konwinski, Shenker, Stoica: Dominant Resource Fairness: Fair Allocation of Multiple
Resource Types, NSDI 2011. Section 4.1 defines the allocation, algorithm 1 fills it task by task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Fairness, Sharing, Team, Tiers
from flowrun.core.sharing.turns import Turns

Number = int | Fraction


def dominant_share(amounts: Sequence[Number], capacity: Sequence[Number]) -> Fraction:
    """The largest part of any resource."""
    parts = (Fraction(a) / Fraction(c) for a, c in zip(amounts, capacity, strict=True) if c)
    return max(parts, default=Fraction(0))


class Filled(NamedTuple):
    """What progressive filling came to. `order` names the user of each task, in the order of starting."""

    order: tuple[str, ...]
    tasks: dict[str, int]
    dominant_share: dict[str, Fraction]
    used: tuple[Fraction, ...]


def progressive_filling(
    capacity: Sequence[Number],
    demands: Mapping[str, Sequence[Number]],
    weights: Mapping[str, Number] | None = None,
) -> Filled:
    """Algorithm 1: a task of the user with the least dominant share (by its weight), as long as one fits.

    A user whose next task does not fit is passed over from then on. Done by the scheduler's own `Shares` and
    `Turns`, given Fractions. Ties go to the user that comes first in `demands`.
    """
    names = tuple(demands)
    of = dict.fromkeys(names, 1) if weights is None else weights
    # Struct fields are not checked here: Fractions keep all that follows from them exact.
    teams = {name: Team(weight=Fraction(of[name])) for name in names}  # type: ignore[arg-type]
    sharing = Sharing(
        teams,
        Tiers(weights=(Fraction(1),), headroom=0),  # type: ignore[arg-type]
        Fairness(weight=1),
    )
    shares = Shares(sharing, {str(r): Fraction(amount) for r, amount in enumerate(capacity)})
    turns = Turns(shares)
    for team in range(len(names)):
        turns.wait(team, 1, 0, 0, 0)
    free = [Fraction(amount) for amount in capacity]
    order = []
    while (turn := turns.next(0)) is not None:
        demand = demands[names[turn.team]]
        if not any(demand) or any(need > have for need, have in zip(demand, free, strict=True)):
            turns.leave(turn.team, turn.tier)
            continue
        free = [have - need for have, need in zip(free, demand, strict=True)]
        shares.start(turn.team, turn.tier, demand)
        order.append(names[turn.team])
    return Filled(
        tuple(order),
        {name: order.count(name) for name in names},
        {name: Fraction(shares.dominant(used)) for name, used in zip(names, shares.used, strict=True)},
        tuple(Fraction(c) - f for c, f in zip(capacity, free, strict=True)),
    )


def divided(
    capacity: Sequence[Number],
    demands: Mapping[str, Sequence[Number]],
    weights: Mapping[str, Number] | None = None,
    most: Mapping[str, Number] | None = None,
) -> dict[str, Fraction]:
    """How many tasks each user has under DRF when tasks can be divided: exact.

    Dominant shares rise together, each at its weight's pace, until a resource is used up: then the users
    that need it stop, and the others go on. A user stops at `most` tasks, too, where that is given.
    """
    users = [name for name in demands if any(demands[name])]
    of = dict.fromkeys(demands, 1) if weights is None else weights
    # Tasks that a user gets for each unit by which the weighted dominant shares rise.
    pace = {u: Fraction(of[u]) / dominant_share(demands[u], capacity) for u in users}
    tasks = dict.fromkeys(demands, Fraction(0))
    free = [Fraction(amount) for amount in capacity]
    active = [u for u in users if all(c for c, need in zip(capacity, demands[u], strict=True) if need)]
    while active:
        drain = [sum(pace[u] * demands[u][r] for u in active) for r in range(len(free))]
        rises = [have / rate for have, rate in zip(free, drain, strict=True) if rate]
        rises += [(most[u] - tasks[u]) / pace[u] for u in active if most is not None and u in most]
        rise = min(rises)
        for u in active:
            tasks[u] += rise * pace[u]
        free = [have - rise * rate for have, rate in zip(free, drain, strict=True)]
        active = [
            u
            for u in active
            if not any(need and not have for need, have in zip(demands[u], free, strict=True))
            and not (most is not None and u in most and tasks[u] >= most[u])
        ]
    return tasks

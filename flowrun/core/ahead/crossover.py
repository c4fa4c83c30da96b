"""Where a child takes which part of the order from: the mother's best stretch of time, set into a father.

A child follows the mother within an interval of time, and the father before and after it (the crossover of
Debels & Vanhoucke 2007, "A decomposition-based genetic algorithm for the resource-constrained
project-scheduling problem", Oper. Res. 55). That the interval should be one in which the mother uses the
resources well is the peak crossover of Valls, Ballestín & Quintanilla (2008, "A hybrid genetic algorithm for
the resource-constrained project scheduling problem", EJOR 185). Here it is weighed against the father whom it
replaces: of several intervals and fathers, drawn at random, the child is made of those where the mother does
most work more than the father would in the same time. It costs no schedule: the work is counted once a
member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import inf
from operator import truediv
from typing import NamedTuple

from flowrun.core.ahead.packed import Packed
from flowrun.core.ahead.problem import Problem

DRAWS = 16  # of an interval and a father
SHARE_LEAST, SHARE_MOST = 0.1, 0.6  # of the mother's makespan, in the interval


class Member(NamedTuple):
    """A schedule generated forward."""

    makespan: int  # in ticks, as the ends
    ends: list[int]
    work: list[float]  # done before each unit of time, until the makespan


def loads(problem: Problem, packed: Packed) -> list[float]:
    """What each activity demands, as a part of each capacity, added up."""
    capacities = [capacity or 1 for capacity in problem.capacities]
    return [sum(map(truediv, problem.demands[j], capacities)) for j in packed.order]


def member(packed: Packed, loads: Sequence[float], ends: list[int]) -> Member:
    """The schedule with the work that it does over time: the loads of the activities that run, added up."""
    width, makespan = packed.width, max(ends)
    rates = [0.0] * (makespan // width + 1)
    for end, duration, load in zip(ends, packed.durations, loads, strict=True):
        last = end // width
        rates[last - duration] += load
        rates[last] -= load
    rates.pop()
    return Member(makespan, ends, list(accumulate(accumulate(rates), initial=0.0)))


def crossed(packed: Packed, population: Sequence[Member], draw: Callable[[], float]) -> list[int]:
    """A child of at least two members: an order for generating backward."""
    count = len(population)
    mother = int(draw() * count)
    makespan, ends, work = population[mother]
    units = len(work) - 1
    most, best = -inf, (0, 0, 0)
    for _ in range(DRAWS):
        father = int(draw() * (count - 1))
        father += father >= mother
        length = int((SHARE_LEAST + (SHARE_MOST - SHARE_LEAST) * draw()) * units) or 1
        low = int(draw() * (units - length + 1))
        high = low + length
        theirs = population[father].work
        last = len(theirs) - 1
        gain = work[high] - work[low] - theirs[min(high, last)] + theirs[min(low, last)]
        if gain > most * length:
            most, best = gain / length, (father, low, high)
    father, low, high = best[0], best[1] * packed.width, best[2] * packed.width
    far = makespan + population[father].makespan
    keys = [
        other + far if end > high else end if end >= low else other - far
        for end, other in zip(ends, population[father].ends, strict=True)
    ]
    return sorted(packed.backward.base, key=keys.__getitem__, reverse=True)

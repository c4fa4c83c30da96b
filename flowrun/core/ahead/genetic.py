"""A bounded search for short schedules: a genetic algorithm on forward-backward improved schedules.

A member is a schedule generated forward. A child is an order put together from two members (`crossover.py`),
is generated backward, as by Debels & Vanhoucke (2007, "A decomposition-based genetic algorithm for the
resource-constrained project-scheduling problem", Oper. Res. 55), and then forward again: so improvement
(Valls, Ballestín & Quintanilla 2008, "A hybrid genetic algorithm for the resource-constrained project
scheduling problem", EJOR 185) costs one schedule more, not two.

All of the first members come from the parallel scheme, by latest finish times under durations drawn at
random, and so does half of the first children, as in Hartmann's self-adapting algorithm (2002, Nav. Res.
Logist. 49); later ones no more, for what has been bred by then is better than what that scheme can make.
The population shrinks as the search goes on: from variety to what is short.

Each pass over the activities, forward or backward, counts as one schedule (Kolisch & Hartmann 2006,
"Experimental investigation of heuristics for resource-constrained project scheduling: an update", EJOR 174).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter

from flowrun.core.ahead.crossover import Member, crossed, loads, member
from flowrun.core.ahead.generation import parallel, serial
from flowrun.core.ahead.justification import justify
from flowrun.core.ahead.packed import Direction, Packed
from flowrun.core.ahead.problem import Problem, check, lower_bound
from flowrun.core.ahead.rules import by_rule

NOISE = 0.8  # durations are drawn from 0.2 to 1.8 times their value for the first members
MEMBERS_FIRST, MEMBERS_LAST = 1.7, 0.73  # of schedules ** 0.75 / activities ** 0.5
MEMBERS_LEAST = 4
PARALLEL_FIRST, PARALLEL_UNTIL = 0.5, 0.5  # of the children at first, and to which part of the search any
SWAP_SHARE = 0.05  # of an order's neighbours, tried to be changed round in a child

_by_makespan = attrgetter("makespan")


def search(
    problem: Problem, schedules: int, seed: int, stop: Callable[[], bool] = lambda: False
) -> list[int]:
    """Start times of the shortest of at most so many schedules (at least one); the same for the same seed.

    Ends early at the lower bound, or when `stop()` says so, which is asked before every member and child.
    Raises `Impossible` for a problem without a schedule.
    """
    check(problem)
    packed = Packed(problem)
    if not packed.count:
        return []
    found = _Search(packed, loads(problem, packed), schedules, seed, int(lower_bound(problem)), stop)
    found.settle()
    found.breed()
    width = packed.width
    return packed.in_places(
        [end // width - length for end, length in zip(found.best, packed.durations, strict=True)]
    )


class _Search:
    """The state of a search: what is left to spend, the best so far, the population, shortest first."""

    def __init__(
        self,
        packed: Packed,
        loads: list[float],
        schedules: int,
        seed: int,
        bound: int,
        stop: Callable[[], bool],
    ) -> None:
        self.packed = packed
        self.loads = loads
        self.left = schedules
        self.draw = uniform(seed)
        self.bound = bound * packed.width
        self.stop = stop
        self.best: list[int] = []  # ends in ticks
        self.makespan = 0  # of the best
        self.population: list[Member] = []
        # Small projects converge early: for 1,000 schedules 53 members of 32 activities, but 27 of 122.
        self.size = schedules**0.75 / packed.count**0.5

    def done(self) -> bool:
        """Whether to end: no schedule is left, nothing is to gain, or the caller wants it."""
        return self.left < 1 or self.makespan <= self.bound or self.stop()

    def settle(self) -> None:
        """The first members: by two rules, then by draws; each improved once."""
        packed, draw = self.packed, self.draw
        for i in range(max(MEMBERS_LEAST, round(MEMBERS_FIRST * self.size))):
            if i < 2:
                order = by_rule(packed, packed.durations, "latest_finish" if i else "latest_start")
            else:
                lengths = [length * (1 - NOISE + 2 * NOISE * draw()) for length in packed.durations]
                order = by_rule(packed, lengths, "latest_finish")
            ends = self._parallel(packed.forward, order)
            self._keep(ends)
            if self.done():
                return
            self.left -= 1
            self._add(self._forward(justify(packed, packed.backward, ends)))
            if self.done():
                return

    def breed(self) -> None:
        """Children take the places of the longest members, which are fewer and fewer."""
        packed, draw, population = self.packed, self.draw, self.population
        backward, first = packed.backward, self.left
        while len(population) > 1 and not self.done():
            gone = 1 - self.left / first
            size = self.size * (MEMBERS_FIRST + (MEMBERS_LAST - MEMBERS_FIRST) * gone)
            del population[max(MEMBERS_LEAST, round(size)) :]
            order = crossed(packed, population, draw)
            if draw() < PARALLEL_FIRST * (1 - gone / PARALLEL_UNTIL):
                ends = self._parallel(backward, order)
            else:
                self._swap(order, backward)
                self.left -= 1
                ends = serial(packed, backward, order)
            ends = self._forward(ends)
            if max(ends) <= population[-1].makespan and all(ends != other.ends for other in population):
                population.pop()
                self._add(ends)

    def _add(self, ends: list[int]) -> None:
        """Before those of the same makespan: among equals the older ones leave first."""
        new = member(self.packed, self.loads, ends)
        self.population.insert(bisect_left(self.population, new.makespan, key=_by_makespan), new)

    def _swap(self, order: list[int], direction: Direction) -> None:
        before = direction.before
        for _ in range(int(len(order) * SWAP_SHARE) if len(order) > 1 else 0):
            place = int(self.draw() * (len(order) - 1))
            one, other = order[place], order[place + 1]
            if one not in before[other]:
                order[place], order[place + 1] = other, one

    def _parallel(self, direction: Direction, order: list[int]) -> list[int]:
        self.left -= 1
        ticks = self.packed.by_unit().ticks
        starts = parallel(self.packed, direction, order, ticks)
        return [int(start) + tick for start, tick in zip(starts, ticks, strict=True)]

    def _forward(self, ends: list[int]) -> list[int]:
        """The last pass of a member, from ends that were generated backward; those, if nothing is left."""
        if self.left < 1:
            makespan, ticks = max(ends), self.packed.by_unit().ticks
            return self._keep([makespan - end + tick for end, tick in zip(ends, ticks, strict=True)])
        self.left -= 1
        return self._keep(justify(self.packed, self.packed.forward, ends))

    def _keep(self, ends: list[int]) -> list[int]:
        makespan = max(ends)
        if not self.best or makespan < self.makespan:
            self.best, self.makespan = ends, makespan
        return ends


def uniform(seed: int) -> Callable[[], float]:
    """Draws from [0, 1), the same for the same seed anywhere: Knuth's congruential generator for MMIX."""
    state = (seed * 2862933555777941757 + 3037000493) & 0xFFFFFFFFFFFFFFFF

    def draw() -> float:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (state >> 11) * 2.0**-53

    return draw

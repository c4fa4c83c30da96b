"""A bounded search for short schedules: a genetic algorithm on forward-backward improved schedules.

A member is a schedule generated forward. A child takes the order of activities in an interval of time from
one parent and that before and after it from the other (the crossover of Debels & Vanhoucke 2007, "A
decomposition-based genetic algorithm for the resource-constrained project-scheduling problem", Oper. Res.
55), is generated backward, as in their algorithm, and then forward again: so improvement (Valls, Ballestín &
Quintanilla 2008, "A hybrid genetic algorithm for the resource-constrained project scheduling problem", EJOR
185) costs one schedule more, not two. Some children and all of the first members come from the parallel
scheme, as in Hartmann's self-adapting algorithm (2002, Nav. Res. Logist. 49), the first ones by latest start
times under durations drawn at random. Where breeding would go on for long, its last part is given to
windows of the best schedule (`windows.py`).

Each pass over the activities, forward or backward, counts as one schedule (Kolisch & Hartmann 2006,
"Experimental investigation of heuristics for resource-constrained project scheduling: an update", EJOR 174);
a pass over the m activities of a window, of n, counts as m/n of one, its share of the work.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from operator import itemgetter

from flowrun.core.ahead.generation import parallel, serial
from flowrun.core.ahead.justification import justify
from flowrun.core.ahead.packed import Direction, Packed
from flowrun.core.ahead.problem import Problem, check, lower_bound
from flowrun.core.ahead.rules import by_rule
from flowrun.core.ahead.windows import Window

PARALLEL_SHARE = 0.2  # of the children
WINDOW_LEAST, WINDOW_MOST = 0.25, 0.75  # of a parent's makespan, in which a child takes its order
SWAP_SHARE = 0.05  # of an order's neighbours, tried to be changed round in a child
NOISE = 0.8  # durations are drawn from 0.2 to 1.8 times their value for the first members

WINDOWS_FROM = 20  # schedules an activity: with fewer, breeding gains more to the end
WINDOWS_SHARE = 0.3  # of the schedules; breeding has the others, and comes first
PART_LEAST, PART_MOST = 1 / 6, 1 / 3  # of the activities, in a window
TRIALS = 10  # of new orders for one window
MEMBERS_SHARE = 0.3  # of these orders, which are those of another member; the rest are shaken
SHAKE = 10  # units of time at most, by which an activity is taken to end later

Member = tuple[int, list[int]]  # makespan and ends in ticks, generated forward
_by_makespan = itemgetter(0)


def search(
    problem: Problem, schedules: int, seed: int, stop: Callable[[], bool] = lambda: False
) -> list[int]:
    """Start times of the shortest of at most so many schedules (at least one); the same for the same seed.

    Ends early at the lower bound, or when `stop()` says so, which is asked before every child and trial.
    Raises `Impossible` for a problem without a schedule.
    """
    check(problem)
    packed = Packed(problem)
    if not packed.count:
        return []
    found = _Search(packed, schedules, seed, int(lower_bound(problem)), stop)
    windows = WINDOWS_SHARE if schedules >= WINDOWS_FROM * packed.count else 0
    # Small projects converge early: for 1,000 schedules 39 members of 32 activities, but 20 of 122.
    bred = (1 - windows) * schedules
    found.settle(members=max(4, round(1.22 * bred**0.75 / packed.count**0.5)))
    found.breed(spare=round(schedules * windows) * packed.count)
    if windows:
        found.refine()
    ends = found.best[1]
    width = packed.width
    return packed.in_places(
        [end // width - length for end, length in zip(ends, packed.durations, strict=True)]
    )


class _Search:
    """The state of a search: what is left to spend, the best so far, the population, shortest first."""

    def __init__(
        self, packed: Packed, schedules: int, seed: int, bound: int, stop: Callable[[], bool]
    ) -> None:
        self.packed = packed
        self.left = schedules * packed.count  # placements
        self.draw = uniform(seed)
        self.bound = bound * packed.width
        self.stop = stop
        self.best: Member = (0, [])
        self.population: list[Member] = []

    def done(self, spare: int = 0) -> bool:
        """Whether to end: no schedule is left but for `spare`, nothing is to gain, or the caller wants it."""
        return self.left < spare + self.packed.count or self.best[0] <= self.bound or self.stop()

    def settle(self, members: int) -> None:
        """The first members: by two rules, then by draws; each improved once."""
        packed, draw = self.packed, self.draw
        for i in range(members):
            if i < 2:
                order = by_rule(packed, packed.durations, "latest_finish" if i else "latest_start")
            else:
                lengths = [length * (1 - NOISE + 2 * NOISE * draw()) for length in packed.durations]
                order = by_rule(packed, lengths, "latest_start")
            ends = self._parallel(packed.forward, order)
            self._keep(ends)
            if self.done():
                return
            self.population.append(self._forward(justify(packed, packed.backward, ends)))
            if self.done():
                return
        self.population.sort(key=_by_makespan)

    def breed(self, spare: int) -> None:
        """Children take the places of the longest members, until so many placements are left."""
        packed, draw, population = self.packed, self.draw, self.population
        backward = packed.backward
        while len(population) > 1 and not self.done(spare):
            mother = int(draw() * len(population))
            father = int(draw() * (len(population) - 1))
            father += father >= mother
            order = self._crossed(population[mother], population[father])
            if draw() < PARALLEL_SHARE:
                ends = self._parallel(backward, order)
            else:
                self._swap(order, backward)
                ends = serial(packed, backward, order)
            child = self._forward(ends)
            if child[0] <= population[-1][0] and child not in population:
                population.pop()
                # Before those of the same makespan: among equals the older ones leave first.
                population.insert(bisect_left(population, child[0], key=_by_makespan), child)

    def refine(self) -> None:
        """Windows of the best schedule are generated anew, one after the other, until it is time to end."""
        packed, ends = self.packed, self.best[1]
        while self.population and not self.done(packed.count):
            share = PART_LEAST + (PART_MOST - PART_LEAST) * self.draw()
            size = max(1, round(share * packed.count))
            window = Window(packed, ends, int(self.draw() * (packed.count - size + 1)), size)
            ends = self._rearranged(window, 2 * size) or ends

    def _rearranged(self, window: Window, cost: int) -> list[int] | None:
        """Another schedule, not longer, at so many placements a trial; none if no trial gives one.

        Those of the same makespan are taken too: they are the way to what is shorter.
        """
        packed = self.packed
        for _ in range(TRIALS):
            if self.done(cost - packed.count):
                return None
            self.left -= cost
            if self.draw() < MEMBERS_SHARE:
                keys: list[int] = self.population[int(self.draw() * len(self.population))][1]
            else:
                keys = self._shaken(window)
            ends = window.rearranged(keys)
            if ends is None:
                continue
            if max(ends) < window.makespan and not self.done(packed.count):
                self.left -= 2 * packed.count
                ends = justify(packed, packed.forward, justify(packed, packed.backward, ends))
            self._keep(ends)
            return ends
        return None

    def _shaken(self, window: Window) -> list[int]:
        """The ends, some later by chance, but none later than those of what comes after."""
        draw, after = self.draw, self.packed.forward.after
        most = SHAKE * self.packed.width * draw()
        keys = window.ends.copy()
        for j in window.inside:
            keys[j] += int(most * draw())
        for j in window.inside:
            for k in after[j]:
                if keys[k] < keys[j]:
                    keys[k] = keys[j]
        return keys

    def _crossed(self, mother: Member, father: Member) -> list[int]:
        """An order for generating backward: the mother's within an interval of hers, else the father's."""
        draw = self.draw
        makespan, ends = mother
        share = WINDOW_LEAST + (WINDOW_MOST - WINDOW_LEAST) * draw()
        low = draw() * (1 - share) * makespan
        high = low + share * makespan
        far = makespan + father[0]
        keys = [
            other + far if end > high else end if end >= low else other - far
            for end, other in zip(ends, father[1], strict=True)
        ]
        return sorted(self.packed.backward.base, key=keys.__getitem__, reverse=True)

    def _swap(self, order: list[int], direction: Direction) -> None:
        before = direction.before
        for _ in range(int(len(order) * SWAP_SHARE) if len(order) > 1 else 0):
            place = int(self.draw() * (len(order) - 1))
            one, other = order[place], order[place + 1]
            if one not in before[other]:
                order[place], order[place + 1] = other, one

    def _parallel(self, direction: Direction, order: list[int]) -> list[int]:
        self.left -= self.packed.count
        ticks = self.packed.by_unit().ticks
        starts = parallel(self.packed, direction, order, ticks)
        return [int(start) + tick for start, tick in zip(starts, ticks, strict=True)]

    def _forward(self, ends: list[int]) -> Member:
        """The last pass of a member, from ends that were generated backward; those, if nothing is left."""
        self.left -= self.packed.count
        if self.left < self.packed.count:
            makespan = max(ends)
            ticks = self.packed.by_unit().ticks
            self._keep([makespan - end + tick for end, tick in zip(ends, ticks, strict=True)])
            return self.best
        self.left -= self.packed.count
        return self._keep(justify(self.packed, self.packed.forward, ends))

    def _keep(self, ends: list[int]) -> Member:
        member = (max(ends), ends)
        if not self.best[1] or member[0] < self.best[0]:
            self.best = member
        return member


def uniform(seed: int) -> Callable[[], float]:
    """Draws from [0, 1), the same for the same seed anywhere: Knuth's congruential generator for MMIX."""
    state = (seed * 2862933555777941757 + 3037000493) & 0xFFFFFFFFFFFFFFFF

    def draw() -> float:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (state >> 11) * 2.0**-53

    return draw

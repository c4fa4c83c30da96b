"""The one function for the scheduler: real durations, amounts that need not be whole, graphs of any size.

The search works on whole units of time in a profile of bounded length. Where the project is longer than that,
its durations are rounded up to a coarser unit; what was found is then an order, which is dispatched with the
real durations, as the scheduler itself will do it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, gcd, inf, isfinite
from operator import add

from flowrun.core.ahead.generation import parallel
from flowrun.core.ahead.genetic import search
from flowrun.core.ahead.packed import Packed
from flowrun.core.ahead.problem import Impossible, Problem, Schedule, check, lower_bound
from flowrun.core.ahead.rules import by_rule

PROFILE_BITS = 1 << 13  # of time and resources in the search: what is longer is made coarser
PLACEMENTS_MAX = 120_000  # activities times schedules; each costs one to six microseconds
SCHEDULES_LEAST = 10  # where so many are not affordable, one is made
PARTS = 1000  # of one, in which amounts that are not whole are counted


def plan_ahead(
    durations_ms: Sequence[float],
    demands: Sequence[Sequence[float]],
    capacities: Sequence[float],
    dependencies: Sequence[Sequence[int]],
    *,
    schedules: int = 1000,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Schedule:
    """A short schedule, the shortest of about so many, of activities that wait for their `dependencies`.

    `demands[j][r]` of resource r is held while j runs. Fewer schedules are made where they would cost more
    than `PLACEMENTS_MAX`; of a large project only one, by bottom levels. See `affordable`. The same arguments
    give the same schedule. Raises `Impossible` for a circle, a demand above its capacity, or a number that is
    none.
    """
    problem = _whole(durations_ms, demands, capacities, dependencies)
    check(problem)
    bound = lower_bound(problem, durations_ms)
    packed = Packed(problem)
    lengths = [durations_ms[j] for j in packed.order]

    def dispatched(order: Sequence[int]) -> Schedule:
        return scheduled(packed.in_places(parallel(packed, packed.forward, order, lengths)))

    def scheduled(starts: list[float]) -> Schedule:
        return Schedule(starts, max(map(add, starts, durations_ms), default=0), bound)

    first = dispatched(by_rule(packed, lengths, "latest_start"))
    schedules = affordable(packed.count, schedules) - 1
    if schedules < 1 or not bound < first.makespan < inf:
        return first
    unit = max(1, first.makespan * packed.width / PROFILE_BITS)
    coarse = Problem(
        # Not 0 for the smallest of floats either, which would be overtaken.
        [ceil(length / unit) or int(length > 0) for length in durations_ms],
        problem.demands,
        problem.capacities,
        problem.successors,
    )
    starts = search(coarse, schedules, seed, stop)
    ranks = [starts[j] for j in packed.order]
    found = (
        first,
        scheduled([start * unit for start in starts]),
        dispatched(sorted(packed.forward.base, key=ranks.__getitem__)),
    )
    return min(found, key=lambda schedule: schedule.makespan)


def affordable(activities: int, schedules: int) -> int:
    """How many schedules are made of a project of this size, if so many are asked for."""
    most = PLACEMENTS_MAX // max(activities, 1)
    return 1 if most < SCHEDULES_LEAST else max(1, min(schedules, most))


def _whole(
    durations: Sequence[float],
    demands: Sequence[Sequence[float]],
    capacities: Sequence[float],
    dependencies: Sequence[Sequence[int]],
) -> Problem:
    """The project in whole amounts, without the resources that can never run short."""
    for number in (*durations, *capacities, *(demand for row in demands for demand in row)):
        if not isfinite(number) or number < 0:
            raise Impossible(f"{number} is not a duration or an amount")
    successors: list[list[int]] = [[] for _ in durations]
    for j, first in enumerate(dependencies):
        for i in first:
            successors[i].append(j)
    columns, whole = [], []
    for r, capacity in enumerate(capacities):
        column = [row[r] for row in demands]
        if capacity >= sum(column) and min(column, default=0) >= 0:
            continue
        if not all(float(amount).is_integer() for amount in (capacity, *column)):
            # Up and down to the safe side, except for what is only the dust of floating point.
            column = [ceil(amount * PARTS - 1e-6) for amount in column]
            capacity = floor(capacity * PARTS + 1e-6)
        amounts = [int(amount) for amount in column]
        common = max(gcd(*amounts), 1)
        columns.append([amount // common for amount in amounts])
        whole.append(int(capacity) // common)
    rows = list(zip(*columns, strict=True)) if columns else [()] * len(durations)
    return Problem([ceil(length) for length in durations], rows, whole, successors)

"""A project: activities with durations, demands on renewable resources, and what must end before what.

The resource-constrained project scheduling problem (RCPSP): find start times, so that no activity starts
before its predecessors ended, no resource is ever demanded above its capacity, and the last activity ends
early.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """Activities are numbered from 0; durations are in any unit of time, demands in those of the capacities.

    `successors[j]` are the activities that may start only when `j` has ended.
    """

    durations: Sequence[int]
    demands: Sequence[Sequence[int]]  # one row an activity, one column a resource
    capacities: Sequence[int]
    successors: Sequence[Sequence[int]]


class Schedule(msgspec.Struct, frozen=True):
    """A start time for each activity, the end of the last one, and what no schedule can be shorter than."""

    starts: list[float]
    makespan: float
    lower_bound: float


class Impossible(ValueError):
    """There is no schedule: a circle of dependencies, a demand above a capacity, or a negative number."""


def topological_order(successors: Sequence[Sequence[int]]) -> list[int]:
    """Predecessors first, else by number of levels above; raises `Impossible` for a circle."""
    missing = [0] * len(successors)
    for after in successors:
        for k in after:
            missing[k] += 1
    order = [j for j, count in enumerate(missing) if not count]
    for j in order:
        for k in successors[j]:
            missing[k] -= 1
            if not missing[k]:
                order.append(k)
    if len(order) < len(successors):
        waiting = next(j for j, count in enumerate(missing) if count)
        raise Impossible(f"activity {waiting} can never start: what it waits for waits in a circle")
    return order


def check(problem: Problem) -> None:
    """Raise `Impossible` for what no schedule can satisfy; circles are found by `topological_order`."""
    for j, (duration, row) in enumerate(zip(problem.durations, problem.demands, strict=True)):
        if duration < 0:
            raise Impossible(f"activity {j} lasts {duration}")
        for r, (demand, capacity) in enumerate(zip(row, problem.capacities, strict=True)):
            if not 0 <= demand <= capacity:
                raise Impossible(f"activity {j} demands {demand} of resource {r}, which has {capacity}")


def critical_path(durations: Sequence[float], successors: Sequence[Sequence[int]]) -> float:
    """The longest chain: no schedule is shorter, whatever the capacities."""
    return max(bottom_levels(durations, successors, topological_order(successors)), default=0)


def bottom_levels(
    durations: Sequence[float], successors: Sequence[Sequence[int]], order: Sequence[int]
) -> list[float]:
    """For each activity the longest chain from its start to the end of the project, itself included."""
    levels: list[float] = [0] * len(durations)
    for j in reversed(order):
        longest: float = 0
        for k in successors[j]:
            if levels[k] > longest:
                longest = levels[k]
        levels[j] = longest + durations[j]
    return levels


def lower_bound(problem: Problem, durations: Sequence[float] | None = None) -> float:
    """The critical path, or the work for the busiest resource at its full capacity: whichever is longer.

    With `durations` in place of the problem's own, which need not be whole then.
    """
    lengths = problem.durations if durations is None else durations
    bound = critical_path(lengths, problem.successors)
    for column, capacity in zip(zip(*problem.demands, strict=True), problem.capacities, strict=False):
        if capacity:
            work = sum(map(mul, column, lengths))
            bound = max(bound, work / capacity if durations else -(-work // capacity))
    return bound


def violation(
    problem: Problem, starts: Sequence[float], durations: Sequence[float] | None = None
) -> str | None:
    """What is wrong with a schedule, in words, or `None` if it is valid; `durations` as in `lower_bound`."""
    lengths = problem.durations if durations is None else durations
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    for j, after in enumerate(problem.successors):
        if starts[j] < 0:
            return f"activity {j} starts at {starts[j]}"
        for k in after:
            if starts[k] < ends[j]:
                return f"activity {k} starts at {starts[k]}, before activity {j} ends at {ends[j]}"
    for r, capacity in enumerate(problem.capacities):
        changes = [
            change
            for j, row in enumerate(problem.demands)
            if row[r] and lengths[j]
            for change in ((starts[j], row[r]), (ends[j], -row[r]))
        ]
        used = 0
        # At the same moment what ends gives back before what starts takes.
        for moment, change in sorted(changes):
            used += change
            if used > capacity:
                return f"at {moment} resource {r} is used {used} times, of {capacity}"
    return None


def valid(problem: Problem, starts: Sequence[float]) -> bool:
    """Whether precedences and capacities hold at every moment."""
    return violation(problem, starts) is None

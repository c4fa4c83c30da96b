"""A project as the integers that generating schedules works on.

The use of all resources in one unit of time is one integer: a field for each resource, each with a guard bit
above it. A field starts at `2**bits - 1 - capacity`, so that using more than the capacity carries into the
guard: one addition and one `&` test all resources at once. The units of time stand one above the other in one
large integer, the profile; so the same two operations test a whole interval, and the highest guard bit that
is set tells how far to go on. Time inside is counted in ticks, bits of the profile: `width` ticks are one
unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from flowrun.core.ahead.problem import Problem, topological_order

T = TypeVar("T")


class Direction:
    """The project as read from its start, or from its end: what comes before and after each activity."""

    __slots__ = ("after", "base", "before", "missing")

    def __init__(self, before: list[list[int]], after: list[list[int]], base: Sequence[int]) -> None:
        self.before = before
        self.after = after
        self.base = base  # all activities, those before first: it decides ties of sorted orders
        self.missing = [len(first) for first in before]


class Packed:
    """A problem with activities renumbered in topological order, and its demands packed."""

    __slots__ = (
        *("backward", "classes", "count", "durations", "forward", "guard", "idle", "needs", "order"),
        *("units", "width"),
    )

    def __init__(self, problem: Problem) -> None:
        self.order = order = topological_order(problem.successors)
        self.count = count = len(order)
        position = [0] * count
        for i, j in enumerate(order):
            position[j] = i
        after = [[position[k] for k in problem.successors[j]] for j in order]
        before: list[list[int]] = [[] for _ in order]
        for i, behind in enumerate(after):
            for k in behind:
                before[k].append(i)
        self.forward = Direction(before, after, range(count))
        self.backward = Direction(after, before, range(count - 1, -1, -1))
        self.durations = [problem.durations[j] for j in order]

        needs = [0] * count
        self.guard = self.idle = self.width = 0
        columns = list(zip(*problem.demands, strict=True))
        for column, capacity in zip(columns, problem.capacities, strict=bool(columns)):
            shift, bits = self.width, capacity.bit_length()
            needs = [need | (demand << shift) for need, demand in zip(needs, column, strict=True)]
            self.guard |= 1 << (shift + bits)
            self.idle |= ((1 << bits) - 1 - capacity) << shift
            self.width += bits + 1
        self.width = max(self.width, 1)
        self.needs = [needs[j] for j in order]
        # Activities of one class have the same demands: where one does not fit, no other of it does.
        numbers: dict[int, int] = {}
        self.classes = [numbers.setdefault(need, len(numbers)) for need in self.needs]
        self.units: Units | None = None

    def in_places(self, values: Sequence[T]) -> list[T]:
        """Values of the activities, in the numbers of the problem."""
        placed = list(values)
        for j, value in zip(self.order, values, strict=True):
            placed[j] = value
        return placed

    def by_unit(self) -> Units:
        """The tables of serial generation, made when first asked for."""
        if self.units is None:
            self.units = Units(self)
        return self.units


class Units:
    """For each activity the integers that test and take the units of time which it covers."""

    __slots__ = ("blocks", "guards", "horizon", "jumps", "masks", "ones", "tests", "ticks")

    def __init__(self, packed: Packed) -> None:
        width, guard, idle = packed.width, packed.guard, packed.idle
        unit = (1 << width) - 1
        self.ticks = [duration * width for duration in packed.durations]
        # Many activities are alike: each integer is made once, and shared.
        ones = {ticks: ((1 << ticks) - 1) // unit for ticks in set(self.ticks)}
        guards = {ticks: guard * one for ticks, one in ones.items()}
        masks = {ticks: (1 << ticks) - 1 for ticks in ones}
        kinds = list(zip(packed.needs, self.ticks, strict=True))
        blocks = {(need, ticks): need * ones[ticks] for need, ticks in set(kinds)}
        tests = {(need, ticks): block + idle * ones[ticks] for (need, ticks), block in blocks.items()}
        self.blocks = [blocks[kind] for kind in kinds]
        self.tests = [tests[kind] for kind in kinds]
        self.guards = [guards[ticks] for ticks in self.ticks]
        self.masks = [masks[ticks] for ticks in self.ticks]
        # From the length of what conflicts to the first tick of the unit after it.
        self.jumps = [-(-bits // width) * width for bits in range(max(self.ticks, default=0) + 1)]
        # A one for each unit of time up to a horizon in ticks, made when a scan is long.
        self.horizon = 0
        self.ones = 0

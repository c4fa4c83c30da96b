"""Forward-backward improvement, also called double justification.

Read a schedule from its end, and put each activity as late as it goes, the last ending first; then the other
way round. Neither pass can make the schedule longer, and either may make it shorter. (Li & Willis 1992, "An
iterative scheduling technique for resource-constrained project scheduling", EJOR 56; Tormos & Lova 2001, "A
competitive heuristic solution technique for resource-constrained project scheduling", Ann. Oper. Res. 102;
Valls, Ballestín & Quintanilla 2005, "Justification and RCPSP: a technique that pays", EJOR 165.)
"""

from __future__ import annotations

from collections.abc import Sequence

from flowrun.core.ahead.generation import serial
from flowrun.core.ahead.packed import Direction, Packed
from flowrun.core.ahead.problem import Problem


def improve(problem: Problem, starts: Sequence[int], rounds: int = 1) -> list[int]:
    """Start times of a schedule that is not longer than the given, valid one; two schedules a round."""
    packed = Packed(problem)
    width = packed.width
    ends = [(starts[j] + problem.durations[j]) * width for j in packed.order]
    for _ in range(rounds):
        ends = justify(packed, packed.forward, justify(packed, packed.backward, ends))
    return packed.in_places(
        [end // width - length for end, length in zip(ends, packed.durations, strict=True)]
    )


def justify(packed: Packed, direction: Direction, ends: Sequence[float]) -> list[int]:
    """The schedule as generated in `direction`, the last ones to end in the other direction first.

    Stable sorting keeps activities of no duration on the right side of their neighbours.
    """
    return serial(packed, direction, sorted(direction.base, key=ends.__getitem__, reverse=True))

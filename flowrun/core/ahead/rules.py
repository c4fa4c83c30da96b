"""One schedule, by a priority rule: what a scheduler does that decides as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flowrun.core.ahead.generation import parallel
from flowrun.core.ahead.packed import Packed
from flowrun.core.ahead.problem import Problem, bottom_levels

Rule = Literal["latest_start", "latest_finish"]


def dispatch(problem: Problem, rule: Rule = "latest_finish") -> list[int]:
    """Start times by the parallel scheme, with the order of a rule.

    Latest start and finish times are those for a deadline of the critical path (LST and LFT of Kolisch 1996,
    "Efficient priority rules for the resource-constrained project scheduling problem", J. Oper. Management
    14). The latest start orders as bottom levels do: first what has the longest chain to the end, itself
    included; it is the better one where many activities follow nobody and nobody follows them.
    """
    packed = Packed(problem)
    lengths = packed.durations
    starts = parallel(packed, packed.forward, by_rule(packed, lengths, rule), lengths)
    return packed.in_places(list(map(int, starts)))


def by_rule(packed: Packed, lengths: Sequence[float], rule: Rule) -> list[int]:
    """The activities in the order of a rule, for these durations; predecessors need not come first."""
    levels = bottom_levels(lengths, packed.forward.after, packed.forward.base)
    order = sorted(packed.forward.base, key=levels.__getitem__, reverse=True)
    if rule == "latest_finish":
        # Of those that may finish equally late the longest first, as the sort is stable.
        behind = [level - length for level, length in zip(levels, lengths, strict=True)]
        order.sort(key=behind.__getitem__, reverse=True)
    return order

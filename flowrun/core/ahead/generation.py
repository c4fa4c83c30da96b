"""Schedule generation schemes: from an order of the activities to a schedule.

Serial: take the activities in order, each at the earliest time that precedence and resources allow; makes
every active schedule, and so an optimal one, for some order. Parallel: go through time, and start at each
moment what is ready and fits, first in order first; makes non-delay schedules, often better and never all of
them. (Kolisch 1996, "Serial and parallel resource-constrained project scheduling methods revisited", EJOR
90.)

Times are counted from that end of the project which the direction reads from.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from flowrun.core.ahead.packed import Direction, Packed

JUMPS_MAX = 8  # of one activity over conflicts, before the whole profile is looked at in one go
BLOCKED_MAX = 32  # ready activities that do not fit, which are looked at before time goes on


def serial(packed: Packed, direction: Direction, order: Sequence[int]) -> list[int]:
    """Ends in ticks. `order` has each activity after those `before` it."""
    units = packed.by_unit()
    before, jumps = direction.before, units.jumps
    ticks, blocks, tests, guards, masks = units.ticks, units.blocks, units.tests, units.guards, units.masks
    ends = [0] * packed.count
    profile = 0
    for j in order:
        t = 0
        for i in before[j]:
            if ends[i] > t:
                t = ends[i]
        rest = profile >> t
        mask, test, guard = masks[j], tests[j], guards[j]
        patience = JUMPS_MAX
        while conflicts := ((rest & mask) + test) & guard:
            jump = jumps[conflicts.bit_length()]
            t += jump
            rest >>= jump
            patience -= 1
            if not patience:
                t += _first_gap(packed, rest, j)
                break
        profile += blocks[j] << t
        ends[j] = t + ticks[j]
    return ends


def parallel(
    packed: Packed, direction: Direction, order: Sequence[int], lengths: Sequence[float]
) -> list[float]:
    """Starts in the unit of `lengths`, which need not be whole. `order` is any: only ready ones start."""
    needs, guard, classes, after = packed.needs, packed.guard, packed.classes, direction.after
    missing = direction.missing.copy()
    rank = [0] * packed.count
    for i, j in enumerate(order):
        rank[j] = i
    starts: list[float] = [0] * packed.count
    used = packed.idle
    now: float = 0
    # Ready ones wait behind the first of their class: a wide graph must not be looked through at every
    # moment.
    first: list[int] = []
    behind: list[list[int]] = [[] for _ in range(packed.count)]
    head = [packed.count] * packed.count
    ready = [rank[j] for j in direction.base if not missing[j]]
    running: list[tuple[float, int]] = []
    while True:
        for r in ready:
            c = classes[order[r]]
            if r < head[c]:
                head[c] = r
                heappush(first, r)
            else:
                heappush(behind[c], r)
        blocked: list[int] = []
        while first and len(blocked) < BLOCKED_MAX:
            r = heappop(first)
            j = order[r]
            use = used + needs[j]
            if use & guard:
                blocked.append(r)
                continue
            used = use
            starts[j] = now
            heappush(running, (now + lengths[j], j))
            c = classes[j]
            if behind[c]:
                head[c] = r = heappop(behind[c])
                heappush(first, r)
            else:
                head[c] = packed.count
        if first:
            for r in blocked:
                heappush(first, r)
        else:
            first = blocked  # popped in order: it is a heap as it is
        if not running:
            return starts
        now = running[0][0]
        ready = []
        while running and running[0][0] == now:
            j = heappop(running)[1]
            used -= needs[j]
            for k in after[j]:
                missing[k] -= 1
                if not missing[k]:
                    ready.append(rank[k])


def _first_gap(packed: Packed, profile: int, j: int) -> int:
    """The first tick from which `j` fits into the profile: all of it at once, in steps that double."""
    units, width = packed.by_unit(), packed.width
    length = -(-profile.bit_length() // width)
    if units.horizon < length * width:
        units.horizon = 2 * length * width
        units.ones = ((1 << units.horizon) - 1) // ((1 << width) - 1)
    ones = units.ones >> (units.horizon - length * width)
    over = profile + (packed.needs[j] + packed.idle) * ones
    taken, guard = 0, packed.guard
    while guard:
        low = guard & -guard
        taken |= (over >> (low.bit_length() - 1)) & ones
        guard ^= low
    covered, duration = 1, packed.durations[j]
    while covered < duration:
        step = min(covered, duration - covered)
        taken |= taken >> step * width
        covered += step
    free = taken ^ ones
    return (free & -free).bit_length() - 1 if free else length * width

"""What other hosts would make of a plan: a row of them, or the smallest that is in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from flowc.plan.model import NOTHING, Plan, Resources
from flowrun.core.bottleneck import Findings, findings
from flowrun.core.model import Capacity, Gpu
from flowrun.core.pool import can_ever_fit
from flowrun.core.timeline import Timeline

Dimension = Literal["gpus", "cpus", "memory"]
DIMENSIONS: tuple[Dimension, ...] = ("gpus", "cpus", "memory")
PAYS = 0.05  # less than this much faster is not worth more of a dimension
_OTHER_GPU = Gpu(0, "GPU", 80 * 1024)  # what is added to a host that has none

_NEVER = 2**62

Play = Callable[[Plan, Capacity], Timeline]


class Point(msgspec.Struct, frozen=True):
    """A host of a sweep: how much of the dimension it has, and what came of it, or why nothing can."""

    amount: float
    findings: Findings | None
    refusal: str = ""


class Sweep(msgspec.Struct, frozen=True):
    """A dimension in several amounts, the rest of the host as given."""

    dimension: Dimension
    points: tuple[Point, ...]

    @property
    def enough(self) -> Point | None:
        """The least after which no larger amount is `PAYS` faster; `None` if the last is still worth it."""
        played = [point for point in self.points if point.findings is not None]
        best = min((_makespan(point) for point in played), default=0)
        for point in played[:-1]:
            if _makespan(point) * (1 - PAYS) <= best:
                return point
        return None


class Reach(msgspec.Struct, frozen=True):
    """The least amounts of dimensions with which a deadline is met, the rest of the host as given."""

    amounts: dict[Dimension, int]
    makespan_ms: int


class Deadline(msgspec.Struct, frozen=True):
    """Whether a deadline can be met, and with what: each of `reaches` is enough, and without any none is.

    `given_ms` is the makespan on the host as given, `unlimited` tells of one on which nothing waits for room.
    """

    deadline_ms: int
    given_ms: int
    reaches: tuple[Reach, ...]
    unlimited: Findings


def with_amount(capacity: Capacity, dimension: Dimension, amount: float) -> Capacity:
    """A host with another amount of a dimension: CPUs, MB of memory, or GPUs of the kinds that it has."""
    match dimension:
        case "cpus":
            return msgspec.structs.replace(capacity, cpus=amount)
        case "memory":
            return msgspec.structs.replace(capacity, memory_mb=int(amount))
        case "gpus":
            kinds = capacity.gpus or (_OTHER_GPU,)
            gpus = (msgspec.structs.replace(kinds[i % len(kinds)], index=i) for i in range(int(amount)))
            return msgspec.structs.replace(capacity, gpus=tuple(gpus))


def sweep(
    plan: Plan, capacity: Capacity, dimension: Dimension, amounts: Sequence[float], play: Play
) -> Sweep:
    """Play a plan on each of the hosts, in the order of the amounts."""
    points = []
    for amount in sorted(set(amounts)):
        host = with_amount(capacity, dimension, amount)
        refusal = unfit(plan, host)
        points.append(Point(amount, None if refusal else findings(play(plan, host)), refusal))
    return Sweep(dimension, tuple(points))


def unfit(plan: Plan, capacity: Capacity) -> str:
    """The first site that a host could never run, and why; empty if it could run all."""
    for site in plan.sites:
        rejected = can_ever_fit(site.needs, capacity)
        if rejected is not None:
            return f"`{site.site}` can never run: {rejected}"
    return ""


def least(plan: Plan, capacity: Capacity, deadline_ms: int, play: Play) -> Deadline:
    """The least GPUs, CPUs, or more of all with which a plan is done in time, by search.

    The host as given must be able to run each node. Of each dimension alone first, the rest as given; if none
    alone is enough, a larger host of the same proportions, cut down where it has more than is of use. More of
    something can make a schedule longer (Graham 1969): what is told is enough, and one less is not.
    """
    gpus = any(site.needs.gpus for site in plan.sites)
    wanted: list[Dimension] = ["gpus", "cpus"] if gpus else ["cpus"]
    given = play(plan, capacity).makespan_ms
    unlimited = play(_without_needs(plan), capacity)
    if unlimited.makespan_ms > deadline_ms:
        return Deadline(deadline_ms, given, (), findings(unlimited))
    search = _Search(plan, play, deadline_ms, _demand(plan, unlimited, capacity))
    reaches = [
        Reach({dimension: amount}, makespan)
        for dimension in wanted
        for amount, makespan in search.least(capacity, dimension)
    ]
    return Deadline(
        deadline_ms, given, tuple(reaches or search.larger(capacity, wanted)), findings(unlimited)
    )


class _Demand(NamedTuple):
    """What a plan holds of a dimension: at most at a time if nothing waits, and over all times how long."""

    peak: int
    work_ms: float


class _Search(NamedTuple):
    """Looks for hosts with which a deadline is met."""

    plan: Plan
    play: Play
    deadline_ms: int
    demand: dict[Dimension, _Demand]

    def least(self, capacity: Capacity, dimension: Dimension) -> list[tuple[int, int]]:
        """The least amount of a dimension that is enough, and its makespan; nothing if none is."""
        for other, demand in self.demand.items():
            if other != dimension and demand.work_ms > _amount(capacity, other) * self.deadline_ms:
                return []  # the work on the others alone takes too long
        return self._first(lambda amount: with_amount(capacity, dimension, amount), dimension)

    def larger(self, capacity: Capacity, wanted: Sequence[Dimension]) -> list[Reach]:
        """A host with more of all, as much more of each, but for what it does not need."""
        first = wanted[0]
        base = _amount(capacity, first) or 1
        most = max(
            math.ceil(d.peak * base / max(1, _amount(capacity, name))) for name, d in self.demand.items()
        )

        def host(amount: int) -> Capacity:
            found = capacity
            for name in DIMENSIONS:
                grown = math.ceil(_amount(capacity, name) * amount / base)
                found = with_amount(found, name, max(grown, amount if name == first else 0))
            return found

        found = self._first(host, first, max(most, self.demand[first].peak))
        if not found:
            return []
        chosen, makespan = host(found[0][0]), found[0][1]
        amounts: dict[Dimension, int] = {first: found[0][0]}
        for dimension in wanted[1:]:
            cut = self.least(chosen, dimension)
            if cut:
                amounts[dimension], makespan = cut[0]
                chosen = with_amount(chosen, dimension, amounts[dimension])
        timeline = self.play(self.plan, chosen)
        held = _demand(self.plan, timeline, chosen)["memory"].peak
        if held > capacity.memory_mb:
            amounts["memory"] = held
        return [Reach(amounts, makespan)]

    def _first(
        self, host: Callable[[int], Capacity], dimension: Dimension, most: int = 0
    ) -> list[tuple[int, int]]:
        """By doubling from what the work alone asks for, then halving the gap."""
        times: dict[int, int] = {}

        def makespan(amount: int) -> int:
            if amount not in times:
                capacity = host(amount)
                refused = unfit(self.plan, capacity)
                times[amount] = _NEVER if refused else self.play(self.plan, capacity).makespan_ms
            return times[amount]

        demand = self.demand[dimension]
        most = max(1, most or demand.peak)
        low = max(
            0, min(most, math.ceil(demand.work_ms / self.deadline_ms)) - 1
        )  # with these it takes longer
        step, high = 1, low + 1
        while makespan(high) > self.deadline_ms:
            if high == most:
                return []
            low, high, step = high, min(most, high + step), 2 * step
        while high - low > 1:
            middle = (low + high) // 2
            if makespan(middle) <= self.deadline_ms:
                high = middle
            else:
                low = middle
        return [(high, makespan(high))]


def _without_needs(plan: Plan) -> Plan:
    """The plan on a host on which nothing ever waits for room."""
    sites = tuple(msgspec.structs.replace(site, needs=NOTHING) for site in plan.sites)
    return msgspec.structs.replace(plan, sites=sites)


def _demand(plan: Plan, timeline: Timeline, capacity: Capacity) -> dict[Dimension, _Demand]:
    """What a schedule asks for. A host with the peaks of one in which nothing waits is as good as any."""
    needs_of = {site.site: site.needs for site in plan.sites}
    largest_mb = max((gpu.memory_mb for gpu in capacity.gpus), default=_OTHER_GPU.memory_mb)
    moments: list[tuple[int, int, Resources]] = []
    work = dict.fromkeys(DIMENSIONS, 0.0)
    for interval in timeline.intervals:
        needs = needs_of[interval.site]
        moments += [(interval.start_ms, 1, needs), (interval.end_ms, -1, needs)]
        own_ms = interval.end_ms - interval.began_ms
        part = min(1.0, needs.gpu_memory_mb / largest_mb) if needs.gpu_memory_mb and largest_mb else 1.0
        work["cpus"] += own_ms * needs.cpus
        work["memory"] += own_ms * needs.memory_mb
        work["gpus"] += own_ms * needs.gpus * part
    held, peak = dict.fromkeys(DIMENSIONS, 0.0), dict.fromkeys(DIMENSIONS, 0.0)
    for _, sign, needs in sorted(moments, key=lambda moment: moment[:2]):
        held["cpus"] += sign * needs.cpus
        held["memory"] += sign * needs.memory_mb
        held["gpus"] += sign * max(needs.gpus, needs.gpus_max)
        for name in DIMENSIONS:
            peak[name] = max(peak[name], held[name])
    return {name: _Demand(math.ceil(peak[name]), work[name]) for name in DIMENSIONS}


def _amount(capacity: Capacity, dimension: Dimension) -> float:
    amounts = {"cpus": capacity.cpus, "memory": capacity.memory_mb, "gpus": len(capacity.gpus)}
    return amounts[dimension]


def _makespan(point: Point) -> int:
    return point.findings.makespan_ms if point.findings else 0

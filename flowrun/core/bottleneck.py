"""What a run's time went into: how much of the host was held, what nodes waited for, the chain that decided.

The makespan is taken apart along the **chain**: back from the last node to end, to the one that it waited for
last, and so on to the opening of the run. Between two of them a node was ready, started and ran; what it
waited for in between is known, so the parts sum up to the makespan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Placement
from flowrun.core.timeline import Timeline

_DUST = 1e-9


class Link(NamedTuple):
    """A node of the chain, by its interval's number, and when it had all that it waited for."""

    interval: int
    ready_ms: int


class Findings(msgspec.Struct, frozen=True):
    """What is to be said of a timeline. Times are milliseconds.

    `use` is the share of each dimension that was held, over the whole time; `gpu_use` that of each GPU.
    `held_back` is for how long some node was ready and lacked a dimension. `parts` are what the chain's time
    went into: `running`, `starting`, a dimension that was waited for (of several: GPUs, CPUs), or `order`
    if that was none.
    """

    makespan_ms: int
    longest_path_ms: int
    work_ms: dict[str, float]
    use: dict[str, float]
    gpu_use: tuple[float, ...]
    held_back: dict[str, int]
    chain: tuple[str, ...]
    parts: dict[str, int]

    @property
    def bound_ms(self) -> float:
        """No schedule is shorter: the longest path, or the work of a dimension over what there is of it."""
        return max([self.longest_path_ms, *self.work_ms.values()])


def findings(timeline: Timeline) -> Findings:
    """Look a schedule over."""
    ready, chain = _ready(timeline), list(_chain(timeline))
    held_back, parts = _waits(timeline, ready, chain)
    for link in chain:
        interval = timeline.intervals[link.interval]
        parts["starting"] = parts.get("starting", 0) + interval.began_ms - interval.start_ms
        parts["running"] = parts.get("running", 0) + interval.end_ms - interval.began_ms
    work, held = held_ms(timeline, own=True), held_ms(timeline, own=False)
    span = max(1, timeline.makespan_ms)
    return Findings(
        timeline.makespan_ms,
        _longest_path(timeline),
        work,
        {name: amount / span for name, amount in held.items()},
        tuple(amount / span for amount in _by_gpu(timeline)),
        held_back,
        tuple(timeline.intervals[link.interval].node for link in chain),
        {name: amount for name, amount in parts.items() if amount},
    )


def gpu_share(placement: Placement, capacity: Capacity) -> float:
    """How much of a GPU a node holds, on each of its GPUs: all, or its part of the largest's memory."""
    most = max((gpu.memory_mb for gpu in capacity.gpus), default=0)
    return min(1.0, placement.gpu_memory_mb / most) if placement.gpu_memory_mb and most else 1.0


def held_ms(timeline: Timeline, own: bool) -> dict[str, float]:
    """For each dimension of the host, what was held times how long, over what there is: milliseconds."""
    capacity = timeline.capacity
    cpus = memory = gpus = 0.0
    for interval in timeline.intervals:
        placement = interval.placement
        took = interval.end_ms - (interval.began_ms if own else interval.start_ms)
        cpus += took * placement.cpus
        memory += took * placement.memory_mb
        if placement.gpus:
            gpus += took * len(placement.gpus) * gpu_share(placement, capacity)
    found = {"cpus": cpus / capacity.cpus, "memory": memory / capacity.memory_mb}
    return found | ({"gpus": gpus / len(capacity.gpus)} if capacity.gpus else {})


def _by_gpu(timeline: Timeline) -> list[float]:
    held = {gpu.index: 0.0 for gpu in timeline.capacity.gpus}
    for interval in timeline.intervals:
        for index in interval.placement.gpus:
            share = gpu_share(interval.placement, timeline.capacity)
            held[index] = held.get(index, 0.0) + share * (interval.end_ms - interval.start_ms)
    return list(held.values())


def _ends(timeline: Timeline) -> list[int]:
    """When each step was over."""
    ends: list[int] = []
    for step in timeline.steps:
        over = max([ends[i] for i in step.preds], default=0)
        ends.append(timeline.intervals[step.interval].end_ms if step.interval >= 0 else over)
    return ends


def _ready(timeline: Timeline) -> list[int]:
    """When each interval's node had all that it waited for."""
    ends = _ends(timeline)
    ready = [interval.start_ms for interval in timeline.intervals]
    for step in timeline.steps:
        if step.interval >= 0:
            at = max([ends[i] for i in step.preds], default=0)
            ready[step.interval] = min(at, ready[step.interval])
    return ready


def _longest_path(timeline: Timeline) -> int:
    """The longest that nodes which wait for each other took in their own processes."""
    reached: list[int] = []
    for step in timeline.steps:
        own = 0
        if step.interval >= 0:
            interval = timeline.intervals[step.interval]
            own = interval.end_ms - interval.began_ms
        reached.append(own + max([reached[i] for i in step.preds], default=0))
    return max(reached, default=0)


def _chain(timeline: Timeline) -> Sequence[Link]:
    """The nodes that decided when the run was over, first to last."""
    ends, steps = _ends(timeline), timeline.steps
    own = [i for i, step in enumerate(steps) if step.interval >= 0]
    at = max(own, key=lambda i: (ends[i], -i), default=None)
    found: list[Link] = []
    while at is not None:
        last = max(steps[at].preds, key=lambda i: (ends[i], -i), default=None)
        if steps[at].interval >= 0:
            interval = timeline.intervals[steps[at].interval]
            found.append(Link(steps[at].interval, min(interval.start_ms, 0 if last is None else ends[last])))
        at = last
    return found[::-1]


def _waits(
    timeline: Timeline, ready: Sequence[int], chain: Sequence[Link]
) -> tuple[dict[str, int], dict[str, int]]:
    """How long each dimension held some node back; and what the chain's nodes waited for, when ready."""
    held_back: dict[str, int] = {}
    lacked: dict[Resources, dict[str, int]] = {}  # by what was needed and waited for, since the beginning
    waiting: dict[Resources, int] = {}
    linked = {link.interval for link in chain}
    before: dict[int, dict[str, int]] = {}
    parts: dict[str, int] = {}
    room = _Room(timeline.capacity)
    now = 0
    for at, kind, number in _moments(timeline, ready):
        if at > now:
            for needs in waiting:
                times = lacked.setdefault(needs, {})
                name = room.lacks(needs)[0]
                times[name] = times.get(name, 0) + at - now
            for name in {name for needs in waiting for name in room.lacks(needs)}:
                held_back[name] = held_back.get(name, 0) + at - now
            now = at
        interval = timeline.intervals[number]
        if kind == _END:
            room.give_back(interval.placement)
        elif kind == _READY:
            waiting[interval.needs] = waiting.get(interval.needs, 0) + 1
            if number in linked:
                before[number] = dict(lacked.get(interval.needs, {}))
        else:
            waiting[interval.needs] -= 1
            if not waiting[interval.needs]:
                del waiting[interval.needs]
            room.take(interval.placement)
            if number in linked:
                for name, took in lacked.get(interval.needs, {}).items():
                    parts[name] = parts.get(name, 0) + took - before[number].get(name, 0)
    return held_back, parts


_END, _READY, _START = range(3)


def _moments(timeline: Timeline, ready: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """All that happens to intervals, in order: what ends, then what is ready, then what starts."""
    moments = []
    for i, interval in enumerate(timeline.intervals):
        moments.append((ready[i], _READY, i))
        moments.append((interval.start_ms, _START, i))
        # What takes no time is over after it began.
        moments.append((interval.end_ms + (interval.end_ms == interval.start_ms), _END, i))
    return iter(sorted(moments))


class _Room:
    """What is free of a host."""

    def __init__(self, capacity: Capacity) -> None:
        self.cpus = capacity.cpus
        self.memory_mb = capacity.memory_mb
        self._whole = {gpu.index: gpu.memory_mb for gpu in capacity.gpus}
        self._memory = dict(self._whole)
        self._holders = dict.fromkeys(self._whole, 0)

    def lacks(self, needs: Resources) -> list[str]:
        """The dimensions that a node waits for, the scarcest kind first; `order` if it would fit."""
        found = []
        if needs.gpus and needs.gpus > sum(self._suits(index, needs) for index in self._whole):
            found.append("gpus")
        if needs.cpus > self.cpus + _DUST:
            found.append("cpus")
        if needs.memory_mb > self.memory_mb:
            found.append("memory")
        return found or ["order"]

    def _suits(self, index: int, needs: Resources) -> bool:
        if needs.gpu_memory_mb:
            return self._memory[index] >= needs.gpu_memory_mb
        return not self._holders[index]

    def take(self, placement: Placement) -> None:
        self._add(placement, -1)

    def give_back(self, placement: Placement) -> None:
        self._add(placement, +1)

    def _add(self, placement: Placement, sign: int) -> None:
        self.cpus += sign * placement.cpus
        self.memory_mb += sign * placement.memory_mb
        for index in placement.gpus:
            self._memory[index] += sign * (placement.gpu_memory_mb or self._whole[index])
            self._holders[index] -= sign

"""A run as a trace: what ran on which track, what waited, what came of what, and how counters went."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flowc.plan.model import sources_of
from flowrun.core.changes import AnyChange, Exited, Logged, Opened, Start
from flowrun.core.control import flat
from flowrun.core.model import Artifact, Failure, Placement, Usage
from flowrun.core.state import State


class Slice(msgspec.Struct):
    """An attempt of a node: `end_ms` is that of the last change if it is not over.

    `slot` counts the attempts that run side by side, `lanes` those that share a GPU, by its index; one that
    has ended leaves its slot to the next.
    """

    node: str
    site: str
    op: str
    attempt: int
    ready_ms: int
    start_ms: int
    slot: int
    placement: Placement
    lanes: dict[int, int]
    end_ms: int = 0
    own_ms: int = 0  # of which its own process ran; 0 if it did not tell
    usage: Usage = Usage()
    artifact: Artifact | None = None
    failure: Failure | None = None
    over: bool = False


class Moment(msgspec.Struct, frozen=True):
    """How much ran, waited and was held from a time on."""

    at_ms: int
    running: int
    ready: int
    cpus: float
    memory_mb: int


class Trace(msgspec.Struct, frozen=True):
    """All executions of a run. `flows` are pairs of slices: the second needs what the first gave."""

    slices: list[Slice]
    flows: list[tuple[int, int]]
    moments: list[Moment]
    logged: list[Logged]
    begin_ms: int
    end_ms: int


def trace(executions: Iterable[tuple[State, Iterable[AnyChange]]]) -> Trace:
    """Read from the states that executions were opened with, which this plays, and from their changes."""
    slices: list[Slice] = []
    flows: list[tuple[int, int]] = []
    moments: list[Moment] = []
    logged: list[Logged] = []
    begin = end = 0
    for state, changes in executions:
        open_at: dict[tuple[str, int], int] = {}
        last: dict[str, int] = {}  # of a node, its last slice
        slots, shares = _Slots(), defaultdict[int, _Slots](_Slots)
        for change in changes:
            at = int(getattr(change, "at_ms", end))
            match change:
                case Opened():
                    begin = min(begin or at, at)
                case Start():
                    task = state.by_id[change.node]
                    open_at[change.node, change.attempt] = len(slices)
                    last[change.node] = len(slices)
                    slices.append(
                        Slice(
                            change.node,
                            task.site.site,
                            task.site.op,
                            change.attempt,
                            min(task.ready_at_ms or at, at),
                            at,
                            slots.take(),
                            change.placement,
                            {gpu: shares[gpu].take() for gpu in change.placement.gpus},
                        )
                    )
                case Exited():
                    number = open_at.pop((change.node, change.attempt), None)
                    if number is not None:
                        _close(slices[number], change)
                        slots.give(slices[number].slot)
                        for gpu, lane in slices[number].lanes.items():
                            shares[gpu].give(lane)
                case Logged(attempt=attempt) if attempt:  # what came with a result was logged another time
                    logged.append(change)
            state.apply(change)
            end = max(end, at)
            moment = _moment(state, at)
            if not moments or moments[-1] != msgspec.structs.replace(moment, at_ms=moments[-1].at_ms):
                moments.append(moment)
        for number in open_at.values():
            slices[number].end_ms = end
        flows += _flows(state, last)
    return Trace(slices, flows, moments, logged, begin, end)


def _close(ran: Slice, exited: Exited) -> None:
    ran.end_ms, ran.over = max(exited.at_ms, ran.start_ms), True
    ran.usage, ran.artifact, ran.failure = exited.usage, exited.artifact, exited.failure
    ran.own_ms = min(exited.usage.wall_ms, ran.end_ms - ran.start_ms)


def _moment(state: State, at_ms: int) -> Moment:
    placements = [task.placement for task in state.running.values() if task.placement is not None]
    ready = len(state.scheduler.queue)
    held = sum(placement.cpus for placement in placements)
    return Moment(at_ms, len(placements), ready, held, sum(placement.memory_mb for placement in placements))


def _flows(state: State, last: Mapping[str, int]) -> list[tuple[int, int]]:
    """What came of what, for the nodes that ran. What a control node came to stands for it."""
    flows = []
    for task in state.tasks:
        to = last.get(task.node.id)
        if to is None:
            continue
        sources: dict[str, None] = {}
        for tree in task.node.args.values():
            sources |= dict.fromkeys(sources_of(_resolved(tree, state.results)))
        flows += [(last[source], to) for source in (*sources, *task.node.after) if source in last]
    return flows


def _resolved(tree: Any, results: Mapping[str, Any]) -> Any:
    return flat(tree, results) if results else tree


class _Slots:
    """Gives out the least number that is free."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._made = 0

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._made += 1
        return self._made - 1

    def give(self, slot: int) -> None:
        heapq.heappush(self._free, slot)

"""When what ran on what: of a run that was, or of one that was simulated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from flowc.plan.graph import waited_for
from flowc.plan.model import Resources, sources_of
from flowrun.core.model import Capacity, Placement
from flowrun.core.state import State
from flowrun.core.task import Task


class Interval(msgspec.Struct, frozen=True):
    """A node's last attempt: from `start_ms` it held its `placement`, from `began_ms` its own process ran.

    Times are milliseconds since the run was opened.
    """

    node: str
    site: str
    start_ms: int
    began_ms: int
    end_ms: int
    placement: Placement
    needs: Resources


class Step(msgspec.Struct, frozen=True):
    """What others wait for: an `interval` (its number), or a moment (-1). `preds` are earlier steps."""

    interval: int
    preds: Sequence[int]


class Timeline(msgspec.Struct, frozen=True):
    """What ran, by its start, on a host, and in `steps`, each after its `preds`, what waited for what."""

    name: str
    capacity: Capacity
    makespan_ms: int
    intervals: Sequence[Interval]
    steps: Sequence[Step] = ()


def timeline_of(state: State, capacity: Capacity, now_ms: int = 0) -> Timeline:
    """What ran in a run since it was last opened; of one that is not over, until `now_ms`."""
    opened = state.opened_ms
    ended = (state.ended_ms or max(now_ms, opened)) - opened
    ran = [task for task in state.tasks if task.attempt and task.placement is not None and not task.kept]
    ran.sort(key=lambda task: (task.started_ms, task.index))
    number = {task.index: i for i, task in enumerate(ran)}
    intervals = [_interval(task, opened, ended) for task in ran]
    return Timeline(state.plan.header.name, capacity, ended, intervals, list(_steps(state, number)))


def _interval(task: Task, opened: int, ended: int) -> Interval:
    assert task.placement is not None
    start = task.started_ms - opened
    end = ended if task.state == "running" else max(start, task.ended_ms - opened)
    own = task.usage.wall_ms if task.state != "running" else 0
    began = max(start, end - own) if own else start
    return Interval(task.node.id, task.site.site, start, began, end, task.placement, task.site.needs)


def _steps(state: State, number: Mapping[int, int]) -> Iterator[Step]:
    """The steps of a run. A loop is two moments: when its nodes are known, and when all of them are done."""
    parts: dict[int, list[Task]] = {}
    for task in state.tasks[len(state.plan.nodes) :]:
        loop = state.by_id[task.node.id[: task.node.id.rindex("[")]]
        parts.setdefault(loop.index, []).append(task)
    step_of: dict[str, int] = {}
    made = 0
    for task in state.tasks[: len(state.plan.nodes)]:
        opening = made
        yield Step(number.get(task.index, -1), [step_of[source] for source in waited_for(task.node)])
        made += 1
        for part in parts.get(task.index, ()):
            refs = {source for tree in part.node.args.values() for source in sources_of(tree)}
            yield Step(number.get(part.index, -1), [opening, *(step_of[source] for source in refs)])
            step_of[part.node.id] = made
            made += 1
        if task.index in parts:
            yield Step(-1, [opening, *(step_of[source] for source in sources_of(task.result))])
            made += 1
        step_of[task.node.id] = made - 1

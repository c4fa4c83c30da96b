"""When a schedule computed ahead pays, and what comes of it: the order in which a run's nodes are to start.

Before the run begins, and again when durations turn out other than they were planned with. The order counts
as the nodes' priorities; when a node does start, the scheduler decides by what is free at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import mul

from flowrun.core.changes import Reorder
from flowrun.core.state import State
from flowrun.core.task import Task

_LEAST_NODES, MOST_NODES = 3, 2_000
EFFORT = 0.01  # of the run's expected length may be spent on planning it
PLACEMENT_MS = 0.003  # what it costs to place one node in one schedule
LEAST_MS, MOST_MS = 20, 100  # that planning may take; less than that takes loading what plans
DRIFT = 0.15  # of the expected length by which calls may differ from what was planned, in all
_TO_COME = ("pending", "ready", "running")


def foresee(state: State, now_ms: int) -> Reorder | None:
    """The order of what is left of a run, or none where it does not pay.

    It pays where more could run than fits, where enough is known of how long calls take, and where the run is
    long enough for the planning to be small beside it.
    """
    if state.shared is not None and not state.shared.alone:  # with others, who come and go
        return None
    tasks = [task for task in state.tasks if task.state in _TO_COME]
    durations = [_expected_ms(state, task, now_ms) for task in tasks]
    if not _LEAST_NODES <= len(tasks) <= MOST_NODES or min(durations) < 0:
        return None
    gpu_memory_mb = min((gpu.memory_mb for gpu in state.capacity.gpus), default=0)
    host = state.capacity
    named = dict(host.resources)
    capacities = (host.cpus, host.memory_mb, len(host.gpus), *named.values())
    demands = [_demand(task, gpu_memory_mb, named) for task in tasks]
    if any(need > amount for demand in demands for need, amount in zip(demand, capacities, strict=True)):
        return None  # something can never start, and what waits for it neither
    work_ms = max(
        sum(map(mul, durations, column)) / amount
        for amount, column in zip(capacities, zip(*demands, strict=True), strict=True)
        if amount
    )
    effort_ms = min(work_ms * EFFORT, MOST_MS)
    schedules = int(effort_ms / (PLACEMENT_MS * len(tasks)))
    if effort_ms < LEAST_MS or schedules < 2:
        return None
    # Loaded by runs that are long enough for it.
    from flowrun.core.ahead.plan import plan_ahead

    found = plan_ahead(durations, demands, capacities, _dependencies(state, tasks), schedules=schedules)
    starts = {task.node.id: round(start) for task, start in zip(tasks, found.starts, strict=True)}
    return Reorder(now_ms, starts, round(found.makespan))


def foresee_again(state: State, now_ms: int) -> Reorder | None:
    """A new order, if calls took so much longer or shorter than planned that the old one may be wrong."""
    if state.expected.order is None or state.expected.drift_ms <= DRIFT * state.expected.order.makespan_ms:
        return None
    return foresee(state, now_ms) or Reorder(now_ms)


def _expected_ms(state: State, task: Task, now_ms: int) -> int:
    """What is left of a task; -1 if nobody knows."""
    if task.site.control != "none":
        return 0
    expected_ms = state.expected.ms(task.site)
    if not expected_ms:
        return -1
    return max(1, expected_ms - (now_ms - task.started_ms)) if task.state == "running" else expected_ms


def _demand(task: Task, gpu_memory_mb: int, named: Iterable[str]) -> list[float]:
    if task.site.control != "none":
        return [0, 0, 0, *(0 for _ in named)]
    needs = task.needs
    part = min(1, needs.gpu_memory_mb / gpu_memory_mb) if needs.gpu_memory_mb and gpu_memory_mb else 1
    uses = dict(needs.uses)
    return [needs.cpus, needs.memory_mb, needs.gpus * part, *(uses.get(name, 0) for name in named)]


def _dependencies(state: State, tasks: list[Task]) -> list[list[int]]:
    number = {task.index: j for j, task in enumerate(tasks)}
    found: list[list[int]] = [[] for _ in tasks]
    for j, task in enumerate(tasks):
        for after in state.dependents[task.index]:
            if after in number:
                found[number[after]].append(j)
    return found

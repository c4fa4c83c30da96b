"""The state of a run, and what each change does to it."""

from __future__ import annotations

import heapq
from collections.abc import Container, Mapping
from typing import assert_never

import msgspec

from flowc.plan.graph import bottom_levels, dependencies, dependents
from flowc.plan.model import Node, Plan, Resources, Site
from flowrun.core.changes import (
    AnyChange,
    Block,
    Cancel,
    CancelRequested,
    Exited,
    Fail,
    Finish,
    Kill,
    Opened,
    Retry,
    Start,
    Woke,
)
from flowrun.core.keys import node_keys
from flowrun.core.model import Artifact, Failure, Inputs, Placement, RunStatus, TaskState, Usage
from flowrun.core.policy import Free


class Task(msgspec.Struct):
    """A node in a run. `attempt` counts from 1; `failures` and `losses` are those so far."""

    index: int
    node: Node
    site: Site
    priority: float
    missing: int  # dependencies that are not done
    state: TaskState = "pending"
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    ready_at_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    placement: Placement | None = None
    kill: Kill | None = None
    artifact: Artifact | None = None
    failure: Failure | None = None
    usage: Usage = Usage()
    blocked_by: str = ""
    kept: bool = False  # done in an earlier execution of the run


class State:
    """A run as it stands. Changed only by `apply`."""

    def __init__(self, plan: Plan, inputs: Inputs, versions: Mapping[str, str] | None = None) -> None:
        self.plan = plan
        self.inputs = inputs
        self.status: RunStatus = "running"
        self.cancelling = 0
        self.opened_ms = 0
        self.ended_ms = 0
        self.keys = node_keys(plan, inputs, versions)
        sites = {site.site: site for site in plan.sites}
        depends_on = dependencies(plan.nodes)
        self.dependents = dependents(depends_on)
        # Without measured times, every node counts the same: the longest chain of nodes goes first.
        priorities = bottom_levels(depends_on, [1.0] * len(plan.nodes))
        self.tasks = [
            Task(i, node, sites[node.site], priorities[i], len(depends_on[i]))
            for i, node in enumerate(plan.nodes)
        ]
        self.by_id = {task.node.id: task for task in self.tasks}
        self.running: dict[str, Task] = {}
        self.unfinished = len(self.tasks)
        self.free: Free | None = None
        # Ready tasks by what they need: when one does not fit, none of its kind does. Each kind is a heap of
        # (-priority, index), in which tasks that are no longer ready lie until they come to the top.
        self._ready: dict[Resources, list[tuple[float, int]]] = {}
        self._waiting: list[tuple[int, int]] = []  # heap of (ready_at_ms, index) between attempts
        for task in self.tasks:
            if task.missing == 0:
                self._make_ready(task)

    def most_urgent(self, except_for: Container[Resources]) -> Task | None:
        """The ready task that goes first, among those whose needs are not in `except_for`."""
        heads = []
        for needs, heap in self._ready.items():
            while heap and self.tasks[heap[0][1]].state != "ready":
                heapq.heappop(heap)
            if heap and needs not in except_for:
                heads.append(heap[0])
        return self.tasks[min(heads)[1]] if heads else None

    def due(self, now_ms: int) -> list[Task]:
        """Running tasks whose time limit, or whose grace after a gentle kill, is over."""
        return [task for task in self.running.values() if 0 < self._deadline(task) <= now_ms]

    def next_wake_ms(self) -> int | None:
        """The next moment at which something happens by time alone."""
        moments = [deadline for task in self.running.values() if (deadline := self._deadline(task))]
        moments += [at for at, i in self._waiting[:1]]
        return min(moments, default=None)

    @staticmethod
    def _deadline(task: Task) -> int:
        if task.kill is not None:
            return 0 if task.kill.force else task.kill.at_ms + GRACE_MS
        return task.started_ms + task.site.timeout_ms if task.site.timeout_ms else 0

    def apply(self, change: AnyChange) -> None:
        """Bring the state up to date with a change."""
        match change:
            case Opened():
                self.opened_ms = change.at_ms
                self.free = Free(change.capacity)
                for node_id, earlier in change.earlier.items():
                    task = self.by_id[node_id]
                    task.attempt = earlier.attempt
                    if earlier.artifact is not None:
                        task.kept, task.usage = True, earlier.usage
                        task.started_ms, task.ended_ms = earlier.started_ms, earlier.ended_ms
                        self._succeed(task, earlier.artifact)
            case Woke(at_ms=now):
                while self._waiting and self._waiting[0][0] <= now:
                    task = self.tasks[heapq.heappop(self._waiting)[1]]
                    if task.state == "pending":
                        self._make_ready(task)
            case CancelRequested():
                self.cancelling += 1
            case Start():
                task = self.by_id[change.node]
                task.state, task.attempt, task.started_ms = "running", change.attempt, change.at_ms
                task.placement, task.kill = change.placement, None
                self.running[change.node] = task
                assert self.free is not None
                self.free.take(change.placement)
            case Exited():
                self._exit(self.by_id[change.node], change)
            case Kill():
                self.by_id[change.node].kill = change
            case Retry():
                task = self.by_id[change.node]
                task.losses += change.lost
                task.failures += not change.lost
                task.ready_at_ms = change.ready_at_ms
                if change.ready_at_ms <= change.at_ms:
                    self._make_ready(task)
                else:
                    heapq.heappush(self._waiting, (change.ready_at_ms, task.index))
            case Fail(node=node_id):
                self._end(self.by_id[node_id], "failed")
            case Block(node=node_id, by=by):
                self.by_id[node_id].blocked_by = by
                self._end(self.by_id[node_id], "blocked")
            case Cancel(node=node_id):
                self._end(self.by_id[node_id], "cancelled")
            case Finish():
                self.status, self.ended_ms = change.status, change.at_ms
            case _:
                assert_never(change)

    def _exit(self, task: Task, exited: Exited) -> None:
        assert self.free is not None
        assert task.placement is not None
        self.free.give_back(task.placement)
        del self.running[task.node.id]
        task.state, task.ended_ms, task.usage, task.failure = (
            "pending",
            exited.at_ms,
            exited.usage,
            exited.failure,
        )
        if exited.artifact is not None:
            self._succeed(task, exited.artifact)

    def _succeed(self, task: Task, artifact: Artifact) -> None:
        task.artifact = artifact
        self._end(task, "succeeded")
        for index in self.dependents[task.index]:
            dependent = self.tasks[index]
            dependent.missing -= 1
            if dependent.missing == 0 and dependent.state == "pending":
                self._make_ready(dependent)

    def _end(self, task: Task, state: TaskState) -> None:
        task.state = state
        self.unfinished -= 1

    def _make_ready(self, task: Task) -> None:
        task.state = "ready"
        heapq.heappush(self._ready.setdefault(task.site.needs, []), (-task.priority, task.index))


GRACE_MS = 5000  # between asking a process to end and ending it

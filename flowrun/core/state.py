"""The state of a run, and what each change does to it."""

from __future__ import annotations

import heapq
from collections.abc import Container, Mapping
from typing import Any, Literal, NamedTuple, assert_never

import msgspec

from flowc.plan.graph import bottom_levels, dependencies, dependents, weights
from flowc.plan.model import Node, Plan, Resources, Site, sources_of
from flowc.plan.types import parse
from flowrun.core.changes import (
    AnyChange,
    Block,
    Cancel,
    CancelRequested,
    Earlier,
    Exited,
    Fail,
    Finish,
    Kill,
    Opened,
    Resolve,
    Resolved,
    Retry,
    Skip,
    Start,
    Woke,
)
from flowrun.core.control import flat, unfold
from flowrun.core.keys import key_of, node_keys, versions_by_operator
from flowrun.core.model import Artifact, Failure, Inputs, Placement, RunStatus, TaskState, Usage
from flowrun.core.policy import Free


class Task(msgspec.Struct):
    """A node in a run. `attempt` counts from 1; `failures` and `losses` are those so far.

    `alarmed`: one of the nodes that it waits for to be over did not succeed. `result` is the argument tree
    that a control node came to.
    """

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
    result: Any = None
    alarmed: bool = False
    blocked_by: str = ""
    kept: bool = False  # done in an earlier execution of the run


class Doomed(NamedTuple):
    """A task that is not going to run, for the sake of another one."""

    number: int
    how: Literal["blocked", "skipped"]
    by: str


class State:
    """A run as it stands. Changed only by `apply`.

    `doomed` (a heap) and `unresolved` are tasks about which a decision is due.
    """

    def __init__(self, plan: Plan, inputs: Inputs, versions: Mapping[str, str] | None = None) -> None:
        self.plan = plan
        self.inputs = inputs
        self.status: RunStatus = "running"
        self.cancelling = 0
        self.opened_ms = 0
        self.ended_ms = 0
        self.doomed: list[Doomed] = []
        self.unresolved: list[Task] = []
        self.results: dict[str, Any] = {}  # of control nodes: the argument trees that they came to
        self._versions = versions_by_operator(plan, versions or {})
        self.keys = node_keys(plan, inputs, versions)
        self._earlier: dict[str, Earlier] = {}  # of nodes that are not there yet
        sites = {site.site: site for site in plan.sites}
        depends_on = dependencies(plan.nodes)
        self.dependents = dependents(depends_on)
        # What is on the longest way to the end goes first: in time, as far as the plan knows times.
        priorities = bottom_levels(depends_on, weights(plan))
        self.tasks = [
            Task(i, node, sites[node.site], priorities[i], len(depends_on[i]))
            for i, node in enumerate(plan.nodes)
        ]
        self.by_id = {task.node.id: task for task in self.tasks}
        self.running: dict[str, Task] = {}
        self.unfinished = len(self.tasks)
        self.free: Free | None = None
        # Ready tasks by what they need: when one does not fit, none of its kind does. Each kind is a heap of
        # (-declared priority, -priority, index), in which tasks that are no longer ready lie until they come
        # to the top.
        self._ready: dict[Resources, list[tuple[int, float, int]]] = {}
        self._waiting: list[tuple[int, int]] = []  # heap of (ready_at_ms, index) between attempts
        for task in self.tasks:
            if task.missing == 0:
                self._make_ready(task)

    def most_urgent(self, except_for: Container[Resources]) -> Task | None:
        """The ready task that goes first, among those whose needs are not in `except_for`."""
        heads = []
        for needs, heap in self._ready.items():
            while heap and self.tasks[heap[0][-1]].state != "ready":
                heapq.heappop(heap)
            if heap and needs not in except_for:
                heads.append(heap[0])
        return self.tasks[min(heads)[-1]] if heads else None

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
                    if node_id in self.by_id:
                        self._remember(self.by_id[node_id], earlier)
                    else:
                        self._earlier[node_id] = earlier
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
            case Resolve():
                task = self.by_id[change.node]
                task.state, task.started_ms = "running", change.at_ms
            case Resolved():
                self._resolve(self.by_id[change.node], change)
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
            case Skip(node=node_id, by=by):
                self.by_id[node_id].blocked_by = by
                self._end(self.by_id[node_id], "skipped")
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

    def _remember(self, task: Task, earlier: Earlier) -> None:
        """What a task did before the run was resumed."""
        task.attempt = earlier.attempt
        if earlier.artifact is not None:
            task.kept, task.usage = True, earlier.usage
            task.started_ms, task.ended_ms = earlier.started_ms, earlier.ended_ms
            self._succeed(task, earlier.artifact)

    def _succeed(self, task: Task, artifact: Artifact | None) -> None:
        task.artifact = artifact
        self._end(task, "succeeded")

    def _resolve(self, task: Task, known: Resolved) -> None:
        """A branch is decided, a loop has its nodes; or neither is possible."""
        task.failure = known.failure
        if known.failure is not None:
            return
        if task.site.control == "branch":
            self._conclude(task, known.truth, known.at_ms)
            return
        args = {name: flat(tree, self.results) for name, tree in task.node.args.items()}
        nodes, result = unfold(task.node, task.site.control, task.site.each, args, known.names)
        if not nodes:
            self._conclude(task, result, known.at_ms)
            return
        task.result, task.missing = result, 0
        # Of a map, `gives` is the list: what one call gives is inside of it.
        of = parse(task.site.gives)
        one = str(of.args[0]) if task.site.control == "map" and of.args else task.site.gives
        plain = msgspec.structs.replace(task.site, control="none", gives=one)
        made = [self._add(node, plain, task.priority) for node in nodes]
        for child in made:
            for source in {ref for tree in child.node.args.values() for ref in sources_of(tree)}:
                if self.by_id[source].index >= made[0].index:
                    self.dependents[self.by_id[source].index].append(child.index)
                    child.missing += 1
        for ref in dict.fromkeys(sources_of(result)):
            self.dependents[self.by_id[ref].index].append(task.index)
            task.missing += 1
        for child in made:
            earlier = self._earlier.pop(child.node.id, None)
            if earlier is not None and earlier.key == self.keys[child.index] and child.site.cache:
                self._remember(child, earlier)
            elif child.missing == 0:
                self._make_ready(child)

    def _add(self, node: Node, site: Site, priority: float) -> Task:
        keys = {
            ref: self.keys[self.by_id[ref].index] for tree in node.args.values() for ref in sources_of(tree)
        }
        task = Task(len(self.tasks), node, site, priority, 0)
        self.tasks.append(task)
        self.by_id[node.id] = task
        self.dependents.append([])
        self.keys.append(key_of(node, site, keys, self.inputs, self._versions))
        self.unfinished += 1
        return task

    def _conclude(self, task: Task, result: Any, now_ms: int) -> None:
        """A control node has come to its result."""
        task.result = self.results[task.node.id] = result
        task.ended_ms = now_ms
        self._end(task, "succeeded")

    def _end(self, task: Task, state: TaskState) -> None:
        task.state = state
        self.unfinished -= 1
        for index in self.dependents[task.index]:
            dependent = self.tasks[index]
            if dependent.state == "pending" or (
                dependent.site.control != "none" and dependent.state == "running"
            ):
                self._tell(dependent, task)

    def _tell(self, waiting: Task, over: Task) -> None:
        """Let a task know that one that it waits for is over."""
        how = _effect(waiting, over)
        if how == "go":
            waiting.alarmed |= over.state in ("failed", "blocked")
            waiting.missing -= 1
            if waiting.missing == 0:
                self._release(waiting, over)
        else:
            heapq.heappush(self.doomed, Doomed(waiting.index, how, over.blocked_by or over.node.id))

    def _release(self, task: Task, last: Task) -> None:
        """Nothing is left to wait for."""
        if task.state == "running":  # a loop, all of whose nodes are done
            self._conclude(task, task.result, last.ended_ms)
        elif task.node.trigger == "failure" and not task.alarmed:
            heapq.heappush(self.doomed, Doomed(task.index, "skipped", ""))
        else:
            self._make_ready(task)

    def _make_ready(self, task: Task) -> None:
        task.state = "ready"
        match task.site.control:
            case "none":
                entry = (-task.site.priority, -task.priority, task.index)
                heapq.heappush(self._ready.setdefault(task.site.needs, []), entry)
            case "choose":
                args = task.node.args
                taken = args["then"] if flat(args["condition"], self.results) else args.get("otherwise")
                self._conclude(task, flat(taken, self.results), self._latest_ms(args))
            case "branch" | "map" | "reduce":
                self.unresolved.append(task)

    def _latest_ms(self, args: dict[str, Any]) -> int:
        """When the last of the nodes that arguments refer to was over."""
        return max(self.by_id[ref].ended_ms for tree in args.values() for ref in sources_of(tree))


def _effect(waiting: Task, over: Task) -> Literal["go", "blocked", "skipped"]:
    """What it means to a task that another one, which it waits for, is over."""
    node, source = waiting.node, over.node.id
    if over.state == "succeeded":
        misses = (source in node.when and over.result is False) or (
            source in node.unless and over.result is True
        )
        return "skipped" if misses else "go"
    only_order = source in node.after and source not in {
        *node.when,
        *node.unless,
        *(ref for tree in node.args.values() for ref in sources_of(tree)),
    }
    if over.state == "skipped":
        return "go" if only_order or waiting.site.control == "choose" else "skipped"
    if node.trigger != "success":
        return "go" if only_order else "skipped"
    return "blocked"


GRACE_MS = 5000  # between asking a process to end and ending it

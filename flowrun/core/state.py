"""The state of a run, and what each change does to it."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, assert_never

from flowc.plan.graph import waited_for
from flowc.plan.model import Plan, Resources, sources_of
from flowrun.core.again import Again
from flowrun.core.changes import (
    AnyChange,
    Block,
    Cancel,
    CancelRequested,
    Earlier,
    Elsewhere,
    Exceeded,
    Exited,
    Fail,
    Finish,
    Kill,
    Logged,
    Opened,
    Redo,
    Reorder,
    Resolve,
    Resolved,
    Retry,
    Reuse,
    Skip,
    Start,
    Verified,
    Verify,
    Woke,
)
from flowrun.core.clock import Clock
from flowrun.core.control import flat
from flowrun.core.counts import Counts
from flowrun.core.derived import Derived, derive
from flowrun.core.expected import Expected
from flowrun.core.graph import Graph
from flowrun.core.model import Artifact, Capacity, Inputs, RunStatus, TaskState
from flowrun.core.pool import Pool
from flowrun.core.reuse import Cache, Hit
from flowrun.core.scheduler.request import Lane, Ref, Request
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.task import Doomed, Task, effect, is_part

_ALONE = Lane()


class Shared(NamedTuple):
    """A run's part in a scheduler that it shares with others.

    `urgency` is what the ranks of its nodes begin with: the negative of its priority, then its number.
    `alone`: there are no others after all.
    """

    scheduler: Scheduler
    run: str
    lane: Lane
    urgency: tuple[float, float]
    alone: bool = False


class State:
    """A run as it stands. Changed only by `apply`.

    `doomed` (a heap), `unresolved` and `hopeful` are tasks about which a decision is due; those that are
    hopeful may find their results in a `cache`, if there is one; of some that has to be verified first, these
    are `verifying`. `earlier` is what nodes did before the run
    was resumed that cannot count yet: they are not there, or it is open whether they run.
    Places are given out by `scheduler`: one that is shared with other runs, or the run's own for the capacity
    that it was opened with. What is `derived` already is not computed once more, and is the state's own then.
    """

    scheduler: Scheduler
    capacity: Capacity

    def __init__(
        self,
        plan: Plan,
        inputs: Inputs,
        versions: Mapping[str, str] | None = None,
        shared: Shared | None = None,
        derived: Derived | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.plan = plan
        self.inputs = inputs
        self.shared = shared
        self.cache = cache
        self.run = shared.run if shared else ""
        self.lane = shared.lane if shared else _ALONE
        self.status: RunStatus = "running"
        self.cancelling = 0
        self.now_ms = 0
        self.opened_ms = 0
        self.ended_ms = 0
        self.doomed: list[Doomed] = []
        self.unresolved: list[Task] = []
        self.metrics: dict[str, float] = {}  # the last value that an operator logged of each
        self.hopeful: list[Task] = []
        self.verifying: dict[str, Hit] = {}
        self.contents: dict[str, bytes] = {}  # keys of what nodes compute, if that may be kept for other runs
        self.earlier: dict[str, Earlier] = {}
        self.graph = Graph(plan, inputs, versions, derived or derive(plan, inputs, versions), self.run)
        # The very same objects: they are asked for at every change.
        self.tasks, self.by_id, self.dependents = self.graph.tasks, self.graph.by_id, self.graph.dependents
        self.keys, self.results = self.graph.keys, self.graph.results
        self.versions = self.graph.versions
        self.again = Again(self.graph)
        self.clock = Clock()
        self.expected = Expected()
        self.running: dict[str, Task] = {}
        self.unfinished = len(self.tasks)
        self.counts = Counts(self.tasks)
        self._over: deque[Task] = deque()  # tasks whose dependents do not know yet that they are over

    def wanted(self) -> Counter[Resources]:
        """How often what is to come asks for GPUs, and for which: places are chosen so that they are left."""
        if not any(site.needs.gpus for site in self.plan.sites):
            return Counter()
        to_come = ("pending", "ready")
        return Counter(t.site.needs for t in self.tasks if t.site.needs.gpus and t.state in to_come)

    def could_have(self, needs: Resources) -> bool:
        """Whether there could be a place with some needs for a node of this run, if nothing else ran."""
        return self.scheduler.ever_refused(self.shared.lane if self.shared else _ALONE, needs) is None

    def is_cancelled(self, task: Task) -> bool:
        """Whether the user wants a task not to run any more."""
        return self.cancelling > (task.node.trigger == "always")

    def awaits(self, event: Exited | Exceeded | Resolved | Verified) -> bool:
        """Whether an exit or an answer tells something new.

        The exit of an attempt that is over, or an answer to what was answered, may come late, or twice: it
        stands in the log and changes nothing.
        """
        match event:
            case Exited(node=node, attempt=attempt):
                running = self.running.get(node)
                return running is not None and running.attempt == attempt
            case Exceeded(node=node, attempt=attempt):
                running = self.running.get(node)
                return running is not None and running.attempt == attempt and running.kill is None
            case Resolved(node=node):
                task = self.by_id.get(node)  # cancelled maybe, while it waited for the answer
                if task is None or task.state != "running" or task.site.control == "none":
                    return False
                return not task.parts and task.failure is None
            case Verified(node=node):
                hit, task = self.verifying.get(node), self.by_id.get(node)
                if hit is None or task is None or hit.artifact.hash != event.artifact:
                    return False
                return task.state == "pending" and not task.missing  # else it was ended, or waits again

    def apply(self, change: AnyChange) -> bool:
        """Bring the state up to date with a change. Whether it told something new."""
        self.now_ms = getattr(change, "at_ms", self.now_ms)
        news = self._apply(change)
        if self._over:
            self._tell_dependents()
        return news

    def _apply(self, change: AnyChange) -> bool:
        match change:  # what happens most often comes first
            case Start():
                self._start(self.by_id[change.node], change)
            case Exited():
                if not self.awaits(change):
                    return False
                self._exit(self.by_id[change.node], change)
            case Exceeded():
                return self.awaits(change)
            case Opened():
                self._open(change)
            case Woke(at_ms=now):
                for index in self.clock.rested(now):
                    task = self.tasks[index]
                    if task.state == "pending" and task.missing == 0:
                        self._make_ready(task)
            case Elsewhere():
                self.scheduler.occupy(change.held, change.at_ms)
            case CancelRequested():
                self.cancelling += 1
            case Reorder():
                self._reorder(change)
            case Reuse():
                task = self.by_id[change.node]
                task.origin, task.started_ms, task.ended_ms = change.origin, change.at_ms, change.at_ms
                self.verifying.pop(change.node, None)
                self._succeed(task, change.artifact)
            case Verify():
                task = self.by_id[change.node]
                task.state = "pending"
                self.scheduler.withdraw(task.ref)
                self.verifying[change.node] = Hit(change.artifact, change.origin)
            case Verified():
                if not self.awaits(change):
                    return False
                if not change.sound:
                    del self.verifying[change.node]
                    task = self.by_id[change.node]
                    task.state = "ready"
                    self.scheduler.submit(self._request(task))
            case Resolve():
                task = self.by_id[change.node]
                task.state, task.started_ms, task.failure = "running", change.at_ms, None
            case Resolved():
                if not self.awaits(change):
                    return False
                self._resolve(self.by_id[change.node], change)
            case Kill():
                task = self.by_id[change.node]
                task.kill = change
                self.clock.limit(task)
                ends_ms = change.at_ms + (0 if change.force else change.grace_ms)
                self.scheduler.expect(Ref(self.run, change.node), ends_ms)
            case Retry():
                self._retry(self.by_id[change.node], change)
            case Redo():
                self._redo(self.by_id[change.node], [self.by_id[source] for source in change.sources])
            case Fail():
                task = self.by_id[change.node]
                task.failure = change.failure or task.failure
                self._end(task, "failed")
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
            case Logged():
                self.metrics.update((point.name, float(point.value)) for point in change.points)
            case _:
                assert_never(change)
        return True

    def _open(self, opened: Opened) -> None:
        self.opened_ms, self.capacity = opened.at_ms, opened.capacity
        self.scheduler = self.shared.scheduler if self.shared else self._own(opened.capacity)
        if opened.elsewhere:
            self.scheduler.occupy(opened.elsewhere, opened.at_ms)
        self._reopen(opened.earlier)

    def _start(self, task: Task, start: Start) -> None:
        task.state, task.attempt, task.started_ms = "running", start.attempt, start.at_ms
        task.placement, task.kill = start.placement, None
        self.running[start.node] = task
        if task.site.timeout_ms:
            self.clock.limit(task)
        self.scheduler.started(task.ref, start.placement, start.at_ms)

    def _retry(self, task: Task, retry: Retry) -> None:
        task.retried[retry.kind] = task.retried.get(retry.kind, 0) + 1
        task.more = retry.needs or task.more
        task.ready_at_ms = retry.ready_at_ms
        task.missing = self.again.due_before(task)
        self._doom(task, self.again.lost_to(task))
        if retry.ready_at_ms <= retry.at_ms and not task.missing:
            self._make_ready(task)
        elif retry.ready_at_ms > retry.at_ms:
            self.clock.pause(task, retry.ready_at_ms)

    def _exit(self, task: Task, exited: Exited) -> None:
        self.scheduler.ended(task.ref)
        if exited.elsewhere is not None:
            self.scheduler.occupy(exited.elsewhere, exited.at_ms)
        del self.running[task.node.id]
        self.clock.ended(task)
        task.state, task.ended_ms, task.usage, task.failure = (
            "pending",
            exited.at_ms,
            exited.usage,
            exited.failure,
        )
        if exited.artifact is not None:
            self.expected.took(task.site, exited.at_ms - task.started_ms)
            self._succeed(task, exited.artifact)

    def _redo(self, finder: Task, sources: list[Task]) -> None:
        """What some tasks made is damaged: they run again, and after them the one that found out."""
        finder.retried["damaged"] = finder.retried.get("damaged", 0) + 1
        for source in sources:
            if finder.index not in self.dependents[source.index]:  # it has its value through a control node
                self.dependents[source.index].append(finder.index)
            if source.state == "succeeded":  # else another task found out, too
                self._begin_again(source)
        finder.state, finder.missing = "pending", self.again.due_before(finder)

    def _begin_again(self, task: Task) -> None:
        """A task that is done is so no more, and who was to start with what it made waits again."""
        self.counts.begin_again(task)
        self.unfinished += 1
        for waiting in self.again.begin(task):
            self.scheduler.withdraw(waiting.ref)
        for waiting in self.graph.below(task):
            if waiting.state in ("pending", "ready") and not waiting.missing and self._lacks_again(waiting):
                self._hold_back(waiting)
        task.state, task.missing = "pending", self.again.due_before(task)
        if not task.missing:
            self._make_ready(task)

    def _lacks_again(self, task: Task) -> bool:
        """Whether a task that waits for nothing else takes what is made again, or could not be."""
        lack = self.again.lacks(task)
        self._doom(task, lack.lost)
        return bool(lack.lost) or lack.waits

    def _hold_back(self, task: Task) -> None:
        """What was to start waits again."""
        self.scheduler.withdraw(task.ref)
        task.state = "pending"

    def _doom(self, task: Task, over: Iterable[Task]) -> None:
        """A task that depends on what did not succeed is not to run."""
        for other in over:
            how = effect(task, other, self.results)
            if how != "go":
                heapq.heappush(self.doomed, Doomed(task.index, how, other.blocked_by or other.node.id))

    def _own(self, capacity: Capacity) -> Scheduler:
        return Scheduler(Pool((capacity,), self.wanted()))

    def _reorder(self, reorder: Reorder) -> None:
        """The order of starts computed ahead counts as priority."""
        self.expected.reorder(reorder, self.plan.sites)
        for node, start_ms in reorder.starts_ms.items():
            task = self.by_id[node]
            task.priority = -start_ms
            if task.state == "ready" and task.site.control == "none":
                self.scheduler.withdraw(task.ref)
                self.scheduler.submit(self._request(task))

    def _reopen(self, earlier: dict[str, Earlier]) -> None:
        """What tasks did before the run was resumed counts at once, but for those that may be skipped now."""
        uncertain: set[str] = set()
        for node in self.plan.nodes:
            if node.when or node.unless or (uncertain and not uncertain.isdisjoint(waited_for(node))):
                uncertain.add(node.id)
        for node_id, was in earlier.items():
            task = self.by_id.get(node_id)
            if task is None or node_id in uncertain:
                self.earlier[node_id] = was
            if task is not None:
                task.attempt = was.attempt
                if node_id not in self.earlier:
                    self._remember(task, was)
        for task in self.tasks:
            if task.missing == 0 and task.state == "pending":
                self._make_ready(task)

    def _remember(self, task: Task, earlier: Earlier) -> bool:
        """Whether a task need not run, as it did so before the run was resumed."""
        same = task.site.cache and earlier.key in ("", self.keys[task.index])
        if earlier.artifact is None or not same or task.node.trigger != "success":
            return False
        task.kept, task.usage, task.origin = True, earlier.usage, earlier.origin
        task.started_ms, task.ended_ms = earlier.started_ms, earlier.ended_ms
        self._succeed(task, earlier.artifact)
        return True

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
        made, result = self.graph.unfold(task, known.names)
        if not made:
            self._conclude(task, result, known.at_ms)
            return
        self.unfinished += len(made)
        for child in made:
            self.counts.add(child)
            if child.node.id in self.earlier:
                child.attempt = self.earlier[child.node.id].attempt
        for child in made:
            if child.missing == 0:
                self._make_ready(child)

    def _conclude(self, task: Task, result: Any, now_ms: int) -> None:
        """A control node has come to its result."""
        task.result = self.results[task.node.id] = result
        task.ended_ms = max(now_ms, task.started_ms)  # all nodes of a loop may be kept from long ago
        self._end(task, "succeeded")

    def _end(self, task: Task, state: TaskState) -> None:
        if task.state == "ready":
            self.scheduler.withdraw(task.ref)
        task.state = state
        self.counts.end(task, state)
        if task.index in self.again.going:
            self.again.end(task, state)
        self.unfinished -= 1
        self._over.append(task)

    def _tell_dependents(self) -> None:
        """Let all tasks know what is over by now, and what is over by that. Without recursion."""
        while self._over:
            over = self._over.popleft()
            for index in self.dependents[over.index]:
                task = self.tasks[index]
                if task.state == "pending" or is_part(over, task):
                    self._tell(task, over)

    def _tell(self, waiting: Task, over: Task) -> None:
        """Let a task know that one that it waits for is over."""
        how = effect(waiting, over, self.results)
        if how == "go":
            waiting.alarmed |= over.state in ("failed", "blocked") and over.node.id in waiting.node.after
            waiting.missing -= 1
            if waiting.missing == 0:
                self._release(waiting, over)
        else:
            heapq.heappush(self.doomed, Doomed(waiting.index, how, over.blocked_by or over.node.id))

    def _release(self, task: Task, last: Task) -> None:
        """Nothing is left to wait for."""
        if task.state == "running":  # a loop, all of whose nodes are done
            self._conclude(task, task.result, last.ended_ms)
        elif task.ready_at_ms > self.now_ms:
            pass  # it failed before, and its pause is not over
        elif task.node.trigger == "failure" and task.node.after and not task.alarmed:
            heapq.heappush(self.doomed, Doomed(task.index, "skipped", ""))
        else:
            self._make_ready(task)

    def _make_ready(self, task: Task) -> None:
        if (self.again.going or self.again.lost) and self._lacks_again(task):
            return
        task.state, task.ready_at_ms = "ready", self.now_ms
        if self.verifying:  # what it is to compute may be something else by now
            self.verifying.pop(task.node.id, None)
        match task.site.control:
            case "none":
                earlier = self.earlier.pop(task.node.id, None)
                if earlier is None or not self._remember(task, earlier):
                    self.scheduler.submit(self._request(task))
                    if self.cache is not None:
                        self.hopeful.append(task)
            case "choose":
                self._choose(task)
            case "branch" | "map" | "reduce":
                self.unresolved.append(task)

    def _request(self, task: Task) -> Request:
        site, shared = task.site, self.shared
        urgency = shared.urgency if shared else ()
        rank = (*urgency, -site.priority, -task.priority, task.index)
        since_ms = task.ready_at_ms
        return Request(
            task.ref,
            task.needs,
            rank,
            self.expected.ms(site),
            since_ms,
            self.lane,
            task.retried.get("preempted", 0),
        )

    def _choose(self, task: Task) -> None:
        """Take one of two values, for which it does not matter what became of the other."""
        args = task.node.args
        taken = args.get("then" if flat(args["condition"], self.results) else "otherwise")
        without = [over for ref in sources_of(taken) if (over := self.by_id[ref]).state != "succeeded"]
        for over in without:
            skipped = over.state == "skipped" or task.node.trigger != "success"
            how: Literal["blocked", "skipped"] = "skipped" if skipped else "blocked"
            heapq.heappush(self.doomed, Doomed(task.index, how, over.blocked_by or over.node.id))
        if not without:
            ended = [self.by_id[ref].ended_ms for tree in args.values() for ref in sources_of(tree)]
            self._conclude(task, flat(taken, self.results), max(ended, default=self.opened_ms))

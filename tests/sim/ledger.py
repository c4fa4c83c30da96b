"""The books of one execution of a run, with which every change is compared before it is entered.

`shadow` is a state to which the changes are applied as the log has them; what it says of nodes must be
what the books say. Who gets a place first, and whether for long enough nobody idles, is for `Urgency`.
"""

from collections import defaultdict

from books import demand
from oracle import loop_of

from flowc.plan.graph import waited_for
from flowc.plan.model import sources_of
from flowrun.core.changes import (
    GRACE_MS,
    Block,
    Cancel,
    CancelRequested,
    Exited,
    Fail,
    Finish,
    Kill,
    Reorder,
    Resolve,
    Retry,
    Skip,
    Start,
)
from flowrun.core.decide import MAX_BACKOFF_MS, MAX_LOSSES

OVER = ("succeeded", "failed", "blocked", "skipped", "cancelled")


class Ledger:
    """Empty books: nothing survives the scheduler but what nodes made, and how often they were tried.

    `hosts` are those that the run is on, `order` says who comes first there; both may be shared with others.
    """

    grace_ms = GRACE_MS

    def __init__(self, run, oracle, hosts, order, shadow, state, attempts, made):
        self.run = run
        self.oracle = oracle
        self.hosts = hosts
        self.order = order
        self.shadow = shadow
        self.state = state
        self.attempts = attempts  # node -> the last one, ever
        self.made = made  # node -> Artifact: the last one that is in the log, if it is in the store
        self.held = {}  # (node, attempt) -> Start
        self.failures = defaultdict(int)
        self.losses = defaultdict(int)
        self.preemptions = defaultdict(int)
        self.not_before_ms = defaultdict(int)
        self.fallen = {}  # node -> Exited: failed, and nothing was decided about that yet
        self.ends = {}  # node -> its end for good
        self.cancelled = 0
        self.kills = {}

    def enter(self, change):
        """Compare a change with the books, in which all changes before it stand, and enter it."""
        demand(self.shadow.status == "running", "after the end came", change)
        match change:
            case Exited():
                self._enter_exit(change)
            case CancelRequested():
                self.cancelled += 1
            case Start(node=node):
                task = self.shadow.by_id[node]
                self._check_start(change, task)
                self.order.before_start(self, change, task)
                self.hosts.hold((self.run, node, change.attempt), change.placement, task.site.needs)
                self.held[node, change.attempt] = change
                self.attempts[node] = change.attempt
            case Reorder(starts_ms=starts):
                for node in starts:
                    waits = waited_for(self.shadow.by_id[node].node)
                    before = [starts[ref] for ref in waits if ref in starts]
                    demand(starts[node] >= max(before, default=0), node, "is to start before", before)
            case Resolve(node=node):
                demand(not self.is_cancelled(node), node, "asks after the run was cancelled")
                demand(not self.lacks(node), node, "asks before", self.lacks(node))
            case Retry(node=node):
                self._check_retry(change, self.shadow.by_id[node])
            case Fail(node=node):
                self._check_fail(change, self.shadow.by_id[node])
                self._end(node, change)
            case Block(node=node, by=by):
                demand(isinstance(self.ends.get(by), Fail), node, "blocked by", by, "which has not failed")
                demand(by in self._above(node), node, "does not wait for", by)
                self._end(node, change)
            case Skip(node=node):
                demand(self._why_skipped(node), node, "is skipped for no reason")
                self._end(node, change)
            case Cancel(node=node):
                demand(self.is_cancelled(node), node, "cancelled, but nobody wanted that")
                self.fallen.pop(node, None)
                self._end(node, change)
            case Kill(node=node, attempt=attempt):
                demand((node, attempt) in self.held, "killed what does not run:", change)
                self._check_kill(change, self.shadow.by_id[node])
                self.kills[node, attempt] = change
            case Finish():
                self._check_finish(change)
        self.shadow.apply(change)

    def is_cancelled(self, node):
        """Whether a node is not to run any more because the user said so."""
        return self.cancelled > (self.shadow.by_id[node].node.trigger == "always")

    def is_in(self, node, *states):
        return self.shadow.by_id[node].state in states

    def parts(self, loop):
        """The nodes that a loop turned out to have."""
        found = self.shadow.tasks[len(self.oracle.nodes) :]
        return [task.node.id for task in found if loop_of(task.node.id) == loop]

    def needs(self, node):
        """The nodes without whose success a node cannot run; a choice finds out about its values late."""
        task = self.shadow.by_id[node]
        chooses = task.site.control == "choose"
        trees = (tree for name, tree in task.node.args.items() if not chooses or name == "condition")
        found = {*task.node.when, *task.node.unless, *(ref for tree in trees for ref in sources_of(tree))}
        return found | {*self.parts(node)}

    def lacks(self, node):
        """What a node must still wait for, or what says that it is not to run at all."""
        of = self.shadow.by_id[node].node
        lacking = {ref for ref in self.needs(node) if not self.is_in(ref, "succeeded")}
        lacking |= {ref for ref in of.when if not self.oracle.truth(ref)}
        lacking |= {ref for ref in of.unless if self.oracle.truth(ref)}
        if of.trigger == "success":
            return lacking | {ref for ref in of.after if not self.is_in(ref, "succeeded", "skipped")}
        lacking |= {ref for ref in self._above(node, all_of_it=True) if not self.is_in(ref, *OVER)}
        if of.trigger == "failure" and of.after and not self._is_alarmed(of):
            lacking.add("a failure")
        return lacking

    def waiting(self):
        """What is ready and waits for a place."""
        return [task for task in self.shadow.tasks if task.state == "ready" and task.site.control == "none"]

    def _enter_exit(self, exited):
        key = exited.node, exited.attempt
        if key not in self.held:
            return  # it is told late, or twice
        self.order.after_exit(self, self.held.pop(key), exited)
        self.hosts.release((self.run, *key))
        if exited.artifact is None:
            self.fallen[exited.node] = exited
        else:
            self._end(exited.node, exited)
            self.made[exited.node] = exited.artifact

    def _is_alarmed(self, node):
        return any(self.is_in(ref, "failed", "blocked") for ref in node.after)

    def _why_skipped(self, node):
        task = self.shadow.by_id[node]
        of, truth = task.node, self.oracle.truth
        without = ("skipped",) if of.trigger == "success" else ("skipped", "failed", "blocked", "cancelled")
        if task.site.control == "choose":
            values = {ref for name in ("then", "otherwise") for ref in sources_of(of.args.get(name))}
            if any(self.is_in(ref, *without) for ref in values):
                return True
        return (
            any(self.is_in(ref, *without) for ref in self.needs(node))
            or any(self.is_in(ref, "succeeded") and not truth(ref) for ref in of.when)
            or any(self.is_in(ref, "succeeded") and truth(ref) for ref in of.unless)
            or (of.trigger == "failure" and not self._is_alarmed(of))
        )

    def _check_start(self, start, task):
        node = start.node
        demand(task.site.control == "none", node, "is no process")
        demand(not self.is_cancelled(node), node, "started after the run was cancelled")
        demand(node not in self.ends, node, "started after its end")
        demand(all(key[0] != node for key in self.held), node, "started while it runs")
        demand(start.attempt == self.attempts[node] + 1, node, "has attempt", start.attempt)
        demand(not self.lacks(node), node, "started before", self.lacks(node))
        again = self.made.get(node) == self.oracle.artifact(node) and task.node.trigger == "success"
        demand(not again, node, "is computed again")
        demand(start.at_ms >= self.not_before_ms[node], node, "started before its wait was over")
        demand(start.key == self.state.keys[task.index], node, "has another key")

    def _check_fail(self, fail, task):
        node = task.node.id
        if fail.failure is not None:
            demand(fail.failure.code == "FR210" and task.state == "ready", node, "fails out of turn:", fail)
            demand(not self.order.could_ever_start(self, task), node, "could start on empty hosts")
            demand(not self.hosts.held, node, "is given up while something runs")
        elif task.site.control != "none":
            demand(task.failure.code == "FR208", node, "failed without an answer")
        else:
            demand(self.fallen.pop(node, None), node, "fails, though no attempt did")
            lost = task.failure.code == "FR207"
            spent = self.losses[node] == MAX_LOSSES if lost else self.failures[node] == task.site.retries
            demand(spent and not self.is_cancelled(node), node, "failed for good too soon")
            demand(not self._was_preempted(task), node, "failed, though it was preempted")

    def _check_retry(self, retry, task):
        node = retry.node
        demand(not self.is_cancelled(node), node, "is to be retried in a cancelled run")
        demand(self.fallen.pop(node, None), node, "is to be retried, though no attempt failed")
        preempted = self._was_preempted(task)
        demand(retry.preempted == preempted, "wrong kind of", retry)
        demand(retry.lost == (task.failure.code == "FR207"), "wrong kind of", retry)
        if preempted or retry.lost:
            counts = self.preemptions if preempted else self.losses
            counts[node] += 1
            demand(preempted or self.losses[node] <= MAX_LOSSES, node, "is lost again and again")
            demand(retry.ready_at_ms == retry.at_ms, node, "waits, though it was lost or preempted")
        else:
            wait = min(task.site.backoff_ms * 2 ** self.failures[node], MAX_BACKOFF_MS)
            self.failures[node] += 1
            demand(self.failures[node] <= task.site.retries, node, "is retried too often")
            demand(retry.ready_at_ms == retry.at_ms + wait, node, "does not wait", wait)
        self.not_before_ms[node] = retry.ready_at_ms

    def _was_preempted(self, task):
        kill = self.kills.get((task.node.id, task.attempt))
        return kill is not None and kill.reason == "preempted" and task.failure.code in ("FR202", "FR209")

    def _check_kill(self, kill, task):
        before = self.kills.get((kill.node, kill.attempt))
        if kill.reason == "preempted" and not kill.force:
            demand(not before, "is asked to go twice:", kill)
            self.order.before_preemption(self, kill, task)
            demand(kill.grace_ms == self.order.notice_ms, "another notice than agreed:", kill)
        else:
            over = task.started_ms + task.site.timeout_ms <= kill.at_ms and task.site.timeout_ms
            taken = before is not None and before.reason == "preempted"
            reasons = {"timeout": over, "cancelled": self.is_cancelled(kill.node), "preempted": taken}
            demand(reasons[kill.reason], "no reason for", kill)
            demand(kill.grace_ms == GRACE_MS, "another grace than agreed:", kill)
        if kill.force and self.cancelled < 2:
            demand(before and before.at_ms + before.grace_ms <= kill.at_ms, "no time to end in peace:", kill)

    def _check_finish(self, finish):
        states = {task.state for task in self.shadow.tasks}
        demand(not self.held, "the run ended while something runs")
        demand(states <= {*OVER}, "the run ended with", states)
        if self.cancelled and "cancelled" in states:
            expected = "cancelled"
        else:
            expected = "failed" if states & {"failed", "blocked"} else "succeeded"
        demand(finish.status == expected, "the run ended as", finish.status, "not", expected)

    def _end(self, node, how):
        demand(node not in self.ends, node, "ended twice")
        self.ends[node] = how

    def _above(self, node, all_of_it=False):
        """Everything that a node still waits for, or ever did, near or far."""
        found, todo = set(), [node]
        while todo:
            waiting = todo.pop()
            for source in waited_for(self.shadow.by_id[waiting].node) | {*self.parts(waiting)}:
                if source not in found and (all_of_it or not self.is_in(source, "succeeded")):
                    found.add(source)
                    todo.append(source)
        return found

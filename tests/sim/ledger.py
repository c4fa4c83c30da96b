"""The books of one execution of a run, with which every change is compared before it is entered.

`shadow` is a state to which the changes are applied as the log has them; what it says of nodes must be
what the books say. Who gets a place first, and whether for long enough nobody idles, is for `Urgency`.
"""

from collections import defaultdict
from typing import NamedTuple

import msgspec
from books import demand
from oracle import loop_of

from flowc.plan.graph import waited_for
from flowc.plan.model import sources_of
from flowrun.core.changes import (
    GRACE_MS,
    Block,
    Cancel,
    CancelRequested,
    Elsewhere,
    Exceeded,
    Exited,
    Fail,
    Finish,
    Kill,
    Opened,
    Redo,
    Reorder,
    Resolve,
    Retry,
    Reuse,
    Skip,
    Start,
    Verified,
    Verify,
)
from flowrun.core.control import flat
from flowrun.core.failures import LEAST_MB, MAX_BACKOFF_MS, MAX_LOSSES, TAKEN_AGAIN_MS
from flowrun.core.model import Artifact
from flowrun.core.reuse import is_named

OVER = ("succeeded", "failed", "blocked", "skipped", "cancelled")


class Made(NamedTuple):
    """What a node gave, and what stood for its source then."""

    artifact: Artifact
    source: str


class Ledger:
    """Empty books: nothing survives the scheduler but what nodes made, and how often they were tried.

    `hosts` are those that the run is on, `order` says who comes first there; both may be shared with others.
    """

    grace_ms = GRACE_MS

    def __init__(self, run, oracle, hosts, order, shadow, state, attempts, made, rotten):
        self.run = run
        self.oracle = oracle
        self.hosts = hosts
        self.order = order
        self.shadow = shadow
        self.state = state
        self.attempts = attempts  # node -> the last one, ever
        self.made = made  # node -> Made: the last one that is in the log, if it is in the store
        self.rotten = rotten  # hashes of artifacts that ever were damaged
        self.redone = defaultdict(int)  # node -> how often it ran again, as what it had made was
        self.spoiled = set()  # those that have not yet made it anew
        self.held = {}  # (node, attempt) -> Start
        self.retried = defaultdict(dict)  # node -> kind of failure -> how often
        self.not_before_ms = defaultdict(int)
        self.fallen = {}  # node -> Exited: failed, and nothing was decided about that yet
        self.ends = {}  # node -> its end for good
        self.unsure = {}  # node -> hash of what it could take, then "sound" or ""
        self.cancelled = 0
        self.kills = {}
        self.exceeded = {}  # (node, attempt) -> Exceeded: the first, before any kill

    def enter(self, change):
        """Compare a change with the books, in which all changes before it stand, and enter it."""
        demand(self.shadow.status == "running", "after the end came", change)
        match change:
            case Opened(elsewhere=held) if held:
                self.hosts.occupy(held)
            case Elsewhere(held=held):
                self.hosts.occupy(held)
            case Exited():
                self._enter_exit(change)
            case Exceeded(node=node, attempt=attempt):
                if (node, attempt) in self.held and (node, attempt) not in self.kills:
                    self.exceeded[node, attempt] = change
            case CancelRequested():
                self.cancelled += 1
            case Start(node=node):
                task = self.shadow.by_id[node]
                self._check_start(change, task)
                self.order.before_start(self, change, task)
                self.hosts.hold((self.run, node, change.attempt), change.placement, task.needs)
                self.held[node, change.attempt] = change
                self.attempts[node] = change.attempt
            case Verify(node=node):
                self._check_reuse(change, self.shadow.by_id[node])
                self.unsure[node] = change.artifact.hash
            case Verified(node=node, artifact=artifact, sound=sound):
                if self.unsure.get(node) == artifact:
                    self.unsure[node] = "sound" if sound else ""
            case Reuse(node=node):
                if self.unsure.get(node):
                    demand(self.unsure.pop(node) == "sound", node, "is taken without a look at it")
                self._check_reuse(change, self.shadow.by_id[node])
                self._end(node, change)
                self.made[node] = Made(change.artifact, self.oracle.source_of(node))
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
            case Redo(node=node):
                self._check_redo(change, self.shadow.by_id[node])
                self.unsure.clear()  # who waits for what is made again may take something else by then
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

    def taken(self, node):
        """The nodes whose values a node takes, itself or through control nodes."""
        trees = [flat(tree, self.shadow.results) for tree in self.shadow.by_id[node].node.args.values()]
        return {ref for tree in trees for ref in sources_of(tree)}

    def taken_again(self, node):
        """Those of them that had to make it again, which a choice does not mind: it reads nothing."""
        chooses = self.shadow.by_id[node].site.control == "choose"
        return {ref for ref in self.taken(node) if self.redone[ref] and not chooses}

    def lacks(self, node):
        """What a node must still wait for, or what says that it is not to run at all."""
        of = self.shadow.by_id[node].node
        lacking = {ref for ref in self.needs(node) if not self._is_done(node, ref, "succeeded")}
        lacking |= {ref for ref in self.taken_again(node) if not self._is_done(node, ref, "succeeded")}
        lacking |= {ref for ref in of.when if not self.oracle.truth(ref)}
        lacking |= {ref for ref in of.unless if self.oracle.truth(ref)}
        if of.trigger == "success":
            return lacking | {ref for ref in of.after if not self._is_done(node, ref, "succeeded", "skipped")}
        lacking |= {ref for ref in self._above(node, all_of_it=True) if not self.is_in(ref, *OVER)}
        if of.trigger == "failure" and of.after and not self._is_alarmed(of):
            lacking.add("a failure")
        return lacking

    def _is_done(self, node, ref, *states):
        """Whether one is in some state; or was when a node began, which is tried again, and failed since."""
        failed_since = self.retried[node] and self.redone[ref] and self.is_in(ref, *OVER)
        return failed_since or self.is_in(ref, *states)

    def waiting(self):
        """What is ready and waits for a place."""
        return [task for task in self.shadow.tasks if task.state == "ready" and task.site.control == "none"]

    def _enter_exit(self, exited):
        key = exited.node, exited.attempt
        if key not in self.held:
            return  # it is told late, or twice
        self.order.after_exit(self, self.held.pop(key), exited)
        self.hosts.release((self.run, *key))
        if exited.elsewhere is not None:
            self.hosts.occupy(exited.elsewhere)
        if exited.artifact is None:
            self.fallen[exited.node] = exited
        else:
            self._end(exited.node, exited)
            self.made[exited.node] = Made(exited.artifact, self.oracle.source_of(exited.node))
            self.spoiled.discard(exited.node)

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
            any(self.is_in(ref, *without) for ref in self.needs(node) | self.taken_again(node))
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
        refreshed = self.state.cache is not None and is_named(task, self.state.cache.refresh)
        made = self.made.get(node)
        again = made and made.source == self.oracle.source_of(node) and task.node.trigger == "success"
        again = again and not refreshed
        demand(not again or node in self.spoiled, node, "is computed again")
        demand(start.at_ms >= self.not_before_ms[node], node, "started before its wait was over")
        demand(start.key == self.state.keys[task.index], node, "has another key")

    def _check_reuse(self, reuse, task):
        node, cache = reuse.node, self.state.cache
        waits = task.state == "ready" or (task.state == "pending" and node in self.shadow.verifying)
        demand(waits and task.site.control == "none", node, "is taken from elsewhere too early")
        demand(not self.is_cancelled(node), node, "is taken from elsewhere after the run was cancelled")
        demand(not self.lacks(node), node, "is taken from elsewhere before", self.lacks(node))
        demand(
            task.node.trigger == "success" and task.site.cache, node, "is never to be taken from elsewhere"
        )
        demand(not cache.closed and not is_named(task, cache.refresh), node, "was to be computed afresh")
        demand(reuse.artifact == self.oracle.artifact(node), node, "is taken for something else")

    def _check_fail(self, fail, task):
        node = task.node.id
        if fail.failure is not None and fail.failure.code == "FR214":
            demand(self.fallen.pop(node, None), node, "ran out of memory, though no attempt failed")
            demand(self.kind(task) == "memory" and self._is_chosen(task), node, "fails for memory:", fail)
            demand(not self._could_have_more(task), node, "could have more memory")
        elif fail.failure is not None:
            demand(fail.failure.code == "FR210" and task.state == "ready", node, "fails out of turn:", fail)
            demand(not self.order.could_ever_start(self, task), node, "could start on empty hosts")
            demand(not self.hosts.held, node, "is given up while something runs")
        elif task.site.control != "none":
            spent = task.failure.code == "FR306" and self._is_beyond_repair(task)
            demand(spent or task.failure.code == "FR208", node, "failed without an answer")
        else:
            demand(self.fallen.pop(node, None), node, "fails, though no attempt did")
            match self.kind(task):
                case "lost":
                    spent = self.retried[node].get("lost", 0) == MAX_LOSSES
                case "preempted" | "taken":
                    spent = False
                case "damaged":
                    spent = self._is_beyond_repair(task)
                case "memory":
                    spent = not self._is_chosen(task)
                case _:
                    spent = self._failures(node) == task.site.retries or not self._is_chosen(task)
            demand(spent and not self.is_cancelled(node), node, "failed for good too soon")

    def _check_retry(self, retry, task):
        node = retry.node
        demand(not self.is_cancelled(node), node, "is to be retried in a cancelled run")
        demand(self.fallen.pop(node, None), node, "is to be retried, though no attempt failed")
        kind, wait = self.kind(task), 0
        demand(retry.kind == kind, "wrong kind of", retry)
        if kind == "damaged":
            anew = [made.ended_ms > task.started_ms and made.redone for made in self._makers(task)]
            demand(all(anew), node, "is to read again what is damaged")
        demand(
            kind in ("lost", "preempted", "damaged", "taken") or self._is_chosen(task),
            node,
            "was not to be retried:",
            kind,
        )
        demand((retry.needs is not None) == (kind == "memory"), node, "needs something else:", retry)
        if kind == "taken":
            wait = TAKEN_AGAIN_MS
        elif kind not in ("lost", "preempted", "memory", "damaged"):
            wait = min(task.site.backoff_ms * 2 ** self._failures(node), MAX_BACKOFF_MS)
            demand(self._failures(node) < task.site.retries, node, "is retried too often")
        if kind == "memory":
            self._check_larger(retry.needs, task)
        demand(retry.ready_at_ms == retry.at_ms + wait, node, "does not wait", wait)
        self.not_before_ms[node] = retry.ready_at_ms
        counts = self.retried[node]
        counts[kind] = counts.get(kind, 0) + 1
        demand(counts.get("lost", 0) <= MAX_LOSSES, node, "is lost again and again")
        demand(counts.get("damaged", 0) <= MAX_LOSSES, node, "finds damage again and again")

    def _check_redo(self, redo, task):
        """Nodes that are done may run again if what they made is damaged, and for nothing else."""
        node, digest = redo.node, task.failure.damaged
        demand(not self.is_cancelled(node), node, "is to be tried again in a cancelled run")
        demand(task.failure.code == "FR306" and digest in self.rotten, node, "found nothing damaged")
        if task.site.control == "none":
            demand(self.fallen.pop(node, None), node, "is to be tried again, though no attempt failed")
        made = {made.node.id for made in self._makers(task) if not self._is_anew(made, task)}
        demand(set(redo.sources) == made, node, "has its values of", made, "not", redo.sources)
        for source in redo.sources:
            if self.is_in(source, "succeeded"):
                demand(self._may_run_again(self.shadow.by_id[source]), source, "cannot run again")
                self.redone[source] += 1
                self.spoiled.add(source)
                self.ends.pop(source, None)  # it may be kept from before
            demand(self.is_in(source, "succeeded", "pending", "ready", "running"), source, "cannot run again")
        counts = self.retried[node]
        counts["damaged"] = counts.get("damaged", 0) + 1
        demand(counts["damaged"] <= MAX_LOSSES, node, "finds damage again and again")

    def _makers(self, task):
        """Who made what a node found damaged."""
        made = [self.shadow.by_id[ref] for ref in self.taken(task.node.id)]
        return [made for made in made if made.artifact and made.artifact.hash == task.failure.damaged]

    def _is_anew(self, made, task):
        return made.state in OVER and made.ended_ms > task.started_ms

    def _is_beyond_repair(self, task):
        """Whether it is in vain to make again what a node found damaged."""
        if self.retried[task.node.id].get("damaged", 0) == MAX_LOSSES:
            return True
        made = [made for made in self._makers(task) if not self._is_anew(made, task)]
        return any(made.state in OVER and not self._may_run_again(made) for made in made)

    def _may_run_again(self, made):
        """What it waits for is there, or is to come; not so if it was kept, and that failed since."""
        node, lost = made.node.id, ("failed", "blocked", "cancelled")
        late = [ref for ref in made.node.after if made.node.trigger == "success" and self.is_in(ref, *lost)]
        late += [ref for ref in self.needs(node) if self.is_in(ref, *lost, "skipped")]
        spent = self.redone[node] == MAX_LOSSES or self.is_cancelled(node)
        return made.state == "succeeded" and not late and not spent

    def kind(self, task):
        """What kind of failure an attempt ended with."""
        kill, code = self.kills.get((task.node.id, task.attempt)), task.failure.code
        if kill is not None and kill.reason == "preempted" and code == "FR202":
            return "preempted"
        return _KINDS.get(code, "error")

    def _failures(self, node):
        return sum(self.retried[node].get(kind, 0) for kind in ("error", "crash", "timeout", "hang"))

    def _is_chosen(self, task):
        return not task.site.retry_on or self.kind(task) in task.site.retry_on

    def _memory(self, task):
        """Which amount was short, how much it had asked for, and how much it was seen to take."""
        if task.failure.code == "FR216":
            return "gpu_memory_mb", task.needs.gpu_memory_mb, task.usage.gpu_peak_mb
        exceeded = self.exceeded.get((task.node.id, task.attempt))
        used = exceeded.used if exceeded is not None and exceeded.reason == "memory" else 0
        seen = max(task.usage.peak_mb + task.failure.wanted_mb, used, LEAST_MB // 2)
        return "memory_mb", task.needs.memory_mb, seen

    def _could_have_more(self, task):
        name, had, _ = self._memory(task)
        if name == "gpu_memory_mb" and not had:
            return False
        enough = max(had + 1, task.failure.wanted_mb)
        return self.order.could_ever_have(self, _with(task.needs, name, enough))

    def _check_larger(self, needs, task):
        """It asks for twice what it had or took, or the most there could be, and for all else as before."""
        name, had, seen = self._memory(task)
        amount = getattr(needs, name)
        demand(needs == _with(task.needs, name, amount), task.node.id, "needs other things:", needs)
        demand(had < amount <= 2 * max(had, seen), task.node.id, "wants", amount, "after", had, "and", seen)
        demand(self.order.could_ever_have(self, needs), task.node.id, "can never have", amount)
        if amount < 2 * max(had, seen):
            more = self.order.could_ever_have(self, _with(task.needs, name, amount + 1))
            demand(not more, task.node.id, "could have more than", amount)

    def _check_kill(self, kill, task):
        before = self.kills.get((kill.node, kill.attempt))
        if kill.reason == "preempted" and not kill.force:
            demand(not before, "is asked to go twice:", kill)
            self.order.before_preemption(self, kill, task)
            demand(kill.grace_ms == self.order.notice_ms, "another notice than agreed:", kill)
        else:
            over = task.started_ms + task.site.timeout_ms <= kill.at_ms and task.site.timeout_ms
            taken = before is not None and before.reason == "preempted"
            exceeded = self.exceeded.get((kill.node, kill.attempt))
            why = exceeded.reason if exceeded else ""
            reasons = {
                "timeout": over,
                "cancelled": self.is_cancelled(kill.node),
                "preempted": taken,
                "memory": why == "memory" and kill.force and kill.used == exceeded.used,
                "hang": why == "hang",
            }
            demand(reasons[kill.reason], "no reason for", kill)
            demand(kill.grace_ms == GRACE_MS, "another grace than agreed:", kill)
        if kill.force and self.cancelled < 2 and kill.reason != "memory":
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
        """Everything that a node still waits for, or ever did, near or far.

        What a control node that is over came to may be made again: it is waited for through that.
        """
        found, todo = set(), [node]
        while todo:
            waiting = todo.pop()
            waits = {*self.parts(waiting), *self.taken(waiting)}
            for source in waited_for(self.shadow.by_id[waiting].node) | waits:
                over = self.is_in(source, "succeeded") and self.shadow.by_id[source].site.control == "none"
                if source not in found and (all_of_it or not over):
                    found.add(source)
                    todo.append(source)
        return found


def _with(needs, name, amount):
    return msgspec.structs.replace(needs, **{name: amount})


_KINDS = {
    "FR202": "crash",
    "FR203": "timeout",
    "FR207": "lost",
    "FR209": "preempted",
    "FR306": "damaged",
    "FR213": "memory",
    "FR215": "hang",
    "FR216": "memory",
    "FR218": "taken",
}

"""A simulated world around the scheduler's core: `World(seed)` plays what the shell and the host would.

It makes up a plan and a host, runs "processes" that end, fail, hang, get lost or are killed, answers what
branches and loops ask, cancels, crashes before or after the log is written, and resumes, perhaps with changed
source or with artifacts gone. It keeps its own books, and after every change compares them with the
scheduler's; `Broken` says what is wrong.

    safety     while faults happen: every invariant in `_check_*`
    liveness   then, without faults: every task is done within a bound
"""

import hashlib
import itertools
from collections import defaultdict
from operator import le
from random import Random

import msgspec
from graphs import host, plan

from flowc.plan.graph import waited_for
from flowc.plan.model import references, sources_of
from flowrun.core.changes import (
    GRACE_MS,
    AnyChange,
    Block,
    Cancel,
    CancelRequested,
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
from flowrun.core.control import flat
from flowrun.core.decide import MAX_BACKOFF_MS, MAX_LOSSES, decide
from flowrun.core.model import Artifact, Failure, Rejected
from flowrun.core.resume import carry_over
from flowrun.core.state import State

_decode = msgspec.json.Decoder(AnyChange).decode
_DUST = 1e-6
MOST_STEPS = 5000  # a run of 25 nodes needs a few hundred; far more means that it does not end


class Broken(AssertionError):
    """An invariant does not hold."""


def demand(holds, *what):
    if not holds:
        raise Broken(" ".join(map(str, what)))


class Process(msgspec.Struct):
    """A live attempt: when it ends, and how. `stubborn`: it does not heed a gentle kill."""

    start: Start
    ends_ms: float
    failure: str
    stubborn: bool
    kill: Kill | None = None


class World:
    """One simulated run, from a seed."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.now = self.random.choice([0, 1_700_000_000_000])
        self.host = _random_host(self.random)
        self.source = _random_source(self.random, self.host)
        self.code = ["code=first"] * len(self.source)  # what may change when a run is resumed
        self.faults = True
        chance = self.random.choice
        self.chances = {
            "advance": 30,
            "cancel": chance([0, 1, 2]),
            "lose all": chance([0, 1, 10]),
            "crash": chance([0, 1, 3]),
        }
        self._compile()
        self.log = []  # durable rows: JSON
        self.plans = {}  # digest -> plan
        self.store = set()  # hashes of artifacts
        self.attempts = defaultdict(int)  # the last one, ever
        self.made = {}  # node -> Artifact: the last one that is in the log, if it is in the store
        self._open({})

    def play(self):
        """Faults for a while, then none, until everything is done."""
        for _ in range(self.random.randrange(10, 60)):
            self._random_step()
        self.faults = False
        for _ in range(MOST_STEPS):
            if self.state.status == "succeeded":
                break
            if self.state.status == "running":
                self._advance()
            else:
                self._resume()
        self._check_done()

    # What happens

    def _random_step(self):
        actions = self.chances if self.state.status == "running" else {"resume": 1}
        match self.random.choices(list(actions), list(actions.values()))[0]:
            case "advance":
                self._advance(crash=self.random.choices(["", "before", "after"], [40, 1, 1])[0])
            case "cancel":
                self._step([CancelRequested(self.now)] * self.random.choice([1, 2]))
            case "lose all":
                self._lose_all()
            case "crash" | "resume":
                self._resume()

    def _advance(self, crash=""):
        """Go on to the next moment at which something happens, and let all of it happen in one step."""
        if self.asked:
            asked, self.asked = self.asked, []
            return self._step([self._answer(node) for node in asked], crash)
        wake = self.state.next_wake_ms()
        moments = [process.ends_ms for process in self.live.values()] + ([wake] if wake is not None else [])
        demand(moments, "the run has not ended, but nothing will ever happen")
        soonest = min(moments)
        demand(soonest < float("inf"), "a process hangs, and nobody will end it")
        slack = self.random.choice([0, 0, 1, 50])  # the shell may be late
        self.now = max(self.now, int(soonest) + slack)
        ended = [key for key, process in self.live.items() if process.ends_ms <= self.now]
        self.random.shuffle(ended)
        events = [self._exit(*key) for key in ended]
        if self.faults and self.random.random() < 0.02:
            events.append(CancelRequested(self.now))
        if wake is not None and wake <= self.now:
            events.append(Woke(self.now))
        self._step(events, crash)

    def _exit(self, node, attempt):
        process = self.live.pop((node, attempt))
        if process.failure:
            code = process.failure
            if process.kill is not None and code == "FR202":
                code = "FR203" if process.kill.reason == "timeout" else "FR202"
            return Exited(self.now, node, attempt, failure=Failure(code, "it broke"))
        artifact = self._artifact(node)
        self.store.add(artifact.hash)
        return Exited(self.now, node, attempt, artifact)

    def _answer(self, node):
        """What a control node asks for; it follows from what it depends on, as results do."""
        if self.faults and self.random.random() < 0.05:
            return Resolved(self.now, node, failure=Failure("FR208", "it is no list"))
        if self._control(node) == "branch":
            return Resolved(self.now, node, truth=self._truth(node))
        return Resolved(self.now, node, names=self._names(node))

    def _truth(self, node):
        return int(self.computes[node], 16) % 2 == 0

    def _names(self, node):
        args, reduces = self.nodes[node].args, self._control(node) == "reduce"
        items = flat(args["items" if reduces else "item"], self.state.results)
        count = int(self.computes[node], 16) % 5
        count = len(items) if isinstance(items, list) else max(count, reduces and "initial" not in args)
        return tuple(f"k{i}" for i in range(count))

    def _control(self, node):
        return self.state.by_id[node].site.control

    def _lose_all(self):
        """The fork server dies, and every process with it. A report that was on its way comes too late."""
        lost = sorted(self.live)
        self.live.clear()
        self._step([Exited(self.now, *key, failure=Failure("FR207", "lost")) for key in lost])

    def _step(self, events, crash=""):
        """What the shell does: decide about each event, append to the log, carry out."""
        changes = []
        for event in events:
            if self.state.status == "running":  # a signal may come together with the last exit
                self._check_event(event)
                changes += [event, *decide(self.state, event)]
        if crash == "before":
            return self._resume(compare=False)
        self.asked += [change.node for change in changes if isinstance(change, Resolve)]
        self.log += [msgspec.json.encode(change) for change in changes]
        for change in changes:
            self._check_change(_decode(msgspec.json.encode(change)))
        self._check_state(woke=any(isinstance(event, Woke) for event in events))
        if crash == "after":
            return self._resume()
        for change in changes:
            self._carry_out(change)

    def _carry_out(self, command):
        random = self.random
        match command:
            case Start(node=node, attempt=attempt):
                site = self.state.by_id[node].site
                ends = self.now + random.choice([0, 1, 10, random.randrange(1, 5000)])
                failure = random.choice(["FR201", "FR202"]) if self.faults and random.random() < 0.2 else ""
                if self.faults and site.timeout_ms and random.random() < 0.3:
                    ends, failure = float("inf"), "FR202"
                stubborn = random.random() < 0.3
                self.live[node, attempt] = Process(command, ends, failure, stubborn)
            case Kill(node=node, attempt=attempt, force=force):
                process = self.live.get((node, attempt))
                if process is not None:  # else it ended on its own just now
                    process.kill = command
                    if force or not process.stubborn:
                        process.ends_ms = min(process.ends_ms, self.now + random.randrange(20))
                        process.failure = process.failure or random.choice(["FR202", "FR202", ""])

    def _resume(self, compare=True):
        """A new scheduler begins where the log ends, perhaps of changed source, or with artifacts gone."""
        opened, before = self._rebuild()
        if compare:
            demand(_picture(before) == _picture(self.state), "the log does not give the state")
        demand(before.keys == self.state.keys[: len(before.keys)], "the log does not give the keys")
        if self.faults and self.random.random() < 0.3:
            changed = self.random.randrange(len(self.source))
            self.code[changed] = self.random.choice(["code", "op"]) + f"={self.random.random()}"
            self._compile()
        if self.faults and self.random.random() < 0.2:
            self.store -= set(
                self.random.sample(sorted(self.store), self.random.randrange(len(self.store) + 1))
            )
        self.made = {node: made for node, made in self.made.items() if made.hash in self.store}
        state = State(self.plan, opened.inputs)
        earlier = carry_over(before, state, lambda artifact: artifact.hash in self.store)
        kept = {node for node, was in earlier.items() if was.artifact is not None}
        expected = {
            node.id
            for node in self.plan.nodes
            if node.id in self.made
            and self.made[node.id] == self._artifact(node.id)
            and node.trigger == "success"
        }
        in_plan = kept & self.nodes.keys()
        demand(in_plan == expected, "kept", in_plan, "instead of", expected)
        demand(kept <= self.made.keys(), "kept what was not made:", kept - self.made.keys())
        self.now += self.random.randrange(1000)
        self._open(earlier)

    def _compile(self):
        """The plan of now, and for each node what stands for its computation: its source and all above it."""
        self.plan = plan("\n".join(map("  ".join, zip(self.source, self.code, strict=True))))
        self.nodes = {node.id: node for node in self.plan.nodes}
        self.codes = dict(zip(self.nodes, self.code, strict=True))
        self.computes = {}
        for node in self.plan.nodes:
            self.computes[node.id] = self._digest(node.id, node)

    def _digest(self, site, node):
        def of(tree):
            refs = [(self._computed(ref.source), ref.at) for ref in references(tree)]
            return refs or tree

        args = sorted((name, of(tree)) for name, tree in node.args.items())
        return hashlib.sha256(repr((site, self.codes[site], args)).encode()).hexdigest()

    def _computed(self, node):
        """What a node computes; one of a loop is there only when that has unfolded."""
        if node not in self.computes:
            self.computes[node] = self._digest(_loop(node), self.state.by_id[node].node)
        return self.computes[node]

    def _artifact(self, node):
        """A result is a function of what is computed: as if operators were deterministic."""
        return Artifact(self._computed(node), 10)

    def _open(self, earlier):
        """Begin with empty books: no process survives the scheduler."""
        self.live = {}  # (node, attempt) -> Process: what really runs
        self.held = {}  # (node, attempt) -> Placement: what the scheduler handed out
        self.asked = []  # control nodes that wait for an answer
        self.failures = defaultdict(int)
        self.losses = defaultdict(int)
        self.not_before_ms = defaultdict(int)
        self.ends = {}  # node -> its end for good
        self.cancelled = 0
        self.kills = {}
        self.state = State(self.plan, {})
        self.shadow = State(self.plan, {})
        digest = f"plan-{len(self.plans)}"
        self.plans[digest] = self.plan
        self._step([Opened(self.now, digest, {}, self.host, earlier)])

    def _rebuild(self):
        """What is in the log, from where the run was opened last."""
        changes = [_decode(row) for row in self.log]
        last = max(i for i, change in enumerate(changes) if isinstance(change, Opened))
        state = State(self.plans[changes[last].plan], changes[last].inputs)
        for change in changes[last:]:
            state.apply(change)
        return changes[last], state

    # What must hold

    def _check_event(self, event):
        if isinstance(event, Exited):
            demand(event.attempt == self.attempts[event.node], "an exit of a former attempt", event)

    def _check_change(self, change):
        """Compare a change with the books, in which all changes before it stand."""
        demand(self.shadow.status == "running", "after the end came", change)
        match change:
            case Exited(node=node, attempt=attempt):
                del self.held[node, attempt]
                if change.artifact is not None:
                    self._end(node, change)
                    self.made[node] = change.artifact
            case CancelRequested():
                self.cancelled += 1
            case Start(node=node):
                self._check_start(change, self.shadow.by_id[node])
                self.held[node, change.attempt] = change.placement
                self.attempts[node] = change.attempt
            case Resolve(node=node):
                demand(not self._is_cancelled(node), node, "asks after the run was cancelled")
                demand(not self._lacks(node), node, "asks before", self._lacks(node))
            case Retry(node=node):
                self._check_retry(change, self.shadow.by_id[node])
            case Fail(node=node):
                self._check_fail(self.shadow.by_id[node])
                self._end(node, change)
            case Block(node=node, by=by):
                demand(isinstance(self.ends.get(by), Fail), node, "blocked by", by, "which has not failed")
                demand(by in self._above(node), node, "does not wait for", by)
                self._end(node, change)
            case Skip(node=node):
                demand(self._why_skipped(node), node, "is skipped for no reason")
                self._end(node, change)
            case Cancel(node=node):
                demand(self._is_cancelled(node), node, "cancelled, but nobody wanted that")
                self._end(node, change)
            case Kill(node=node, attempt=attempt):
                demand((node, attempt) in self.held, "killed what does not run:", change)
                self._check_kill(change, self.shadow.by_id[node])
                self.kills[node, attempt] = change
            case Finish():
                self._check_finish(change)
        self.shadow.apply(change)
        self._check_resources()

    def _is_cancelled(self, node):
        """Whether a node is not to run any more because the user said so."""
        return self.cancelled > (self.shadow.by_id[node].node.trigger == "always")

    def _is(self, node, *states):
        return self.shadow.by_id[node].state in states

    def _parts(self, loop):
        """The nodes that a loop turned out to have."""
        return [task.node.id for task in self.shadow.tasks[len(self.nodes) :] if _loop(task.node.id) == loop]

    def _needs(self, node):
        """The nodes without whose success a node cannot run; a choice finds out about its values late."""
        task = self.shadow.by_id[node]
        chooses = task.site.control == "choose"
        trees = (tree for name, tree in task.node.args.items() if not chooses or name == "condition")
        found = {*task.node.when, *task.node.unless, *(ref for tree in trees for ref in sources_of(tree))}
        return found | {*self._parts(node)}

    def _lacks(self, node):
        """What a node must still wait for, or what says that it is not to run at all."""
        of = self.shadow.by_id[node].node
        lacking = {ref for ref in self._needs(node) if not self._is(ref, "succeeded")}
        lacking |= {ref for ref in of.when if not self._truth(ref)}
        lacking |= {ref for ref in of.unless if self._truth(ref)}
        if of.trigger == "success":
            return lacking | {ref for ref in of.after if not self._is(ref, "succeeded", "skipped")}
        over = ("succeeded", "failed", "blocked", "skipped", "cancelled")
        lacking |= {ref for ref in self._above(node, all_of_it=True) if not self._is(ref, *over)}
        if of.trigger == "failure" and of.after and not self._is_alarmed(of):
            lacking.add("a failure")
        return lacking

    def _is_alarmed(self, node):
        return any(self._is(ref, "failed", "blocked") for ref in node.after)

    def _why_skipped(self, node):
        task = self.shadow.by_id[node]
        of = task.node
        without = ("skipped",) if of.trigger == "success" else ("skipped", "failed", "blocked", "cancelled")
        if task.site.control == "choose":
            values = {ref for name in ("then", "otherwise") for ref in sources_of(of.args.get(name))}
            if any(self._is(ref, *without) for ref in values):
                return True
        return (
            any(self._is(ref, *without) for ref in self._needs(node))
            or any(self._is(ref, "succeeded") and not self._truth(ref) for ref in of.when)
            or any(self._is(ref, "succeeded") and self._truth(ref) for ref in of.unless)
            or (of.trigger == "failure" and not self._is_alarmed(of))
        )

    def _check_fail(self, task):
        node = task.node.id
        if task.site.control != "none":
            demand(task.failure.code == "FR208", node, "failed without an answer")
            return
        lost = task.failure.code == "FR207"
        spent = self.losses[node] == MAX_LOSSES if lost else self.failures[node] == task.site.retries
        demand(spent and not self._is_cancelled(node), node, "failed for good too soon")

    def _check_start(self, start, task):
        node, placement, needs = start.node, start.placement, task.site.needs
        demand(task.site.control == "none", node, "is no process")
        demand(not self._is_cancelled(node), node, "started after the run was cancelled")
        demand(node not in self.ends, node, "started after its end")
        demand(all(key[0] != node for key in self.held), node, "started while it runs")
        demand(start.attempt == self.attempts[node] + 1, node, "has attempt", start.attempt)
        demand(not self._lacks(node), node, "started before", self._lacks(node))
        again = self.made.get(node) == self._artifact(node) and task.node.trigger == "success"
        demand(not again, node, "is computed again")
        demand(start.at_ms >= self.not_before_ms[node], node, "started before its wait was over")
        demand(start.key == self.state.keys[task.index], node, "has another key")
        demand((placement.cpus, placement.memory_mb) == (needs.cpus, needs.memory_mb), "placed", placement)
        demand(len(set(placement.gpus)) == len(placement.gpus), "placed", placement)
        demand(needs.gpus <= len(placement.gpus) <= max(needs.gpus, needs.gpus_max), "placed", placement)
        demand(not needs.gpus or placement.gpu_memory_mb == needs.gpu_memory_mb, "placed", placement)
        for other in self.shadow.tasks:
            if other.state == "ready" and other.site.control == "none" and _urgency(other) < _urgency(task):
                ahead = self._fits(other) and not self._comes_after(other)
                demand(not ahead, node, "started before", other.node.id, "which is more urgent")

    def _fits(self, task):
        return not isinstance(self.shadow.scheduler.pool.place(task.site.needs), Rejected)

    def _comes_after(self, task):
        """Whether something more urgent waits for more than is free: then it may be kept free for that."""
        others = [other for other in self.shadow.tasks if _urgency(other) < _urgency(task)]
        return any(o.state == "ready" and o.site.control == "none" and not self._fits(o) for o in others)

    def _check_retry(self, retry, task):
        node = retry.node
        demand(not self._is_cancelled(node), node, "is to be retried in a cancelled run")
        demand(retry.lost == (task.failure.code == "FR207"), "wrong kind of", retry)
        if retry.lost:
            self.losses[node] += 1
            demand(self.losses[node] <= MAX_LOSSES, node, "is lost again and again")
            demand(retry.ready_at_ms == retry.at_ms, node, "waits, though it was lost")
        else:
            wait = min(task.site.backoff_ms * 2 ** self.failures[node], MAX_BACKOFF_MS)
            self.failures[node] += 1
            demand(self.failures[node] <= task.site.retries, node, "is retried too often")
            demand(retry.ready_at_ms == retry.at_ms + wait, node, "does not wait", wait)
        self.not_before_ms[node] = retry.ready_at_ms

    def _check_kill(self, kill, task):
        before = self.kills.get((kill.node, kill.attempt))
        over = task.started_ms + task.site.timeout_ms <= kill.at_ms and task.site.timeout_ms
        reasons = {"timeout": over, "cancelled": self._is_cancelled(kill.node)}
        demand(reasons.get(kill.reason), "no reason for", kill)
        if kill.force and self.cancelled < 2:
            demand(before and before.at_ms + GRACE_MS <= kill.at_ms, "no time to end in peace:", kill)

    def _check_finish(self, finish):
        states = {task.state for task in self.shadow.tasks}
        demand(not self.held, "the run ended while something runs")
        ends = {"succeeded", "failed", "blocked", "skipped", "cancelled"}
        demand(states <= ends, "the run ended with", states)
        if self.cancelled and "cancelled" in states:
            expected = "cancelled"
        else:
            expected = "failed" if states & {"failed", "blocked"} else "succeeded"
        demand(finish.status == expected, "the run ended as", finish.status, "not", expected)

    def _check_resources(self):
        """What is held is never more than there is, and what is free is the rest."""
        free, held = self.shadow.scheduler.pool.left(), list(self.held.values())
        gpu_memory_mb = {gpu.index: gpu.memory_mb for gpu in free.gpus}
        cpus, memory = sum(p.cpus for p in held), sum(p.memory_mb for p in held)
        demand(cpus <= self.host.cpus + _DUST, cpus, "CPUs are held")
        demand(memory <= self.host.memory_mb, memory, "MB are held")
        demand(abs(free.cpus + cpus - self.host.cpus) < _DUST, "CPUs got lost")
        demand(free.memory_mb + memory == self.host.memory_mb, "memory got lost")
        for gpu in self.host.gpus:
            holders = [p.gpu_memory_mb for p in held if gpu.index in p.gpus]
            whole = any(mb == 0 for mb in holders)
            demand(not whole or len(holders) == 1, "gpu", gpu.index, "is held whole and by others")
            demand(sum(holders) <= gpu.memory_mb, "gpu", gpu.index, "is over its memory")
            left = 0 if whole else gpu.memory_mb - sum(holders)
            demand(gpu_memory_mb[gpu.index] == left, "memory of gpu", gpu.index, "got lost")

    def _check_state(self, woke):
        """After each step: the log gives the state, nothing idles, nobody is over their time."""
        state = self.state
        demand(_picture(self.shadow) == _picture(state), "the log does not give the state")
        demand(set(state.running) == {node for node, _ in self.held}, "running:", set(state.running))
        demand(state.unfinished == sum(t.state in ("pending", "ready", "running") for t in state.tasks))
        demand((state.status == "running") == (state.unfinished > 0), "the run is", state.status)
        demand(not state.doomed and not state.unresolved, "undecided:", state.doomed, state.unresolved)
        for task in state.tasks:
            self._check_task(task)
        wake = state.next_wake_ms()
        if woke and state.status == "running":
            demand(wake is None or wake > self.now, "it wakes, and does nothing about", wake)
        for task in state.running.values():
            kill = self.kills.get((task.node.id, task.attempt))
            limit = task.started_ms + task.site.timeout_ms if task.site.timeout_ms and not kill else None
            if kill and not kill.force:
                limit = kill.at_ms + GRACE_MS
            demand(limit is None or (wake is not None and wake <= limit), task.node.id, "has no deadline")
            demand(
                not self._is_cancelled(task.node.id) or kill,
                task.node.id,
                "runs on, though the run is cancelled",
            )
            demand(self.cancelled < 2 or kill.force, task.node.id, "runs on, though the user insists")

    def _check_task(self, task):
        state, node = self.state, task.node.id
        if task.site.control != "none":
            self._check_control(task)
        elif task.state == "succeeded":
            demand(self.made.get(node) == task.artifact == self._artifact(node), node, "has another result")
        ended = self.ends.get(node)
        waits = task.state in ("pending", "ready")
        demand(not (waits and ended), node, "came back to life")
        if waits:
            gone = [
                ref for ref in self._needs(node) if self._is(ref, "failed", "blocked", "skipped", "cancelled")
            ]
            demand(not gone, node, "still waits, though", gone, "will never be done")
            demand(not self._is_cancelled(node), node, "still waits, though the run is cancelled")
            startable = not self._lacks(node) and self.not_before_ms[node] <= self.now
            if startable and task.state == "ready":
                demand(not self._fits(task) or self._comes_after(task), node, "idles")
            if startable and task.state == "pending":
                demand(task.site.control == "choose" or self.not_before_ms[node] > 0, node, "is not ready")
                demand(
                    task.site.control == "choose"
                    or (state.next_wake_ms() or 0) >= self.not_before_ms[node] > 0,
                    *(node, "sleeps on"),
                )

    def _check_control(self, task):
        """A control node has no process, and comes to what its answer says."""
        node, state = task.node.id, task.state
        demand(task.attempt == 0 and task.artifact is None, node, "is no process")
        demand(state != "ready", node, "neither asks nor is done")
        parts = self._parts(node)
        if state == "running" and not parts:
            demand(node in self.asked, node, "waits for an answer to nothing")
        if state == "running" and parts:
            demand(not all(self._is(part, "succeeded") for part in parts), node, "has all its nodes done")
        if state != "succeeded":
            return
        demand(not self._needs(node) or all(self._is(ref, "succeeded") for ref in self._needs(node)), node)
        match task.site.control:
            case "branch":
                demand(task.result is self._truth(node), node, "is decided wrongly")
            case "map":
                demand(
                    parts == [f"{node}[{name}]" for name in self._names(node)], node, "has the parts", parts
                )
                demand(task.result == [{"from": part} for part in parts], node, "comes to", task.result)
            case "reduce":
                items = len(self._names(node)) + ("initial" in task.node.args)
                demand(len(parts) == items - 1, node, "has the parts", parts)
        for ref in sources_of(task.result):
            demand(self.state.by_id[ref].site.control == "none", node, "comes to a control node")
            demand(self._is(ref, "succeeded"), node, "comes to what is not there")

    def _check_done(self):
        """Without faults, all that is not skipped is done; which that is, is worked out here once more."""
        demand(self.state.status == "succeeded", "it does not end:", self.state.status)
        skipped = set()
        for node in self.plan.nodes:
            args = dict(node.args)
            missed = [b for b in node.when if b in skipped or not self._truth(b)]
            missed += [b for b in node.unless if b in skipped or self._truth(b)]
            if self._control(node.id) == "choose":
                branch = args["condition"]["from"]
                args.pop("otherwise" if branch in skipped or self._truth(branch) else "then", None)
            missed += [ref for tree in args.values() for ref in sources_of(tree) if ref in skipped]
            if missed or node.trigger == "failure":
                skipped.add(node.id)
        found = {task.node.id for task in self.state.tasks if task.state == "skipped"}
        demand(found == skipped, "skipped are", found, "instead of", skipped)

    def _end(self, node, how):
        demand(node not in self.ends, node, "ended twice")
        self.ends[node] = how

    def _above(self, node, all_of_it=False):
        """Everything that a node still waits for, or ever did, near or far."""
        found, todo = set(), [node]
        while todo:
            waiting = todo.pop()
            for source in waited_for(self.shadow.by_id[waiting].node) | {*self._parts(waiting)}:
                if source not in found and (all_of_it or not self._is(source, "succeeded")):
                    found.add(source)
                    todo.append(source)
        return found


def _loop(node):
    """The loop that a node is of, by its id."""
    return node.rpartition("[")[0] or node


def _urgency(task):
    return (-task.site.priority, -task.priority, task.index)


def _picture(state):
    """All that there is to a state, for comparing."""
    return (
        state.tasks,
        sorted(state.running),
        (state.status, state.unfinished, state.cancelling, state.opened_ms, state.ended_ms),
        (state.results, state.earlier),
        state.scheduler.pool.left(),
        state.next_wake_ms(),
    )


def _random_host(random):
    gpus = [random.choice([8000, 16000]) for _ in range(random.choice([0, 0, 1, 3]))]
    return host(random.choice([1, 2, 4, 2.5]), random.choice([100, 1000]), gpus)


def _random_source(random, capacity):
    """The lines of a graph, see `graphs`, in which every node fits on the host."""
    count = random.randrange(1, random.choice([4, 12, 25]))
    density = random.choice([0.05, 0.15, 0.5])
    conditions = random.choice([0, 0.1, 0.3])  # of the nodes
    controls = random.choice([0, 0.2, 0.4])
    handlers = random.choice([0, 0, 2, 5])
    lines, branches, controls_of = [], [], {}
    for i in range(count):
        near = [f"n{j}" for j in range(max(0, i - 8), i)]
        sources = [name for name in near if random.random() < density]
        words = []
        if i >= count - handlers and near:
            words.append(f"trigger={random.choice(['failure', 'always'])}")
        if near and (words or random.random() < conditions / 2):
            words.append(f"after={','.join(random.sample(near, random.randrange(1, min(3, len(near)) + 1)))}")
        if branches and random.random() < conditions:
            words.append(f"{random.choice(['when', 'unless'])}={random.choice(branches)}")
        lists = [name for name in near if controls_of[name] in ("", "map")]
        control = random.choice(["branch", "map", "reduce", "choose"]) if random.random() < controls else ""
        match control:
            case "choose" if branches:
                values = random.sample(near, random.randrange(min(2, len(near)) + 1))
                sources = [random.choice(branches), *values]
            case "map" | "reduce" if lists:
                first = random.choice(lists)
                sources = [first, *(name for name in sources if name != first)]
                if control == "reduce" and len(sources) == 1 and controls_of[first] == "map":
                    words.append("initial=0")  # or it fails if there are no items
            case "map":
                sources = []
                words.append("item=[1,2,3]")
            case _:
                control = random.choice(["branch", ""])
                sources, words = (sources[:1], words) if control else (sources, words)
                words += ["condition=true"] if control and not sources else []
        words += [f"control={control}"] if control else []
        controls_of[f"n{i}"] = control
        if control == "branch":
            branches.append(f"n{i}")
        lines.append(" ".join([f"n{i}", "<", *sources, *words, *_random_settings(random, capacity)]))
    return lines


def _random_settings(random, capacity):
    for _ in itertools.count():
        settings = {
            "cpus": random.choice([0, 0.3, 1, 1, 1, 2, 4]),
            "memory": random.choice([0, 0, 10, 60, 100, 500]),
            "gpus": random.choice([0, 0, 0, 1, 2]),
            "gpu_memory": 0,
            "retries": random.choice([0, 0, 1, 3]),
            "backoff": random.choice([0, 1, 1000, 500_000]),
            "timeout": random.choice([0, 0, 20, 3000]),
            "priority": random.choice([0, 0, 0, 1, -5]),
        }
        if settings["gpus"]:
            settings["gpu_memory"] = random.choice([0, 3000, 8000, 12000, 16000])
            settings["gpus_max"] = random.choice([0, settings["gpus"] + 1])
        words = [f"{name}={value}" for name, value in settings.items()]
        large_enough = sum(gpu.memory_mb >= settings["gpu_memory"] for gpu in capacity.gpus)
        amounts = (settings["cpus"], settings["memory"], settings["gpus"])
        if all(map(le, amounts, (capacity.cpus, capacity.memory_mb, large_enough))):
            return words

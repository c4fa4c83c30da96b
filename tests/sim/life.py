"""One run's life: its log, its artifacts, its processes, and what the shell would do about its decisions."""

from collections import defaultdict
from random import Random

import msgspec
from books import demand
from ledger import Ledger
from oracle import loop_of
from standing import check_state, picture

from flowc.plan.model import sources_of
from flowrun.core.changes import (
    AnyChange,
    Exceeded,
    Exited,
    Kill,
    Opened,
    Resolve,
    Resolved,
    Start,
    Verified,
    Verify,
    Woke,
)
from flowrun.core.control import flat
from flowrun.core.model import Failure, Origin, Usage
from flowrun.core.resume import carry_over
from flowrun.core.reuse import Cache, Hit
from flowrun.core.task import is_due

_decode = msgspec.json.Decoder(AnyChange).decode
NEVER = float("inf")


class Process(msgspec.Struct):
    """A live attempt: when it ends, and how. `stubborn`: it does not heed a gentle kill.

    `exceeds` is the event that tells of a limit that it is going to be over, if it comes to that.
    """

    start: Start
    ends_ms: float
    failure: str
    stubborn: bool
    exceeds: Exceeded | None = None
    damaged: str = ""  # hash of what it cannot read
    kill: Kill | None = None


class Life:
    """A run, from its first opening on. `exact`: attempts last as long as their estimates say."""

    def __init__(self, run, random: Random, oracle, hosts, outside, order, exact=False, longest_ms=5000):
        self.run = run
        self.random = random
        self.oracle = oracle
        self.hosts = hosts
        self.outside = outside
        self.order = order
        self.exact = exact
        self.longest_ms = longest_ms
        self.failing = random.choice([0, 0.05]) if exact else 0.2  # how often an attempt does
        self.log = []  # durable rows: JSON
        self.plans = {}  # digest -> plan
        self.store = set()  # hashes of artifacts
        self.rots = random.choice([0, 0, 0.1, 0.3])  # how often one is damaged
        self.rotten = set()  # those that ever were
        self.attempts = defaultdict(int)  # the last one of each node, ever
        self.made = {}  # node -> Made: the last one that is in the log, if it is in the store
        self.told = []  # exits that stand in the log
        self.live = {}  # (node, attempt) -> Process: what really runs
        self.asked = []  # control nodes that wait for an answer
        self.results = {}  # content key -> Hit: what is in the log, of any execution
        self.computed = {}  # content key -> what it stands for
        self.luck = luck = Random(repr(random.getstate()))  # of its own: what it decides moves nothing else
        self.elsewhere = luck.choice([0] * 6 + [0.2, 0.7])  # how often another run has computed the same
        self.refresh = frozenset()
        self.unsure = {}  # node -> when it is known whether what it could take is sound, and the hash of that

    def open(self, state, shadow):
        """Begin with empty books: no process survives the scheduler. The name of the plan, for `Opened`."""
        self.live, self.asked, self.unsure = {}, [], {}
        self.state = state
        self.oracle.begin(state)
        books = (self.run, self.oracle, self.hosts, self.order, shadow, state, self.attempts, self.made)
        self.ledger = Ledger(*books, self.rotten)
        digest = f"plan-{len(self.plans)}"
        self.plans[digest] = self.oracle.plan
        return digest

    def cache(self):
        """What other executions and other runs have computed, for the next one; maybe not for all nodes."""
        luck, nodes = self.luck, sorted(self.oracle.nodes)
        some = luck.sample(nodes, luck.randrange(min(3, len(nodes)) + 1)) if luck.random() < 0.2 else ()
        self.refresh = frozenset(some)
        return Cache(self.look_up, luck.random() < 0.2, self.refresh)

    def look_up(self, key):
        """What is known under a content key."""
        (node,) = [node for node, found in self.state.contents.items() if found == key]
        artifact = self.oracle.artifact(node)
        demand(self.computed.setdefault(key, artifact) == artifact, node, "has the key of something else")
        hit = self.results.get(key)
        if hit is None and self.luck.random() < self.elsewhere:
            self.store.add(artifact.hash)
            hit = self.results[key] = Hit(artifact, Origin("other-1", node))
        if hit is not None and self.luck.random() < 0.3:
            return hit._replace(verified=False)
        return hit if hit is not None and hit.artifact.hash in self.store else None

    def placements(self):
        """What its processes hold. What was refused has none."""
        return [process.start.placement for process in self.live.values() if process.failure != _TAKEN]

    # What happens in the world

    def moments(self):
        """When something is going to happen by itself; infinite if it never does."""
        wake = self.state.clock.next_ms()
        exceeded = [p.exceeds.at_ms for p in self.live.values() if p.exceeds]
        ends = [process.ends_ms for process in self.live.values()]
        known = [at_ms for at_ms, _ in self.unsure.values()]
        return ends + exceeded + known + ([wake] if wake is not None else [])

    def happened(self, now):
        """The events of by now: how attempts ended, some told late or twice; and what time alone brings."""
        random = self.random
        ended = [key for key, process in self.live.items() if process.ends_ms <= now]
        random.shuffle(ended)
        events = [self._exit(now, *key) for key in ended]
        heard = [*self.told[-20:], *events]
        if heard and random.random() < 0.1:
            told = random.choice(heard)
            again = msgspec.structs.replace(told, at_ms=now, failure=random.choice([told.failure, _LOST]))
            at = events.index(told) + 1 if told in events else 0
            events.insert(random.randrange(at, len(events) + 1), again)
        events += self._exceeded(now)
        events += self._verdicts(now)
        wake = self.state.clock.next_ms()
        if wake is not None and wake <= now:
            events.append(Woke(now))
        return events

    def answers(self, now, faults):
        """What control nodes asked for; it follows from what they depend on, as results do. Maybe twice."""
        asked, self.asked = self.asked, []
        answers = [self._answer(now, node, faults) for node in asked]
        if self.random.random() < 0.1:
            answers.append(self.random.choice(answers))
        return answers

    def lose_all(self, now):
        """The fork server dies, and every process with it."""
        lost = sorted(self.live)
        self.live.clear()
        return [Exited(now, *key, failure=_LOST) for key in lost]

    def write(self, changes):
        """Append to the log."""
        self.asked += [change.node for change in changes if isinstance(change, Resolve)]
        for change in changes:
            if not isinstance(change, Exited) or change.artifact is None:
                continue
            key = self.state.contents.get(change.node)
            if key and change.artifact is self.state.by_id[change.node].artifact:
                self.results[key] = Hit(change.artifact, Origin(self.run, change.node, change.attempt))
        self.told += [change for change in changes if isinstance(change, Exited)]
        self.log += [msgspec.json.encode(change) for change in changes]

    def carry_out(self, command, now, faults):
        """Do what was decided."""
        random = self.random
        match command:
            case Verify(node=node, artifact=artifact):
                self.unsure[node] = now + self.luck.choice([0, 1, 50, 3000]), artifact.hash
            case Start(node=node, attempt=attempt) if self.outside.refuses(command.placement):
                self.live[node, attempt] = Process(command, now, _TAKEN, stubborn=False)
            case Start(node=node, attempt=attempt):
                site = self.state.by_id[node].site
                ends = now + random.choice([0, 1, 10, random.randrange(1, self.longest_ms)])
                codes = ["FR201", "FR202", "FR213", *(["FR216"] if site.needs.gpus else [])]
                failure = random.choice(codes) if faults and random.random() < self.failing else ""
                if self.exact:
                    ends = now + (random.randrange(site.estimate.ms) if failure else site.estimate.ms)
                elif faults and site.timeout_ms and random.random() < 0.3:
                    ends, failure = NEVER, "FR202"
                exceeds = None
                damaged = self._damaged(node)
                if damaged:
                    ends, failure = now + random.choice([0, 1, 20]), "FR306"
                if faults and not self.exact and random.random() < 0.2:
                    reason = random.choice(["memory", "hang"] if site.heartbeat_ms else ["memory"])
                    at_ms = min(ends, now + random.randrange(self.longest_ms))
                    exceeds = Exceeded(at_ms, node, attempt, reason, random.choice([0, 5, 50, 700]))
                self.live[node, attempt] = Process(
                    command, ends, failure, random.random() < 0.3, exceeds, damaged
                )
                if faults and self.store and random.random() < self.rots:
                    self._rot()
            case Kill(node=node, attempt=attempt, force=force):
                process = self.live.get((node, attempt))
                if process is not None:  # else it ended on its own just now
                    process.kill = command
                    if force or not process.stubborn:
                        process.ends_ms = min(process.ends_ms, now + random.randrange(20))
                        codes = (
                            ["FR202", "FR202", ""]
                            if command.reason != "preempted"
                            else ["FR202", "FR209", ""]
                        )
                        process.failure = process.failure or random.choice(codes)

    def change(self):
        """Between a crash and what follows: somebody edits the source, or artifacts get lost."""
        random = self.random
        if random.random() < 0.3:
            self.oracle.change(random)
        if random.random() < 0.2:
            self.store -= set(random.sample(sorted(self.store), random.randrange(len(self.store) + 1)))

    # What it leads to

    def check(self, changes):
        """Compare changes with the books, one by one, as they stand in the log."""
        for change in changes:
            self.ledger.enter(_decode(msgspec.json.encode(change)))

    def check_state(self, now, woke):
        check_state(self.ledger, self.asked, now, woke)

    def rebuild(self, new_state, compare=True):
        """What the log tells of the run since it was opened last. `new_state` makes a state of a plan."""
        changes = [_decode(row) for row in self.log]
        last = max(i for i, change in enumerate(changes) if isinstance(change, Opened))
        state = new_state(self.plans[changes[last].plan])
        for change in changes[last:]:
            state.apply(change)
        if compare:
            demand(picture(state) == picture(self.state), "the log does not give the state")
        demand(state.keys == self.state.keys[: len(state.keys)], "the log does not give the keys")
        return state

    def carried(self, before, state):
        """What is kept of an earlier execution."""
        self.made = {
            node: made
            for node, made in self.made.items()
            if made.artifact.hash in self.store and self.refresh.isdisjoint((node, loop_of(node)))
        }
        earlier = carry_over(before, state, lambda artifact: artifact.hash in self.store, self.refresh)
        kept = {node for node, was in earlier.items() if was.artifact is not None}
        expected = {
            node.id
            for node in self.oracle.plan.nodes
            if node.trigger == "success"
            and node.id in self.made
            and self.made[node.id].source == self.oracle.source_of(node.id)
        }
        in_plan = kept & self.oracle.nodes.keys()
        demand(in_plan == expected, "kept", in_plan, "instead of", expected)
        demand(kept <= self.made.keys(), "kept what was not made:", kept - self.made.keys())
        return earlier

    def _exit(self, now, node, attempt):
        process = self.live.pop((node, attempt))
        if process.failure == _TAKEN:
            taken = Failure(_TAKEN, "others were first")
            return Exited(now, node, attempt, failure=taken, elsewhere=self.outside.held)
        if process.failure:
            code = process.failure
            if process.kill is not None and code == "FR202":
                code = _CODES.get(process.kill.reason, "FR202")
            wanted_mb = self.random.choice([0, 0, 0, 7, 90, 5000]) if code == "FR213" else 0
            usage = Usage(
                peak_mb=self.random.choice([0, 3, 40, 2000]), gpu_peak_mb=self.random.choice([0, 5000])
            )
            damaged = process.damaged if code == "FR306" else ""
            failure = Failure(code, "it broke", wanted_mb=wanted_mb, damaged=damaged)
            return Exited(now, node, attempt, failure=failure, usage=usage)
        artifact = self.oracle.artifact(node)
        self.store.add(artifact.hash)
        return Exited(now, node, attempt, artifact)

    def _exceeded(self, now):
        """Who is over a limit; maybe some who are over altogether, or never were there."""
        for process in self.live.values():
            if process.exceeds and process.exceeds.at_ms <= now:
                yield msgspec.structs.replace(process.exceeds, at_ms=now)
                process.exceeds = None
        if self.random.random() < 0.02:
            node, attempt = f"n{self.random.randrange(30)}", self.random.randrange(1, 4)
            if (node, attempt) not in self.live:
                yield Exceeded(now, node, attempt, "memory", 1)

    def _verdicts(self, now):
        """Whether what nodes could take is sound; some are told twice, or after nobody wants to know."""
        for node, (at_ms, artifact) in list(self.unsure.items()):
            if at_ms <= now:
                del self.unsure[node]
                told = Verified(now, node, artifact, artifact in self.store)
                yield from [told] * self.luck.choice([1, 1, 1, 2])

    def _rot(self):
        """An artifact is damaged, and nobody has noticed yet; one that will be read, if there is any."""
        to_come = [task.node.id for task in self.state.tasks if is_due(task)]
        read = {digest for node in to_come for digest in self._taken(node)} & self.store
        digest = self.random.choice(sorted(read or self.store))
        self.store.discard(digest)
        self.rotten.add(digest)

    def _damaged(self, node):
        """The hash of what a node takes and cannot read; empty if it can read all of it."""
        return next((digest for digest in self._taken(node) if digest not in self.store), "")

    def _taken(self, node):
        """The hashes of what a node takes, as far as that is there."""
        state = self.state
        trees = [flat(tree, state.results) for tree in state.by_id[node].node.args.values()]
        found = [state.by_id[ref].artifact for tree in trees for ref in sources_of(tree)]
        return [artifact.hash for artifact in found if artifact is not None]

    def _answer(self, now, node, faults):
        if damaged := self._damaged(node):
            return Resolved(now, node, failure=Failure("FR306", "it is damaged", damaged=damaged))
        if faults and self.random.random() < 0.05:
            return Resolved(now, node, failure=Failure("FR208", "it is no list"))
        if self.oracle.control(node) == "branch":
            return Resolved(now, node, truth=self.oracle.truth(node))
        return Resolved(now, node, names=self.oracle.names(node))


_LOST = Failure("FR207", "lost")
_TAKEN = "FR218"
_CODES = {"timeout": "FR203", "memory": "FR213", "hang": "FR215"}

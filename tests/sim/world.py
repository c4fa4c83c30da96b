"""A simulated world around the scheduler's core: `World(seed)` plays what the shell and the host would.

It makes up a plan and a host, runs "processes" that end, fail, hang, get lost or are killed, tells of exits
late or twice, answers what branches and loops ask, cancels, crashes before or after the log is written, and
resumes, perhaps with changed source or with artifacts gone; artifacts rot, and others on the host (`outside`)
are quicker to take what is free. Books that are kept apart are compared with the scheduler's after every
change; `Broken` says what is wrong.

    safety     while faults happen: every invariant in `ledger`, `standing`, `books` and `urgency`
    liveness   then, without faults: every task is done within a bound
"""

from random import Random

from books import Hosts, demand
from life import NEVER, Life
from oracle import Oracle
from outside import Outside
from random_plans import random_host, random_source
from standing import check_done, is_hopeless
from urgency import Urgency

from flowrun.core.changes import CancelRequested, Elsewhere, Opened, Woke
from flowrun.core.decide import decide
from flowrun.core.state import State

MOST_STEPS = 5000  # a run of 25 nodes needs a few hundred; far more means that it does not end


class World:
    """One simulated run, from a seed.

    `exact`: everything lasts as long as it is estimated to. `hopeless`: some nodes need more than there is.
    """

    def __init__(self, seed):
        self.random = random = Random(seed)
        self.now = random.choice([0, 1_700_000_000_000])
        self.capacity = random_host(random)
        self.exact = random.random() < 0.25
        self.hopeless = random.random() < 0.1
        source = random_source(
            random, [self.capacity], hopeless=0.2 if self.hopeless else 0, exact=self.exact
        )
        self.faults = True
        chance = random.choice
        self.chances = {
            "advance": 30,
            "cancel": chance([0, 1, 2]),
            "lose all": chance([0, 1, 10]),
            "crash": chance([0, 1, 3]),
        }
        self.hosts = Hosts([self.capacity])
        self.outside = Outside(seed, [self.capacity], lambda: self.life.placements())
        self.life = Life("", random, Oracle(source), self.hosts, self.outside, None, self.exact)
        self._open({}, self.life.cache())

    def play(self):
        """Faults for a while, then none, until everything is done."""
        for _ in range(self.random.randrange(10, 60)):
            self._random_step()
        self.faults = False
        self.outside.leave()
        for _ in range(MOST_STEPS):
            status = self.life.state.status
            if status == "succeeded" or (self.hopeless and is_hopeless(self.life.ledger)):
                break
            if status == "running":
                self._advance()
            else:
                self._resume()
        if not is_hopeless(self.life.ledger):
            check_done(self.life.ledger)

    def _random_step(self):
        actions = self.chances if self.life.state.status == "running" else {"resume": 1}
        match self.random.choices(list(actions), list(actions.values()))[0]:
            case "advance":
                self._advance(crash=self.random.choices(["", "before", "after"], [40, 1, 1])[0])
            case "cancel":
                self._step([CancelRequested(self.now)] * self.random.choice([1, 2]))
            case "lose all":
                self._step(self.life.lose_all(self.now))
            case "crash" | "resume":
                self._resume()

    def _advance(self, crash=""):
        """Go on to the next moment at which something happens, and let all of it happen in one step."""
        if self.life.asked:
            return self._step(self.life.answers(self.now, self.faults), crash)
        moments = self.life.moments()
        if self.outside.is_seen(self.life.state.scheduler, self.faults and moments):
            return self._step([Elsewhere(self.now, self.outside.held)], crash)
        demand(moments, "the run has not ended, but nothing will ever happen")
        soonest = min(moments)
        demand(soonest < NEVER, "a process hangs, and nobody will end it")
        slack = 0 if self.exact else self.random.choice([0, 0, 1, 50])  # the shell may be late
        self.now = max(self.now, int(soonest) + slack)
        events = self.life.happened(self.now)
        if self.faults and self.random.random() < 0.02:
            events.append(CancelRequested(self.now))
        self._step(events, crash)

    def _step(self, events, crash=""):
        """What the shell does: decide about each event, append to the log, carry out."""
        life, changes = self.life, []
        for event in events:
            if life.state.status == "running":  # a signal may come together with the last exit
                changes += [event, *decide(life.state, event)]
        if crash == "before":
            return self._resume(compare=False)
        life.write(changes)
        life.check(changes)
        life.check_state(self.now, woke=any(isinstance(event, Woke) for event in events))
        life.order.after_step(life.ledger, self.now)
        self.hosts.check(life.state.scheduler.pool)
        self.hosts.check(life.ledger.shadow.scheduler.pool)
        if crash == "after":
            return self._resume()
        self.outside.act()
        for change in changes:
            life.carry_out(change, self.now, self.faults)

    def _resume(self, compare=True):
        """A new scheduler begins where the log ends, perhaps of changed source, or with artifacts gone."""
        before = self.life.rebuild(lambda plan: State(plan, {}), compare)
        if self.faults:
            self.life.change()
        cache = self.life.cache()
        earlier = self.life.carried(before, State(self.life.oracle.plan, {}))
        self.now += self.random.randrange(1000)
        self._open(earlier, cache)

    def _open(self, earlier, cache):
        self.hosts.held.clear()
        plan = self.life.oracle.plan
        self.life.order = Urgency(self.hosts, self.exact and not self.outside.restless)
        digest = self.life.open(State(plan, {}, cache=cache), State(plan, {}))
        opened = Opened(self.now, digest, {}, self.capacity, earlier, elsewhere=self.outside.held)
        self._step([opened])

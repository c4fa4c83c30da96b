"""A simulated world of many runs on the same hosts: `FleetWorld(seed)` plays what a daemon would.

Runs of random teams, tiers and priorities come and go on hosts that are shared by random rules. All that
`World` does to one run happens here to each; and the daemon crashes, whereupon every run is read from its own
log and goes on in a new scheduler. What is checked besides: limits, headroom, who was preempted and why
(`teams`), and that resources are conserved over all runs.
"""

from random import Random

from books import Hosts, demand
from life import NEVER, Life
from oracle import Oracle
from outside import Outside
from random_plans import random_source
from random_teams import random_hosts, random_sharing, totals
from standing import check_done
from teams import Teams

from flowrun.core.changes import CancelRequested, Elsewhere, Kill, Opened, Woke
from flowrun.core.fleet import Fleet, decide
from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.preempting import ByShares
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.shares import Shares
from flowrun.core.state import Shared, State

MOST_STEPS = 5000
MOST_RUNS = 6


class FleetWorld:
    """Simulated runs that share hosts, from a seed. `lives` are the runs that have not succeeded yet."""

    def __init__(self, seed):
        self.random = random = Random(seed)
        self.now = random.choice([0, 1_700_000_000_000])
        capacities = random_hosts(random)
        self.hosts = Hosts(capacities)
        self.capacity = totals(capacities)
        self.sharing = random_sharing(random, self.capacity)
        self.teams = Teams(self.hosts, self.sharing, self.capacity)
        self.longest_ms = random.choice([5000, 100_000])
        self.dense = random.random() < 0.4
        self.faults = True
        self.preempted = 0
        self.lives = {}
        self.outside = Outside(seed, capacities, self._placements)
        self._runs = 0
        chance = random.choice
        self.chances = {
            "advance": 30,
            "submit": chance([1, 3, 10]),
            "cancel": chance([0, 1]),
            "resume": chance([1, 3]),
            "lose all": chance([0, 1, 3]),
            "crash": chance([0, 1]),
        }
        self._boot()
        self._submit()

    def play(self):
        """Faults for a while, then none, until every run is done."""
        for _ in range(self.random.randrange(10, 80)):
            self._random_step()
        self.faults = False
        self.outside.leave()
        for _ in range(MOST_STEPS):
            if not self.lives:
                break
            ended = [run for run in self.lives if run not in self.fleet.runs]
            self._resume(ended[0]) if ended else self._advance()
        demand(not self.lives, "these do not end:", *self.lives)

    def _random_step(self):
        random = self.random
        running, ended = list(self.fleet.runs), [run for run in self.lives if run not in self.fleet.runs]
        match random.choices(list(self.chances), list(self.chances.values()))[0]:
            case "advance" if running:
                self._advance(crash=random.choices(["", "before", "after"], [60, 1, 1])[0])
            case "submit" if len(self.lives) < MOST_RUNS:
                self._submit()
            case "cancel" if running:
                requests = [CancelRequested(self.now)] * random.choice([1, 2])
                self._step([(random.choice(running), request) for request in requests])
            case "resume" if ended:
                self._resume(random.choice(ended))
            case "lose all" if running:
                run = random.choice(running)
                self._step([(run, event) for event in self.lives[run].lose_all(self.now)])
            case "crash":
                self._crash()

    def _advance(self, crash=""):
        """Go on to the next moment at which something happens, in any of the runs."""
        for run in self.fleet.runs:
            life = self.lives[run]
            if life.asked:
                return self._step([(run, e) for e in life.answers(self.now, self.faults)], crash)
        moments = [moment for run in self.fleet.runs for moment in self.lives[run].moments()]
        if self.outside.is_seen(self.fleet.scheduler, self.faults and moments):
            run = next(iter(self.fleet.runs))
            return self._step([(run, Elsewhere(self.now, self.outside.held))], crash)
        demand(moments, "runs have not ended, but nothing will ever happen:", *self.fleet.runs)
        soonest = min(moments)
        demand(soonest < NEVER, "a process hangs, and nobody will end it")
        self.now = max(self.now, int(soonest) + self.random.choice([0, 0, 1, 50]))
        runs = list(self.fleet.runs)
        self.random.shuffle(runs)
        self._step([(run, event) for run in runs for event in self.lives[run].happened(self.now)], crash)

    def _step(self, events, crash=""):
        """What the daemon does: decide about each event, append to the logs, carry out."""
        changes = []
        for run, event in events:
            if run in self.fleet.runs:  # a signal may come together with the last exit
                changes += [(run, event), *decide(self.fleet, run, event)]
                for name in [n for n, state in self.fleet.runs.items() if state.status != "running"]:
                    del self.fleet.runs[name]
        if crash == "before":
            return self._crash(compare=False)
        for run in dict.fromkeys(run for run, _ in changes):
            self.lives[run].write([change for name, change in changes if name == run])
        for run, change in changes:
            self.lives[run].check([change])
            self.preempted += isinstance(change, Kill) and change.reason == "preempted"
        self._check_all({run for run, event in events if isinstance(event, Woke)})
        if crash == "after":
            return self._crash()
        self.outside.act()
        for run, change in changes:
            self.lives[run].carry_out(change, self.now, self.faults)
        self._take_out()

    def _check_all(self, woken):
        for run in self.fleet.runs:
            self.lives[run].check_state(self.now, run in woken)
        self.hosts.check(self.fleet.scheduler.pool)
        self.hosts.check(self.shadow.pool)
        self.teams.after_step(self.now)

    def _take_out(self):
        """What succeeded is gone for good."""
        for run, ledger in list(self.teams.ledgers.items()):
            if ledger.state.status != "succeeded":
                continue
            check_done(ledger)
            del self.lives[run]
            self.teams.ledgers.pop(run)

    def _submit(self):
        """A new run, of any team without parts, tier and priority; what it needs, it may have."""
        random, self._runs = self.random, self._runs + 1
        parents = {team.parent for team in self.sharing.teams.values()}
        leaves = [number for number, name in enumerate(self.sharing.teams) if name not in parents]
        lane = Lane(random.choice(leaves), random.choice([1, 1, 2, 3, 3, 4, 4]))
        run = f"run-{self._runs}"
        self.teams.lanes[run] = lane
        self.teams.priorities[run] = random.choice([0, 0, 0, 1, 5])
        source = random_source(
            random,
            self.hosts.capacities,
            most=8,
            dense=self.dense,
            allowed=lambda needs: self.teams.ever_allowed(lane, needs),
        )
        self.lives[run] = Life(
            run, random, Oracle(source), self.hosts, self.outside, self.teams, longest_ms=self.longest_ms
        )
        self._open(run, {}, self.lives[run].cache())

    def _boot(self):
        """New schedulers: one that decides, and one that lives through what was decided."""
        self.hosts.held.clear()
        self.teams.claims.clear()
        self.teams.ledgers.clear()
        for life in self.lives.values():
            life.live = {}
        order = self._order()
        preempting = ByShares(order)
        scheduler = Scheduler(self._pool(), order, preempting, grace_ms=self.teams.notice_ms)
        self.fleet = Fleet(scheduler)
        self.shadow = Scheduler(self._pool(), self._order())

    def _pool(self):
        return Pool(self.hosts.capacities)

    def _order(self):
        return Fair(Shares(self.sharing, self.capacity), self.teams.smallest_gpu_mb)

    def _crash(self, compare=True):
        """The daemon is gone, and with it all processes. Each run goes on from where its log ends."""
        running = set(self.fleet.runs) if compare else set(self.lives)
        self._boot()
        found = {run: self._read(run, compare) for run in self.lives if run in running}
        self.now += self.random.randrange(1000)
        for run, state in found.items():
            if state.status == "running":
                self._reopen(run, state)
            elif state.status == "succeeded":
                del self.lives[run]  # it was just about to be taken out

    def _resume(self, run):
        self._reopen(run, self._read(run))

    def _read(self, run, compare=True):
        """A run as its log tells, alone on the hosts."""
        shared = self._shared(run, Scheduler(self._pool(), self._order()))
        return self.lives[run].rebuild(lambda plan: State(plan, {}, shared=shared), compare)

    def _reopen(self, run, before):
        life = self.lives[run]
        if self.faults:
            life.change()
        cache = life.cache()
        self._open(run, life.carried(before, State(life.oracle.plan, {})), cache)

    def _open(self, run, earlier, cache):
        life, plan = self.lives[run], self.lives[run].oracle.plan
        state = State(plan, {}, shared=self._shared(run, self.fleet.scheduler), cache=cache)
        shadow = State(plan, {}, shared=self._shared(run, self.shadow))
        digest = life.open(state, shadow)
        self.fleet.runs[run], self.teams.ledgers[run] = state, life.ledger
        opened = Opened(self.now, digest, {}, self.hosts.capacities[0], earlier, elsewhere=self.outside.held)
        self._step([(run, opened)])

    def _placements(self):
        return [placement for life in self.lives.values() for placement in life.placements()]

    def _shared(self, run, scheduler):
        urgency = (-self.teams.priorities[run], int(run.rpartition("-")[2]))
        return Shared(scheduler, run, self.teams.lanes[run], urgency)

"""The books of teams that share hosts: what each holds, may hold, and may take from others.

Worked out anew from what is held each time, and from the configuration as `docs/sharing.md` tells it.
"""

import math
from collections import defaultdict

from books import DUST, OUTSIDE, demand


class Teams:
    """Who comes first among many runs, which are told of by `ledgers`, `lanes` and `priorities`, by name."""

    def __init__(self, hosts, sharing, capacity):
        self.hosts = hosts
        self.sharing = sharing
        self.capacity = capacity
        self.names = list(sharing.teams)
        self.notice_ms = int(sharing.preemption.notice_s * 1000)
        self.smallest_gpu_mb = min(
            (gpu.memory_mb for host in hosts.capacities for gpu in host.gpus), default=0
        )
        self.entitled = {}
        self._divide("", capacity)
        self.ledgers = {}
        self.lanes = {}
        self.priorities = {}
        self.claims = set()  # for which places were taken from others

    def before_start(self, ledger, start, task):
        """It is within all limits, and what is more urgent in its lane does not fit or may not start."""
        lane = self.lanes[ledger.run]
        self._check_limits(lane, self._amounts(task.needs, start.placement), ledger.run, start.node)
        waiting = self._waiting()
        claimed = (ledger.run, start.node) in self.claims
        self.claims.discard((ledger.run, start.node))
        if claimed or any(self._is_misfit(*other) for other in waiting):
            return  # it was kept a place, or one is kept for another
        for run, other in waiting:
            if self.lanes[run] == lane and self._rank(run, other) < self._rank(ledger.run, task):
                ahead = self._may_start(run, other)
                demand(not ahead, ledger.run, start.node, "started before", run, other.node.id)

    def after_exit(self, ledger, start, exited):
        """Nothing depends on it."""

    def after_step(self, now):
        """Nothing idles that could run, unless something waits for more."""
        waiting = self._waiting()
        if any(self._is_misfit(*other) for other in waiting):
            return
        for run, task in waiting:
            demand(not self._may_start(run, task), run, task.node.id, "idles")

    def before_preemption(self, ledger, kill, task):
        """It is as the rules say: for whom, from whom, when, and how often."""
        rules = self.sharing.preemption
        lane = self.lanes[ledger.run]
        node = task.node.id
        demand(rules.enabled, "preemption is switched off:", kill)
        demand(lane.tier > 1, node, "is taken from tier 1")
        demand(kill.at_ms - task.started_ms >= rules.run_at_least_s * 1000, node, "ran too short a time")
        demand(ledger.retried[node].get("preempted", 0) < rules.times, node, "is taken once too often")
        run, _, asking = kill.by.partition("/")
        demand(run in self.ledgers, kill.by, "is not there")
        asks = self.ledgers[run].shadow.by_id[asking]
        by = self.lanes[run]
        promised = bool(self.claims - {(run, asking)})  # what is free may be for another one
        self.claims.add((run, asking))
        demand(asks.state == "ready", kill.by, "does not wait, and gets a place")
        demand(
            promised or not self.hosts.fits(asks.needs) or not self._has_headroom(run, asks),
            kill.by,
            "has room already",
        )
        demand(
            not self._over_limit(by, self._amounts_of(asks)), kill.by, "takes a place that it may not have"
        )
        if by.tier > 1:
            starves = kill.at_ms - asks.ready_at_ms > self.sharing.fairness.starvation_s * 1000
            demand(starves, kill.by, "takes a place, and neither is of tier 1 nor starves")
            demand(
                self._above(by.team) < -DUST / 1000,
                kill.by,
                "starves, but its team has what it is entitled to",
            )
            demand(self._above(lane.team) > -DUST, node, "is taken from a team that is not above its share")
            theirs = (lane.tier, -self.priorities[ledger.run])
            demand(theirs >= (by.tier, -self.priorities[run]), node, "is more important than", kill.by)

    def could_ever_start(self, ledger, task):
        return self.could_ever_have(ledger, task.needs)

    def could_ever_have(self, ledger, needs):
        return self.ever_allowed(self.lanes[ledger.run], needs) and self.hosts.ever_fits(needs)

    def ever_allowed(self, lane, needs):
        """Whether a lane could have something if nothing else ran."""
        amounts = self._amounts_at_most(needs)
        for team in self._path(lane.team):
            limits = self.limits(team)
            if any(amount > limits[name] + DUST for name, amount in amounts.items() if amount):
                return False
        return lane.tier == 1 or all(
            amount <= self._below_headroom(name) + DUST for name, amount in amounts.items() if amount
        )

    def limits(self, team):
        """The most that a team may hold, by resource."""
        config, own = self.sharing.teams[team], self.entitled[team]
        bursts = {
            name: math.ceil(own[name] * config.burst - DUST)
            if config.burst is not None and own[name]
            else math.inf
            for name in self.capacity
        }
        return {**bursts, **config.limit}

    def used(self, teams=None, tiers=range(100), without=frozenset()):
        """What is held in all by some teams, and by those that are parts of them, in some tiers."""
        used = dict.fromkeys(self.capacity, 0)
        for key, placement in self.hosts.held.items():
            if key[0] is OUTSIDE:
                continue
            lane = self.lanes[key[0]]
            if (
                key not in without
                and lane.tier in tiers
                and (teams is None or {*self._path(lane.team)} & {*teams})
            ):
                for name, amount in self._amounts(self.hosts.needs[key], placement).items():
                    used[name] += amount
        return used

    def _divide(self, parent, whole):
        """Entitlements from the top down: quotas, shares, and by weight what they leave."""
        parts = {name: team for name, team in self.sharing.teams.items() if team.parent == parent}
        left = dict(whole)
        for name, team in parts.items():
            if team.quota or team.share is not None:
                own = {r: team.quota.get(r, 0) if team.quota else whole[r] * team.share for r in whole}
                self.entitled[name] = own
                left = {r: max(0, left[r] - own[r]) for r in whole}
        weights = sum(team.weight for name, team in parts.items() if name not in self.entitled)
        for name, team in parts.items():
            if name not in self.entitled:
                self.entitled[name] = {r: left[r] * team.weight / weights for r in whole}
        for name in parts:
            self._divide(name, self.entitled[name])

    def _path(self, number):
        path = [self.names[number]]
        while self.sharing.teams[path[-1]].parent:
            path.append(self.sharing.teams[path[-1]].parent)
        return path

    def _above(self, number):
        """How far a team is above its entitlement, as a part of that: the least of it and those it is in."""
        above = []
        for team in self._path(number):
            used, own = self.used([team]), self.entitled[team]
            above.append(max(_ratio(used[name], own[name]) for name in self.capacity) - 1)
        return min(above)

    def _waiting(self):
        return [(run, task) for run, ledger in self.ledgers.items() for task in ledger.waiting()]

    def _rank(self, run, task):
        number = int(run.rpartition("-")[2])
        return (-self.priorities[run], number, -task.site.priority, -task.priority, task.index)

    def _is_misfit(self, run, task):
        """Whether it waits for something to become free: a place may be kept for it."""
        return not self.hosts.fits(task.needs) or not self._has_headroom(run, task)

    def _may_start(self, run, task):
        over = self._over_limit(self.lanes[run], self._amounts_at_most(task.needs))
        return not self._is_misfit(run, task) and not over

    def _amounts_of(self, task):
        return self._amounts(task.needs)

    def _amounts_at_most(self, needs):
        """With named resources on as many hosts as a gang may need, if it does not find room on fewer."""
        amounts = self._amounts(needs)
        for name, amount in needs.uses:
            amounts[name] = amount * max(1, needs.hosts_max)
        return amounts

    def _over_limit(self, lane, amounts):
        """The limit that a lane's team, or one that it is in, would exceed with this."""
        for team in self._path(lane.team):
            used, limits = self.used([team]), self.limits(team)
            for name, amount in amounts.items():
                if amount and used[name] + amount > limits[name] + DUST:
                    return f"{team}: {used[name] + amount} {name} of {limits[name]}"
        return None

    def _has_headroom(self, run, task):
        return self.lanes[run].tier == 1 or not self._over_headroom(self._amounts_of(task))

    def _over_headroom(self, amounts):
        used = self.used(tiers=range(2, 100))
        over = [n for n, a in amounts.items() if a and used[n] + a > self._below_headroom(n) + DUST]
        return over

    def _below_headroom(self, name):
        kept = math.floor(self.capacity[name] * self.sharing.tiers.headroom + DUST)
        return (
            self.capacity[name] - kept if kept else math.inf
        )  # parts of GPUs may add up to more than there are

    def _check_limits(self, lane, amounts, run, node):
        over = self._over_limit(lane, amounts)
        demand(not over, run, node, "starts above the limit of", over)
        demand(lane.tier == 1 or not self._over_headroom(amounts), run, node, "takes what is kept for tier 1")

    def _amounts(self, needs, placement=None):
        """What needs ask for at least, or with a placement got, by resource; of a shared GPU a part of the
        smallest. A gang holds named resources on each host."""
        parts = (placement, *placement.parts) if placement else ()
        gpus = sum(len(part.gpus) for part in parts) if placement else needs.gpus
        shared = needs.gpu_memory_mb and self.smallest_gpu_mb
        part = min(1, needs.gpu_memory_mb / self.smallest_gpu_mb) if shared else 1
        amounts = defaultdict(float, cpus=needs.cpus, memory_mb=needs.memory_mb, gpus=gpus * part)
        for name, amount in needs.uses:
            amounts[name] += amount * max(1, len(parts))
        return amounts


def _ratio(used, own):
    """What is used as a multiple of what is guaranteed; of what is not guaranteed at all, much."""
    return used / own if own else (math.inf if used else 0)

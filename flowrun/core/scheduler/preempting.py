"""Who takes a place from whom: for what is critical or starves, or for what is going to be over sooner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol

from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.request import Holding, Ref, Request
from flowrun.core.scheduler.trial import Trial, hosts_of
from flowrun.core.sharing.preemption import Asking, Held, victims

if TYPE_CHECKING:
    from flowrun.core.scheduler.scheduler import Scheduler

Chosen = tuple[Ref, list[Holding]]  # for whom, and what has to go
Rank = tuple[float, ...]


class Preempting(Protocol):
    """Chooses what has to give up its place."""

    keeps_promises: bool  # a place for the first that does not fit; or else it takes one, and nothing is kept
    claims_max: int  # that wait for their places at a time

    def choose(self, scheduler: Scheduler, now_ms: int) -> Chosen | None:
        """Asked when nothing more fits. What was chosen before, and is still awaited, is in `claims`."""


class ByRank:
    """What is less urgent gives up its place to what is more so, within a lane: as ranks are at this moment.

    Who gives up a place has to keep what it has done, or this wastes work. `rank` says where something that
    runs would stand now if it waited.
    """

    keeps_promises = False
    claims_max = 1

    def __init__(self) -> None:
        self.rank: Callable[[Holding, int], Rank] = lambda holding, now_ms: holding.request.rank

    def choose(self, scheduler: Scheduler, now_ms: int) -> Chosen | None:
        """For the first in each lane, the least urgent of what runs in it, and no more than is needed."""
        for lane, heads in scheduler.queue.heads.items():
            running = scheduler.holdings.by_lane.get(lane)
            if not heads or not running:
                continue
            ranked = sorted(
                ((self.rank(holding, now_ms), at) for at, holding in enumerate(running.values())),
                reverse=True,
            )
            holdings = list(running.values())
            for rank, _, request, _ in heads:
                if rank >= ranked[0][0]:
                    break
                worse = [holdings[at] for other, at in ranked if other > rank]
                if taken := enough(scheduler.pool, request, worse):
                    return request.ref, taken
        return None


class ByShares:
    """For the first tier, and for who starves below their entitlement: see `flowrun.core.sharing.preemption`.

    What is considered is bounded: the work of the lowest tiers, as much as `CONSIDERED`. Who was refused does
    not ask again for a while. `saves`: what is preempted keeps what it has done.
    """

    keeps_promises = True
    claims_max = 16
    CONSIDERED = 512
    HOSTS = 8  # with most that may be taken; a place on one host needs victims on one host
    AGAIN_MS = 300_000
    CALM_MS = 60_000
    ASKING = 8  # lanes of the first tier, and of each as many requests, in one round

    def __init__(self, order: Fair, saves: bool = False) -> None:
        self._order = order
        self._saves = saves
        self._refused: dict[Ref, int] = {}  # when it may ask again
        self._calm_until = 0  # when another one that starves may ask

    def choose(self, scheduler: Scheduler, now_ms: int) -> Chosen | None:
        """For the most urgent of tier 1 that has no place; else for who was refused one and starves."""
        if not self._order.shares.sharing.preemption.enabled:
            return None
        for request in self._asking(scheduler, now_ms):
            if request.ref in scheduler.claims or self._refused.get(request.ref, 0) > now_ms:
                continue
            chosen = self._victims(request, scheduler, now_ms)
            if chosen:
                return request.ref, chosen
            if request.lane.tier > 1:
                self._calm_until = now_ms + self.CALM_MS
            if len(self._refused) > 10_000:
                self._refused.clear()
            self._refused[request.ref] = now_ms + self.AGAIN_MS
        return None

    def _asking(self, scheduler: Scheduler, now_ms: int) -> Iterator[Request]:
        firsts = sorted((heads[0], lane) for lane, heads in scheduler.queue.urgent.items())
        for _, lane in firsts[: self.ASKING]:
            yield from scheduler.queue.firsts(lane, self.ASKING)
        first = scheduler.refused
        if first is None or first.ref not in scheduler.queue or first.lane.tier == 1:
            return
        if now_ms < self._calm_until:
            return
        if self._order.shares.starving(now_ms - first.since_ms):
            yield first

    def _victims(self, request: Request, scheduler: Scheduler, now_ms: int) -> list[Holding]:
        shares, pool = self._order.shares, scheduler.pool
        if self._order.allowed(request) is not None:
            return []
        lane = request.lane
        asking = Asking(
            lane.team, lane.tier, -request.rank[0], self._order.amounts(request), request.since_ms
        )
        if lane.tier > 1 and shares.has_its_part(lane.team):
            return []  # `victims` would say so, after all had been looked at
        considered = self._considered(scheduler, lane.tier)
        for holdings in _by_host(considered, self.HOSTS) if request.needs.hosts_max == 1 else [considered]:
            held = [self._held(at, holding, now_ms) for at, holding in enumerate(holdings)]
            with Trial(pool, request, scheduler.claims.values()) as trial:
                fits = _fits(trial, holdings)
                found = victims(asking, held, shares, fits, now_ms)
            if found.tasks:
                return [holdings[task] for task in found.tasks]
        return []

    def _considered(self, scheduler: Scheduler, tier: int) -> list[Holding]:
        """What runs in the lowest tiers, of teams that have most above their entitlement."""
        least = max(2, tier)
        lanes = [
            lane for lane, running in scheduler.holdings.by_lane.items() if running and lane.tier >= least
        ]
        penalty = self._order.shares.penalty
        lanes.sort(key=lambda lane: (-lane.tier, -penalty[lane.team], lane.team))
        running = chain.from_iterable(scheduler.holdings.by_lane[lane].values() for lane in lanes)
        return list(islice((holding for holding in running if not holding.leaving), self.CONSIDERED))

    def _held(self, at: int, holding: Holding, now_ms: int) -> Held:
        request = holding.request
        amounts = self._order.held(request, holding.placement)
        return Held(
            at,
            request.lane.team,
            request.lane.tier,
            -request.rank[0],
            amounts,
            holding.started_ms,
            now_ms if self._saves else 0,
            request.preempted,
        )


def enough(pool: Pool, request: Request, candidates: Sequence[Holding]) -> list[Holding]:
    """As many candidates, the first first, as have to go for a request to fit; none if all are not enough.

    Of those, the last that can be spared are spared.
    """
    taken: list[Holding] = []
    with Trial(pool, request) as trial:
        for holding in candidates:
            if holding.leaving:
                continue
            taken.append(holding)
            if trial.fits(taken):
                break
        else:
            return []
        for holding in reversed(taken[:-1]):
            others = [other for other in taken if other is not holding]
            if trial.fits(others):
                taken = others
    return taken


def _fits(trial: Trial, holdings: Sequence[Holding]) -> Callable[[Sequence[Held]], bool]:
    return lambda taken: trial.fits([holdings[one.task] for one in taken])


def _by_host(holdings: Iterable[Holding], most: int) -> list[list[Holding]]:
    """What holds places on each host, for the hosts on which the most GPUs or, without any, CPUs are held."""
    hosts: dict[int, list[Holding]] = {}
    for holding in holdings:
        for host in hosts_of(holding.placement):
            hosts.setdefault(host, []).append(holding)
    held = {
        host: sum(len(one.placement.gpus) + one.placement.cpus / 1000 for one in of)
        for host, of in hosts.items()
    }
    return [hosts[host] for host in sorted(hosts, key=lambda host: (-held[host], host))[:most]]

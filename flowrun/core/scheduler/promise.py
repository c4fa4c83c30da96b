"""The earliest place for a request that does not fit now, and what would be in its way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowc.plan.model import Resources
from flowrun.core.model import Placement, Rejected
from flowrun.core.pool import Pool
from flowrun.core.pool.hosts import thousandths
from flowrun.core.scheduler.order import Order
from flowrun.core.scheduler.request import UNKNOWN_MS, Holding, Request
from flowrun.core.scheduler.trial import Trial, amount_of, hosts_of

TRIALS = 2


class Promise:
    """A place for a request, expected at `at_ms`, when `freed` are given back; on `hosts`, if known where.

    Looking ahead is bounded: `at_ms` may be too early then, which lets less pass, and never too much. So is
    trying whether there is room beside it: what comes after `TRIALS` in a round has to be over in time.
    """

    def __init__(
        self,
        request: Request,
        at_ms: int,
        freed: Sequence[Holding] = (),
        hosts: frozenset[int] | None = None,
    ) -> None:
        self.request = request
        self.at_ms = at_ms
        self._hosts = hosts
        self._freed = {id(holding): holding for holding in freed}
        self._spare: list[int] = [sum(column) for column in zip(*map(_scalars, freed), strict=True)] or [0, 0]
        self._in_the_way: set[Placement] = set()  # what was found to be, while all else stays as it is
        self._trials = 0

    def new_round(self) -> None:
        """Each may try again whether there is room beside it."""
        self._trials = 0

    def started(self, holding: Holding) -> None:
        """Something got a place beside it, or passes it."""
        if holding.ends_ms <= self.at_ms:
            self._freed[id(holding)] = holding
            self._count(holding, 1)

    def ended(self, holding: Holding) -> None:
        """A place was given back. If nobody counted on it, there is more room beside the promised place."""
        if self._freed.pop(id(holding), None) is None:
            self._in_the_way.clear()
        else:
            self._count(holding, -1)

    def _count(self, holding: Holding, sign: int) -> None:
        cpus, memory_mb = _scalars(holding)
        self._spare[0] += sign * cpus
        self._spare[1] += sign * memory_mb

    def in_time(self, request: Request, now_ms: int) -> bool:
        """Whether a request, placed now, is going to be over by then."""
        waited_ms = now_ms - self.request.since_ms
        return now_ms + (request.estimate_ms or max(UNKNOWN_MS, waited_ms)) <= self.at_ms

    def in_the_way(self, request: Request, placement: Placement, pool: Pool, order: Order) -> bool:
        """Whether a request that lasts longer takes what the promised place needs."""
        if self._hosts is None or placement in self._in_the_way:
            return True
        if self._leaves_room(request, placement, pool):
            freed = list(self._freed.values())
            if order.reserved(self.request, freed, request) is None:
                return False
        self._in_the_way.add(placement)
        return True

    def _leaves_room(self, request: Request, placement: Placement, pool: Pool) -> bool:
        assert self._hosts is not None
        if self._hosts.isdisjoint(hosts_of(placement)):
            return True
        promised, needs = self.request.needs, request.needs
        if len(pool) == 1 and _is_simple(promised):
            cpus, memory_mb = pool.spare()
            more_cpus, more_mb = self._spare
            left_cpus = cpus + more_cpus - thousandths(promised.cpus) - thousandths(needs.cpus)
            left_mb = memory_mb + more_mb - promised.memory_mb - needs.memory_mb
            return min(left_cpus, left_mb) >= 0
        self._trials += 1
        if self._trials > TRIALS:
            return False
        pool.take(placement)
        with Trial(pool, self.request) as trial:
            fits = trial.fits(list(self._freed.values()))
        pool.give_back(placement)
        return fits


def promise(
    request: Request, lacks: Rejected | None, soonest: Iterable[Holding], pool: Pool, order: Order, at_ms: int
) -> Promise:
    """When a request is expected to fit: once enough of `soonest` have given back their places.

    `lacks` is what is missing now, if it is that.
    """
    # On a single host it is known how much has to come free before it is worth to look again.
    alone = len(pool) == 1
    missing = lacks.need - lacks.have if lacks is not None and alone else 0.0
    freed: list[Holding] = []
    with Trial(pool, request) as trial:
        for holding in soonest:
            freed.append(holding)
            at_ms = holding.ends_ms
            if missing > 0 and lacks is not None:
                missing -= amount_of(holding.placement, lacks.dimension)
                if missing > 1e-9:
                    continue
            if order.reserved(request, freed) is None and (found := trial.place(freed)) is not None:
                return Promise(request, at_ms, freed, frozenset(hosts_of(found)))
    return Promise(request, at_ms, freed)


def _is_simple(needs: Resources) -> bool:
    """Whether only sums of CPUs and memory matter."""
    return not needs.gpus and not needs.uses


def _scalars(holding: Holding) -> tuple[int, int]:
    return thousandths(holding.placement.cpus), holding.placement.memory_mb

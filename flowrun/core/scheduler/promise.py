"""The earliest place for a request that does not fit now, and what would be in its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from flowc.plan.model import Resources
from flowrun.core.model import Placement, Rejected
from flowrun.core.pool import Pool
from flowrun.core.pool.hosts import thousandths
from flowrun.core.scheduler.order import Order
from flowrun.core.scheduler.request import UNKNOWN_MS, Holding, Request
from flowrun.core.scheduler.trial import Trial, amount_of, hosts_of

MOVES = 256
_ALONE = frozenset((0,))


class Promise:
    """A place for a request, expected at `at_ms`, when `freed` are given back; on `hosts`, if known where.

    Looking ahead is bounded: `at_ms` may be too early then, which lets less pass, and never too much. So is
    trying whether there is room beside it: once `MOVES` places were given back on trial in a round, what
    follows has to be over in time.

    `sums` are given where CPUs and memory tell all about what is in its way: what is freed of them, less what
    the request needs.
    """

    def __init__(
        self,
        request: Request,
        at_ms: int,
        freed: Sequence[Holding] = (),
        hosts: frozenset[int] | None = None,
        sums: tuple[int, int] | None = None,
    ) -> None:
        self.request = request
        self.at_ms = at_ms
        self._hosts = hosts
        self._freed = {id(holding): holding for holding in freed}
        self.by_sums = sums is not None
        self._cpus, self._memory_mb = sums or (0, 0)
        self._in_the_way: set[Placement] = set()  # what was found to be, while all else stays as it is
        self._moves = 0

    def new_round(self) -> None:
        """Again it may be tried whether there is room beside it."""
        self._moves = 0

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
        self._cpus += sign * thousandths(holding.placement.cpus)
        self._memory_mb += sign * holding.placement.memory_mb

    def in_time(self, request: Request, now_ms: int) -> bool:
        """Whether a request, placed now, is going to be over by then."""
        waited_ms = now_ms - self.request.since_ms
        return now_ms + (request.estimate_ms or max(UNKNOWN_MS, waited_ms)) <= self.at_ms

    def in_the_way(self, request: Request, placement: Placement | None, pool: Pool, order: Order) -> bool:
        """Whether a request that lasts longer takes what the promised place needs.

        It needs a `placement` unless sums tell.
        """
        if self._hosts is None:
            return True
        if self.by_sums:
            cpus, memory_mb = pool.spare()
            needs = request.needs
            if thousandths(needs.cpus) > cpus + self._cpus or needs.memory_mb > memory_mb + self._memory_mb:
                return True
            return self._is_reserved(request, order)
        assert placement is not None
        if placement in self._in_the_way:
            return True
        if not self._hosts.isdisjoint(hosts_of(placement)):
            self._moves += 2 * len(self._freed) + 1
            if self._moves > MOVES:
                return True
            if not self._leaves_room(placement, pool):
                self._in_the_way.add(placement)
                return True
        return self._is_reserved(request, order)

    def _is_reserved(self, request: Request, order: Order) -> bool:
        return order.reserved(self.request, list(self._freed.values()), request) is not None

    def _leaves_room(self, placement: Placement, pool: Pool) -> bool:
        pool.take(placement)
        with Trial(pool, self.request) as trial:
            fits = trial.fits(list(self._freed.values()))
        pool.give_back(placement)
        return fits


def promise(request: Request, soonest: Iterable[Holding], pool: Pool, order: Order, at_ms: int) -> Promise:
    """When a request is expected to fit: once enough of `soonest` have given back their places.

    What is going to be over at that very moment is, too: there may be room beside it by that.
    """
    soonest = iter(soonest)
    if len(pool) == 1 and _is_plain(request.needs):
        return _promise_by_sums(request, soonest, pool, order, at_ms)
    freed: list[Holding] = []
    lacks = pool.place(request.needs)
    # On a single host it is known how much has to come free before it is worth to look again.
    missing = lacks.need - lacks.have if isinstance(lacks, Rejected) and len(pool) == 1 else 0.0
    with Trial(pool, request) as trial:
        for holding in soonest:
            freed.append(holding)
            at_ms = holding.ends_ms
            if missing > 0 and isinstance(lacks, Rejected):
                missing -= amount_of(holding.placement, lacks.dimension)
                if missing > 1e-9:
                    continue
            if order.reserved(request, freed) is None and (found := trial.place(freed)) is not None:
                freed += _until(at_ms, soonest)
                return Promise(request, at_ms, freed, frozenset(hosts_of(found)))
    return Promise(request, at_ms, freed)


def _promise_by_sums(
    request: Request, soonest: Iterable[Holding], pool: Pool, order: Order, at_ms: int
) -> Promise:
    cpus, memory_mb = -thousandths(request.needs.cpus), -request.needs.memory_mb
    spare_cpus, spare_mb = pool.spare()
    freed: list[Holding] = []
    fits = False
    for holding in soonest:
        if fits and holding.ends_ms > at_ms:
            break
        freed.append(holding)
        at_ms = holding.ends_ms
        cpus += thousandths(holding.placement.cpus)
        memory_mb += holding.placement.memory_mb
        if not fits and cpus + spare_cpus >= 0 and memory_mb + spare_mb >= 0:
            fits = order.reserved(request, freed) is None
    return Promise(request, at_ms, freed, _ALONE if fits else None, (cpus, memory_mb))


def _until(at_ms: int, soonest: Iterator[Holding]) -> Iterator[Holding]:
    return takewhile(lambda holding: holding.ends_ms <= at_ms, soonest)


def _is_plain(needs: Resources) -> bool:
    """Whether on a host alone only sums of CPUs and memory matter."""
    return not needs.gpus and not needs.uses

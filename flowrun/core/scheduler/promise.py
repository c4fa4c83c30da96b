"""The earliest place for a request that does not fit now, and what would be in its way."""

from __future__ import annotations

from collections.abc import Iterable

from flowrun.core.model import Placement, Rejected
from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Order
from flowrun.core.scheduler.request import UNKNOWN_MS, Holding, Request


class Promise:
    """A place for a request is expected at `at_ms`, when `freed` are given back; on `hosts`, if it is known where.

    Looking ahead is bounded: `at_ms` may be too early then, which lets less pass, and never too much.
    """

    def __init__(
        self,
        request: Request,
        at_ms: int,
        freed: tuple[Holding, ...] = (),
        hosts: frozenset[int] | None = None,
    ) -> None:
        self.request = request
        self.at_ms = at_ms
        self.freed = freed
        self.hosts = hosts
        self._in_the_way: set[Placement] = set()  # what was found to be, while all else stays as it is

    def ended(self, holding: Holding) -> None:
        """A place was given back. If nobody counted on it, there is more room beside the promised place."""
        if holding.ends_ms > self.at_ms:
            self._in_the_way.clear()

    def in_time(self, request: Request, now_ms: int) -> bool:
        """Whether a request, placed now, is going to be over by then."""
        waited_ms = now_ms - self.request.since_ms
        return now_ms + (request.estimate_ms or max(UNKNOWN_MS, waited_ms)) <= self.at_ms

    def in_the_way(self, request: Request, placement: Placement, pool: Pool, order: Order) -> bool:
        """Whether a request that lasts longer takes what the promised place needs."""
        if placement in self._in_the_way:
            return True
        freed = [holding for holding in self.freed if holding.entry]
        if self.hosts is not None and self.hosts.isdisjoint(hosts_of(placement)):
            pool_has_room = True
        else:
            pool.take(placement)
            pool_has_room = fits_without(pool, self.request, freed)
            pool.give_back(placement)
        if pool_has_room and order.reserved(self.request, freed, request) is None:
            return False
        self._in_the_way.add(placement)
        return True


def promise(
    request: Request, lacks: Rejected | None, soonest: Iterable[Holding], pool: Pool, order: Order, at_ms: int
) -> Promise:
    """When a request is expected to fit: once enough of `soonest` have given back their places.

    `lacks` is what is missing now, if it is that.
    """
    # On a single host it is known how much has to come free before it is worth to look again.
    missing = lacks.need - lacks.have if lacks is not None and len(pool) == 1 else 0.0
    freed: list[Holding] = []
    given = 0  # how many of them have been given back, on trial
    found: Placement | None = None
    for holding in soonest:
        freed.append(holding)
        at_ms = holding.ends_ms
        if missing > 0 and lacks is not None:
            missing -= amount_of(holding.placement, lacks.dimension)
            if missing > 1e-9:
                continue
        if order.reserved(request, freed) is not None:
            continue
        for other in freed[given:]:
            pool.give_back(other.placement)
        given = len(freed)
        place = pool.place(request.needs)
        if not isinstance(place, Rejected):
            found = place
            break
    for holding in freed[:given]:
        pool.take(holding.placement)
    hosts = frozenset(hosts_of(found)) if found is not None else None
    return Promise(request, at_ms, tuple(freed), hosts)


def fits_without(pool: Pool, request: Request, gone: Iterable[Holding]) -> bool:
    """Whether a request fits once some places are given back. The pool is left as it was."""
    places = [holding.placement for holding in gone]
    for placement in places:
        pool.give_back(placement)
    found = pool.place(request.needs)
    for placement in places:
        pool.take(placement)
    return not isinstance(found, Rejected)


def hosts_of(placement: Placement) -> list[int]:
    """The numbers of the hosts of a place."""
    return [placement.host, *(part.host for part in placement.parts)]


def amount_of(placement: Placement, dimension: str) -> float:
    """How much of a dimension, as `Rejected` names it, a placement holds."""
    match dimension:
        case "cpus":
            amount: float = placement.cpus
        case "memory":
            amount = placement.memory_mb
        case "gpus" | "linked gpus" | "gpu memory" | "gpu model":
            amount = len(placement.gpus)
        case _:
            amount = dict(placement.uses).get(dimension, 0)
    if placement.parts:
        amount += sum(amount_of(part, dimension) for part in placement.parts)
    return amount

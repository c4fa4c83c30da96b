"""What would be if some of what holds a place were gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flowrun.core.model import Placement, Rejected
from flowrun.core.pool import Pool
from flowrun.core.scheduler.request import Holding, Request


class Claim(NamedTuple):
    """A request for which places are taken from others, and who those are."""

    request: Request
    victims: list[Holding]


class Trial:
    """Whether a request fits once some holdings are gone, and `claims` have got what they are waiting for.

    The pool is as it was when the trial is over.
    """

    def __init__(self, pool: Pool, request: Request, claims: Iterable[Claim] = ()) -> None:
        self._pool = pool
        self._request = request
        self._claims = claims
        self._gone: dict[int, Holding] = {}
        self._given: list[Placement] = []
        self._taken: list[Placement] = []

    def __enter__(self) -> Trial:
        for claim in self._claims:
            self._given += [holding.placement for holding in claim.victims if holding.entry]
        for placement in self._given:
            self._pool.give_back(placement)
        for claim in self._claims:
            found = self._pool.place(claim.request.needs)
            if not isinstance(found, Rejected):
                self._pool.take(found)
                self._taken.append(found)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave({})
        for placement in self._taken:
            self._pool.give_back(placement)
        for placement in self._given:
            self._pool.take(placement)

    def fits(self, gone: Sequence[Holding]) -> bool:
        """From one question to the next, only what differs is given back or taken."""
        return self.place(gone) is not None

    def place(self, gone: Iterable[Holding]) -> Placement | None:
        """Where it fits then."""
        wanted = {id(holding): holding for holding in gone}
        self._leave(wanted)
        for key, holding in wanted.items():
            if key not in self._gone:
                self._gone[key] = holding
                self._pool.give_back(holding.placement)
        found = self._pool.place(self._request.needs)
        return None if isinstance(found, Rejected) else found

    def _leave(self, wanted: dict[int, Holding]) -> None:
        for key in [key for key in self._gone if key not in wanted]:
            self._pool.take(self._gone.pop(key).placement)


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

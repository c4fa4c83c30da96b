"""Why a request waits: for what, how much is missing, who holds it, and when it is expected to be free."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowrun.core.model import Rejected
from flowrun.core.scheduler.request import Ref, Request
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.scheduler.trial import amount_of

_HOLDERS_MAX = 5


class Holder(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that holds part of what another waits for, and when it is expected to give it back.

    `team` says whose it is, where several share the hosts.
    """

    ref: Ref
    amount: float
    ends_ms: int
    team: str = ""

    def __str__(self) -> str:
        whose = f" of team `{self.team}`" if self.team else ""
        return f"`{self.ref}`{whose} holds {self.amount:g}"


class Waits(msgspec.Struct, frozen=True):
    """Why a request has no place.

    `resources`: too little is free. `limit`: its team has what it may have, or the rest is kept for the first
    tier. `promise`: it would fit, but then `behind`, which is more urgent, would get its place later.
    `turn`: others go first. `holders` have most of what is missing, the largest first.
    """

    reason: Literal["resources", "limit", "promise", "turn"]
    lacks: Rejected | None
    holders: tuple[Holder, ...]
    expected_ms: int
    behind: Ref | None = None

    def __str__(self) -> str:
        match self.reason:
            case "promise":
                return f"its place is kept for `{self.behind}`, which is more urgent and needs more"
            case "turn":
                return "others go first"
            case _:
                held = ", ".join(map(str, self.holders))
                return f"{self.lacks}" + (f"; {held}" if held else "")


def waits(scheduler: Scheduler, request: Request, now_ms: int) -> Waits:
    """Why a request that waits has no place at this moment."""
    limit = scheduler.order.allowed(request) or scheduler.order.reserved(request)
    if limit is not None:
        return Waits("limit", limit, (), 0)
    placement = scheduler.pool.place(request.needs)
    if isinstance(placement, Rejected):
        expected_ms = scheduler.promise(request, now_ms, lookahead=len(scheduler.holdings.by_ref)).at_ms
        return Waits("resources", placement, _holders(scheduler, placement, now_ms), expected_ms)
    promise = scheduler.promised
    if promise is not None and scheduler.delays(promise, request, placement, now_ms):
        return Waits("promise", None, (), promise.at_ms, promise.request.ref)
    return Waits("turn", None, (), now_ms)


def _holders(scheduler: Scheduler, lacks: Rejected, now_ms: int) -> tuple[Holder, ...]:
    held = [
        Holder(holding.request.ref, amount, holding.ends_ms, scheduler.order.team(holding.request.lane))
        for holding in scheduler.holdings.soonest(now_ms)
        if (amount := amount_of(holding.placement, lacks.dimension))
    ]
    return tuple(sorted(held, key=lambda holder: -holder.amount)[:_HOLDERS_MAX])

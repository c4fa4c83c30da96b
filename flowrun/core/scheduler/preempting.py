"""Taking places away from running work, for work that must not wait: who asks, in which order, for what."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from flowrun.core.model import Rejected
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.request import Holding, Lane, Ref, Request
from flowrun.core.sharing.preemption import Asking, Fits, Held, victims

if TYPE_CHECKING:
    from flowrun.core.scheduler.scheduler import Scheduler

_MOST_ASKING = 16  # of a lane, at once


def preemptions(scheduler: Scheduler, order: Fair, now_ms: int) -> Iterator[tuple[Ref, Ref]]:
    """What has to give up its place, and for whom.

    One by one: who asks for the next has told the scheduler, by `expect`, that the last one is going to end.
    What something is taken for is `owed` a place: it comes first of all when there is one.
    """
    if not order.shares.sharing.preemption.enabled:
        return
    turns = order.round(now_ms)
    while (lane := turns.next()) is not None:
        for request in _urgent(scheduler, order, lane, now_ms):
            staying = [
                holding for ref, holding in scheduler.holdings.by_ref.items() if ref not in scheduler.leaving
            ]
            held = [_held(order, at, holding) for at, holding in enumerate(staying)]
            needs = order.needed(request.needs)
            asking = Asking(*lane, -request.rank[0], needs, request.since_ms)
            fits = _fits(scheduler, request, staying)
            taken = victims(asking, held, order.shares, fits, now_ms).tasks
            if not taken:
                break  # what comes after it in its lane is not more urgent
            scheduler.owed[request.ref] = None
            for at in taken:
                yield staying[at].request.ref, request.ref


def _urgent(scheduler: Scheduler, order: Fair, lane: Lane, now_ms: int) -> list[Request]:
    """The first requests of a lane that may ask at all, and do not yet."""
    queue, shares = scheduler.queue, order.shares
    waiting = [
        entry
        for head in queue.heads.get(lane, ())
        for entry in heapq.nsmallest(_MOST_ASKING, head.kind.heap)
        if queue.holds(entry)
    ]
    requests = [entry.request for entry in heapq.nsmallest(_MOST_ASKING, waiting)]
    return [
        request
        for request in requests
        if (lane.tier == 1 or shares.starving(now_ms - request.since_ms))
        and request.ref not in scheduler.owed
    ]


def _held(order: Fair, at: int, holding: Holding) -> Held:
    request = holding.request
    amounts = order.held(holding.placement)
    priority = -request.rank[0]
    return Held(at, *request.lane, priority, amounts, holding.started_ms, preempted=request.preempted)


def _fits(scheduler: Scheduler, request: Request, staying: Sequence[Holding]) -> Fits:
    """Whether there is room for a request beside what else is owed, when all that is leaving is gone."""
    room = scheduler.pool.copy()
    for ref in scheduler.leaving:
        room.give_back(scheduler.holdings.by_ref[ref].placement)
    for ref in scheduler.owed:
        placement = room.place(scheduler.queue[ref].needs)
        if not isinstance(placement, Rejected):
            room.take(placement)

    def fits(taken: Sequence[Held]) -> bool:
        placements = [staying[held.task].placement for held in taken]
        for placement in placements:
            room.give_back(placement)
        found = room.place(request.needs)
        for placement in placements:
            room.take(placement)
        return not isinstance(found, Rejected)

    return fits

"""Who gets a place next: the most urgent request that fits, and what fits beside the one that waits for more.

The first request that does not fit is promised the earliest place that is expected to become free. Others
may pass it if that does not delay it: EASY backfilling (Lifka, The ANL/IBM SP Scheduling System, 1995), in
all dimensions that the pool knows. Promises are as good as the estimates; what nobody knows the length of
may pass less and less the longer the first one has been waiting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from flowc.plan.model import Resources
from flowrun.core.changes import GRACE_MS, Outsider
from flowrun.core.model import Placement, Rejected
from flowrun.core.pool import Pool, can_ever_fit
from flowrun.core.scheduler.holdings import Holdings
from flowrun.core.scheduler.order import Order, Single
from flowrun.core.scheduler.preempting import Preempting
from flowrun.core.scheduler.promise import Promise, promise
from flowrun.core.scheduler.queue import Class, Need, Queue
from flowrun.core.scheduler.request import OUTSIDE, Lane, Ref, Request
from flowrun.core.scheduler.trial import Claim, amount_of

_ANY = (math.inf, math.inf)


class Scheduler:
    """What waits and what holds a place in a pool; changed by `submit`, `withdraw`, `started` and `ended`."""

    LOOKAHEAD = 256  # holdings that are looked at for a promise
    FRUITLESS = 64  # lanes one after the other in which nothing may pass the first that does not fit

    def __init__(
        self,
        pool: Pool,
        order: Order | None = None,
        preempting: Preempting | None = None,
        grace_ms: int = GRACE_MS,
    ) -> None:
        self.pool = pool
        self.alone = len(pool) == 1
        self.order = order or Single()
        self.preempting = preempting
        self.grace_ms = grace_ms
        self.queue = Queue(self.order)
        self.holdings = Holdings()
        self.promised: Promise | None = None  # in the last round
        self.claims: dict[Ref, Claim] = {}  # for which places were taken from others, in order
        self.elsewhere: tuple[Outsider, ...] = ()  # what others hold, who do not ask here
        self.refused: Request | None = None  # the most urgent that found no place in the last round
        self._kept: Promise | None = None  # the last promise
        self._rejected: list[Need] = []  # and since then nothing was given back that would change it
        self.keeps_promises = preempting is None or preempting.keeps_promises

    def submit(self, request: Request) -> None:
        """A request waits from now on."""
        self.queue.add(request)

    def withdraw(self, ref: Ref) -> None:
        """A request waits no longer, and got no place."""
        self.claims.pop(ref, None)
        if ref in self.queue:
            self.queue.remove(ref)

    def started(self, ref: Ref, placement: Placement, now_ms: int) -> None:
        """A request that waited got a place."""
        request = self.queue.remove(ref)
        self.pool.take(placement)
        self.order.started(request, placement)
        holding = self.holdings.add(request, placement, now_ms)
        if self._kept is not None:
            if self.refused is None and holding.ends_ms > self._kept.at_ms:
                self._kept = None  # it is more urgent, and nobody asked whether it delays what was promised
            else:
                self._kept.started(holding)
        self.claims.pop(ref, None)

    def ended(self, ref: Ref) -> None:
        """A place is free again."""
        holding = self.holdings.remove(ref)
        placement = holding.placement
        self.pool.give_back(placement)
        self.order.ended(holding.request, placement)
        if self._kept is not None:
            self._kept.ended(holding)
        self._try_again()

    def occupy(self, held: Iterable[Outsider], now_ms: int) -> None:
        """Others, who do not ask here, hold these places on the hosts, and none of those that they held."""
        self.elsewhere = tuple(held)
        for ref in list(self.holdings.by_lane.get(OUTSIDE, ())):
            self.pool.give_back(self.holdings.remove(ref).placement)
        for number, outsider in enumerate(self.elsewhere):
            self.pool.take(outsider.placement)
            # No node of ours is called that: there are spaces in it.
            ref = Ref("", f"{outsider.by} #{number}" if number else outsider.by)
            request = Request(ref, Resources(), (), 0, now_ms, OUTSIDE)
            self.holdings.add(request, outsider.placement, now_ms)
        self._kept = None
        self._try_again()

    def _try_again(self) -> None:
        """What was rejected may fit now."""
        for need in self._rejected:
            need.rejected = False
        self._rejected.clear()

    def expect(self, ref: Ref, ends_ms: int) -> None:
        """It becomes known when a place is going to be given back."""
        self.holdings.expect(ref, ends_ms)
        self._kept = None

    def dispatch(self, now_ms: int) -> Iterator[tuple[Request, Placement]]:
        """What gets a place now, one by one: who asks for the next must have told `started` of the last."""
        self.promised = None
        for need in self.queue.needs.values():
            if not need.rejected:
                break
        else:
            return  # as before
        self.refused = None
        if self._kept is not None:
            self._kept.new_round()
        step = _Pass(self, now_ms)
        if self.claims:
            for claimed in list(self.claims):
                found = step.claim(claimed)
                if found is not None:
                    yield found
        if not self.order.limited:  # one lane for all
            for only in list(self.queue.heads):
                while (given := step.next(only)) is not None:
                    yield given
            return
        turns = self.order.round(now_ms)
        several, fruitless = len(self.queue.heads) > 1, 0
        while fruitless < self.FRUITLESS and (lane := turns.next()) is not None:
            found = step.next(lane)
            if found is not None:
                yield found
                turns.again(lane)
                fruitless = 0
            elif step.blocked:
                fruitless += 1
                if several and not step.hope:
                    break

    def promise(self, request: Request, now_ms: int, lookahead: int = LOOKAHEAD) -> Promise:
        """When a request that does not fit now is expected to."""
        soonest = islice(self.holdings.soonest(now_ms), lookahead)
        return promise(request, soonest, self.pool, self.order, now_ms)

    def keep(self, request: Request, now_ms: int) -> Promise:
        """What a request was promised, as long as that can still be; else what it is promised now."""
        kept = self._kept
        if kept is None or kept.request is not request or kept.at_ms <= now_ms:
            kept = self._kept = self.promise(request, now_ms)
        return kept

    def delays(self, promise: Promise, request: Request, placement: Placement | None, now_ms: int) -> bool:
        """Whether a request, placed now, would keep another one from what it was promised."""
        # A place that was taken from others is not given to what may last for nobody knows how long.
        guess = request.estimate_ms or promise.request.ref not in self.claims
        if guess and promise.in_time(request, now_ms):
            return False
        return promise.in_the_way(request, placement, self.pool, self.order)

    def stuck(self) -> list[tuple[Ref, Rejected]]:
        """What can never get a place, as it gets none while all is free; asked when nothing more fits.

        Nothing that waits here holds anything, so that there is no waiting in circles: to be stuck is to ask
        for more than there is, or than a limit lets through.
        """
        if self.holdings.by_ref:
            return []
        return [(ref, why) for ref in self.queue if (why := self.refusal(self.queue[ref])) is not None]

    def preemptions(self, now_ms: int) -> list[tuple[Ref, Ref]]:
        """What has to give up its place, and for whom; asked when nothing more fits.

        Until that request has its place, it comes before all others, and nothing more is taken for it.
        """
        if self.preempting is None or not self.queue:
            return []
        self._forget_claims()
        taken: list[tuple[Ref, Ref]] = []
        while len(self.claims) < self.preempting.claims_max:
            chosen = self.preempting.choose(self, now_ms)
            if chosen is None:
                break
            by, victims = chosen
            self.claims[by] = Claim(self.queue[by], victims)
            for holding in victims:
                holding.leaving = True
            taken += [(holding.request.ref, by) for holding in victims]
        return taken

    def _forget_claims(self) -> None:
        """What all have left for, and what got no place by that, may ask once more."""
        for ref, claim in list(self.claims.items()):
            if not any(holding.entry for holding in claim.victims):
                del self.claims[ref]

    def refusal(self, request: Request) -> Rejected | None:
        """Why a request gets no place now, what was promised to others aside."""
        refused = self.order.allowed(request) or self.order.reserved(request)
        if refused is not None:
            return refused
        found = self.pool.place(request.needs)
        trimmed = found if isinstance(found, Rejected) else self.trimmed(request, found)
        return trimmed if isinstance(trimmed, Rejected) else None

    def ever_refused(self, lane: Lane, needs: Resources) -> Rejected | None:
        """Why a lane could have no place with some needs, even if nothing ran."""
        return self.order.ever_allowed(lane, needs) or can_ever_fit(needs, *self.pool.capacities(needs))

    def place(self, need: Need) -> Placement | None:
        """A place, if there is one. What was rejected is not tried again until something ends."""
        if need.rejected:
            return None
        found = self.pool.place(need.needs)
        if isinstance(found, Rejected):
            need.rejected = True
            self._rejected.append(need)
            return None
        return found

    def trimmed(self, request: Request, placement: Placement) -> Placement | Rejected:
        """A place without the GPUs that would be nice to have, where a limit does not let them be had."""
        needs = request.needs
        while (over := self.order.exceeds(request, placement)) is not None:
            gpus = int(amount_of(placement, "gpus"))
            if gpus <= needs.gpus:
                return over
            fewer = self.pool.place(msgspec.structs.replace(needs, gpus_max=gpus - 1))
            assert isinstance(fewer, Placement)  # what fits with more fits with fewer
            placement = fewer
        return placement


class _Pass:
    """One round of giving out places. What was found to be hopeless in it is not tried again."""

    def __init__(self, scheduler: Scheduler, now_ms: int) -> None:
        self._scheduler = scheduler
        self._queue = scheduler.queue
        self._now_ms = now_ms
        self._hopeless: set[Class] = set()  # no request of these can have a place in this round
        self._passed: dict[Lane, int] = {}

    @property
    def blocked(self) -> bool:
        """Whether something that is more urgent waits for a place."""
        return self._scheduler.refused is not None

    @property
    def hope(self) -> bool:
        """Whether anything that waits could have a place, as far as is known."""
        hopeless = self._hopeless
        for need in self._queue.needs.values():
            if not need.rejected:
                for of in need.classes:
                    if of not in hopeless:
                        return True
        return False

    def claim(self, ref: Ref) -> tuple[Request, Placement] | None:
        """The request for which places were taken from others comes first."""
        request = self._queue[ref]
        scheduler = self._scheduler
        if scheduler.order.allowed(request) is not None:
            del scheduler.claims[ref]  # its team has taken other places meanwhile
            return None
        place = scheduler.place(self._queue.kind_of(ref).need)
        if place is None or scheduler.order.reserved(request) is not None:
            self._refuse(request)
            return None
        trimmed = scheduler.trimmed(request, place)
        return None if isinstance(trimmed, Rejected) else (request, trimmed)

    def next(self, lane: Lane) -> tuple[Request, Placement] | None:
        """The most urgent request of a lane that may have a place, from where the last search ended."""
        scheduler, hopeless = self._scheduler, self._hopeless
        heads, order = self._queue.heads.get(lane, ()), scheduler.order
        limited, blocked, promise = order.limited, self.blocked, None
        # Of a host alone it is known at once if there is too little of what counts most often.
        cpus, memory_mb = scheduler.pool.spare() if scheduler.alone else _ANY
        for at in range(self._passed.get(lane, 0), len(heads)):
            _, _, request, kind = heads[at]
            need = kind.need
            if need.cpus > cpus or need.rejected or need.memory_mb > memory_mb:
                if not blocked and (not limited or order.allowed(request) is None):
                    blocked = True
                    self._refuse(request)
                continue
            of = kind.of
            if of in hopeless or (limited and order.allowed(request) is not None):
                continue
            if limited and order.reserved(request) is not None:
                hopeless.add(of)
                self._refuse(request)
                blocked = True
                continue
            if blocked and promise is None:
                promise = self._promise()
            by_sums = promise is not None and promise.by_sums  # cheaper than to look for a place
            if promise is not None and by_sums and self._delays(promise, request, of, None):
                continue
            place = scheduler.place(need)
            if place is None:
                self._refuse(request)
                blocked = True
                continue
            trimmed = scheduler.trimmed(request, place) if limited else place
            if isinstance(trimmed, Rejected):
                continue
            if promise is None or by_sums or not self._delays(promise, request, of, trimmed):
                self._passed[lane] = at  # where the next of its kind comes in, or later
                return request, trimmed
        return None

    def _promise(self) -> Promise | None:
        """What is kept for the first that did not fit."""
        scheduler = self._scheduler
        first = scheduler.refused
        if scheduler.promised is None and first is not None and scheduler.keeps_promises:
            scheduler.promised = scheduler.keep(first, self._now_ms)
        return scheduler.promised

    def _refuse(self, request: Request) -> None:
        """The first that does not fit is kept a place. Then it is worth looking for what else does not fit:
        there may be many lanes to go through for nothing."""
        scheduler = self._scheduler
        if scheduler.refused is not None:
            return
        scheduler.refused = request
        if len(self._queue.heads) == 1:
            return
        for need in self._queue.needs.values():
            lower = [of for of in need.classes if of.tier > 1]
            example = lower and lower[0].example
            if example and scheduler.order.reserved(example) is not None:
                self._hopeless.update(lower)
            if len(lower) < len(need.classes) or not self._hopeless.issuperset(lower):
                scheduler.place(need)

    def _delays(self, promise: Promise, request: Request, of: Class, placement: Placement | None) -> bool:
        now_ms = self._now_ms
        delays = self._scheduler.delays(promise, request, placement, now_ms)
        if delays and (not of.least_ms or now_ms + of.least_ms > promise.at_ms):
            self._hopeless.add(of)
        return delays

"""Who gets a place next: the most urgent request that fits, and what fits beside the one that waits for more.

The first request that does not fit is promised the earliest place that is expected to become free. Others
may pass it if that does not delay it: EASY backfilling (Lifka, The ANL/IBM SP Scheduling System, 1995), in
all dimensions that the pool knows. Promises are as good as the estimates; what nobody knows the length of
may pass less and less the longer the first one has been waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowc.plan.model import Resources
from flowrun.core.changes import GRACE_MS
from flowrun.core.model import Placement, Rejected
from flowrun.core.pool import Pool
from flowrun.core.scheduler.holdings import Holdings
from flowrun.core.scheduler.order import Fair, Order, Single
from flowrun.core.scheduler.preempting import preemptions
from flowrun.core.scheduler.queue import Queue
from flowrun.core.scheduler.request import UNKNOWN_MS, Lane, Ref, Request


class Promise:
    """The earliest place for a request that does not fit now, expected at `at_ms`.

    Looking ahead is bounded: `at_ms` may be too early then, which lets less pass, and never too much.
    """

    def __init__(self, request: Request, at_ms: int) -> None:
        self.request = request
        self.at_ms = at_ms


class Scheduler:
    """What waits and what holds a place in a pool; changed by `submit`, `withdraw`, `started` and `ended`."""

    LOOKAHEAD = 256  # holdings that are looked at for a promise
    grace_ms = GRACE_MS

    def __init__(self, pool: Pool, order: Order | None = None) -> None:
        self.pool = pool
        self.order = order or Single()
        self.queue = Queue(self.order)
        self.holdings = Holdings()
        self.promised: Promise | None = None  # in the last round
        self.leaving: set[Ref] = set()  # what is known to give back its place soon
        self.owed: dict[Ref, None] = {}  # what waits for a place that was taken away for it, in order

    def submit(self, request: Request) -> None:
        """A request waits from now on."""
        self.queue.add(request)

    def withdraw(self, ref: Ref) -> None:
        """A request waits no longer, and got no place."""
        self.owed.pop(ref, None)
        if ref in self.queue:
            self.queue.remove(ref)

    def started(self, ref: Ref, placement: Placement, now_ms: int) -> None:
        """A request that waited got a place."""
        self.owed.pop(ref, None)
        request = self.queue.remove(ref)
        self.pool.take(placement)
        self.order.started(request, placement)
        self.holdings.add(request, placement, now_ms)

    def ended(self, ref: Ref) -> None:
        """A place is free again."""
        self.leaving.discard(ref)
        holding = self.holdings.remove(ref)
        self.pool.give_back(holding.placement)
        self.order.ended(holding.request, holding.placement)

    def expect(self, ref: Ref, ends_ms: int) -> None:
        """It becomes known when a place is going to be given back."""
        self.leaving.add(ref)
        self.holdings.expect(ref, ends_ms)

    def dispatch(self, now_ms: int) -> Iterator[tuple[Request, Placement]]:
        """What gets a place now, one by one: who asks for the next must have told `started` of the last."""
        self.promised = None
        step = _Pass(self, now_ms)
        for ref in list(self.owed):
            owed = step.owed(self.queue[ref])
            if owed is not None:
                yield owed
        turns = self.order.round(now_ms)
        while (lane := turns.next()) is not None:
            found = step.next(lane)
            if found is not None:
                yield found
                turns.again(lane)

    def promise(self, request: Request, now_ms: int, lookahead: int = LOOKAHEAD) -> Promise:
        """When a request that does not fit now is expected to."""
        freed: list[Placement] = []
        at_ms = now_ms
        for holding in self.holdings.soonest(now_ms):
            if len(freed) == lookahead:
                break
            freed.append(holding.placement)
            at_ms = holding.ends_ms
            self.pool.give_back(holding.placement)
            if not isinstance(self.pool.place(request.needs), Rejected):
                break
        for placement in freed:
            self.pool.take(placement)
        return Promise(request, at_ms)

    def delays(self, promise: Promise, request: Request, placement: Placement, now_ms: int) -> bool:
        """Whether a request, placed now, would keep another one from what it was promised."""
        waited_ms = now_ms - promise.request.since_ms
        lasts_ms = request.estimate_ms or max(UNKNOWN_MS, waited_ms)
        known = request.estimate_ms or promise.request.ref not in self.owed
        if known and now_ms + lasts_ms <= promise.at_ms:
            return False
        self.pool.take(placement)
        freed = []
        for holding in self.holdings.soonest(now_ms):
            if holding.ends_ms > promise.at_ms:
                break
            freed.append(holding.placement)
            self.pool.give_back(holding.placement)
        still = self.pool.place(promise.request.needs)
        for other in freed:
            self.pool.take(other)
        self.pool.give_back(placement)
        return isinstance(still, Rejected)

    def stuck(self) -> list[tuple[Ref, Rejected]]:
        """What can never get a place, as it gets none while all is free; asked when nothing more fits.

        Nothing that waits here holds anything, so that there is no waiting in circles: to be stuck is to ask
        for more than there is, or than a limit lets through.
        """
        if self.holdings.by_ref:
            return []
        return [(ref, why) for ref in self.queue if (why := self.refusal(self.queue[ref])) is not None]

    def preemptions(self, now_ms: int) -> Iterable[tuple[Ref, Ref]]:
        """What has to give up its place, and for whom; asked when nothing more fits."""
        return preemptions(self, self.order, now_ms) if isinstance(self.order, Fair) else ()

    def refusal(self, request: Request) -> Rejected | None:
        """Why a request gets no place now, what was promised to others aside."""
        refused = self.order.allowed(request)
        if refused is not None:
            return refused
        placement = self.pool.place(request.needs)
        return placement if isinstance(placement, Rejected) else None


class _Pass:
    """One round of giving out places. What was rejected once in it need not be tried again."""

    def __init__(self, scheduler: Scheduler, now_ms: int) -> None:
        self._scheduler = scheduler
        self._now_ms = now_ms
        self._rejected: set[Resources] = set()
        self._first: Request | None = None  # that did not fit
        self._passed: dict[Lane, int] = {}

    def next(self, lane: Lane) -> tuple[Request, Placement] | None:
        """The most urgent request of a lane that may have a place, from where the last search ended."""
        heads, pool = self._scheduler.queue.heads.get(lane, ()), self._scheduler.pool
        for at in range(self._passed.get(lane, 0), len(heads)):
            _, _, request, kind = heads[at]
            if kind.needs in self._rejected or self._scheduler.order.allowed(request) is not None:
                continue
            placement = pool.place(kind.needs)
            if isinstance(placement, Rejected):
                self._rejected.add(kind.needs)
                self._first = self._first or request
            elif self._first is None or not self._delays(request, placement):
                self._passed[lane] = at  # where the next of its kind comes in, or later
                return request, placement
        return None

    def owed(self, request: Request) -> tuple[Request, Placement] | None:
        """A request for which a place was taken away; while it has none, nothing may be in its way."""
        if self._scheduler.order.allowed(request) is not None:
            return None
        placement = self._scheduler.pool.place(request.needs)
        if isinstance(placement, Rejected):
            self._first = self._first or request
            return None
        return request, placement

    def _delays(self, request: Request, placement: Placement) -> bool:
        scheduler = self._scheduler
        if scheduler.promised is None:
            assert self._first is not None
            scheduler.promised = scheduler.promise(self._first, self._now_ms)
        return scheduler.delays(scheduler.promised, request, placement, self._now_ms)

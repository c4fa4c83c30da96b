"""What waits, in order, by lane and by kind."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import NamedTuple

from flowc.plan.model import Resources
from flowrun.core.pool.hosts import thousandths
from flowrun.core.scheduler.order import Order
from flowrun.core.scheduler.request import Lane, Ref, Request


class Need:
    """What something that waits asks for, and whether that found no place when it was last tried."""

    def __init__(self, needs: Resources) -> None:
        self.needs = needs
        self.cpus = thousandths(needs.cpus)
        self.memory_mb = needs.memory_mb
        self.rejected = False
        self.classes: dict[Class, None] = {}


class Class:
    """Kinds of all lanes of a tier that need the same and last as long: from `least_ms`, to a factor of two.

    `kinds` is how many of them have requests that wait; `example` is one of those, or was.
    """

    def __init__(self, tier: int, need: Need, least_ms: int, example: Request) -> None:
        self.example = example
        self.tier = tier
        self.need = need
        self.least_ms = least_ms  # 0 if nobody knows
        self.kinds = 0


class Kind:
    """Requests of a lane of which none fits if one does not, and that last as long, to a factor of two."""

    def __init__(self, of: Class) -> None:
        self.of = of
        self.need = of.need
        self.heap: list[Entry] = []


class Entry(NamedTuple):
    """A request that waits, or did so. `number` orders those of the same rank, and is never the same."""

    rank: tuple[float, ...]
    number: int
    request: Request
    kind: Kind


class Queue:
    """Requests that wait. A step costs the logarithm of how many wait, and of how many kinds there are.

    `heads` has for each lane, in order, the first request of each kind; `order` is told of the first of all.
    `needs` has all that something waits for: what one search for a place says is true for all that need the
    same, however many lanes there are.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self.heads: dict[Lane, list[Entry]] = {}
        self._entries: dict[Ref, Entry] = {}
        self._kinds: dict[tuple[Lane, Resources, int], Kind] = {}
        self.needs: dict[Resources, Need] = {}
        self.urgent: dict[Lane, list[Entry]] = {}  # the heads of the lanes of the first tier
        self._known: dict[tuple[int, Resources, int], Class] = {}
        self._known_needs: dict[Resources, Need] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Ref]:
        return iter(list(self._entries))

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._entries

    def __getitem__(self, ref: Ref) -> Request:
        return self._entries[ref].request

    def firsts(self, lane: Lane, most: int) -> list[Request]:
        """The first requests of a lane, in order."""
        found = (
            entry
            for head in self.heads.get(lane, ())
            for entry in heapq.nsmallest(most, head.kind.heap)
            if self._entries.get(entry.request.ref) is entry
        )
        return [entry.request for entry in heapq.nsmallest(most, found)]

    def kind_of(self, ref: Ref) -> Kind:
        """Of which kind a request is that waits."""
        return self._entries[ref].kind

    def add(self, request: Request) -> None:
        """Let a request wait."""
        name = (request.lane, request.needs, request.estimate_ms.bit_length())
        kind = self._kinds.get(name) or self._kind(request)
        self._number += 1
        entry = Entry(request.rank, self._number, request, kind)
        self._entries[request.ref] = entry
        heads = self.heads.setdefault(request.lane, [])
        before = kind.heap[0] if kind.heap else None
        if before is None:
            self._appears(kind.of)
        heapq.heappush(kind.heap, entry)
        if kind.heap[0] is entry:
            if before is not None:
                del heads[bisect_left(heads, before)]
            insort(heads, entry)
            if heads[0] is entry:
                self._order.heads_changed(request.lane, request)
                if request.lane.tier == 1:
                    self.urgent[request.lane] = heads

    def remove(self, ref: Ref) -> Request:
        """Let a request wait no more. Unless it is the first, its entry stays until it would be that."""
        entry = self._entries.pop(ref)
        heap, entries = entry.kind.heap, self._entries
        if heap[0] is entry:
            lane = entry.request.lane
            heads = self.heads[lane]
            at = bisect_left(heads, entry)
            del heads[at]
            while heap and entries.get(heap[0].request.ref) is not heap[0]:
                heapq.heappop(heap)
            if heap:
                insort(heads, heap[0])
            else:
                self._disappears(entry.kind.of)
            if at == 0:
                self._order.heads_changed(lane, heads[0].request if heads else None)
                if not heads:
                    self.urgent.pop(lane, None)
        return entry.request

    def _kind(self, request: Request) -> Kind:
        lane, needs, bits = request.lane, request.needs, request.estimate_ms.bit_length()
        name = (lane.tier, needs, bits)
        of = self._known.get(name)
        if of is None:
            need = self._known_needs.setdefault(needs, Need(needs))
            of = self._known[name] = Class(lane.tier, need, 1 << bits >> 1, request)
        kind = self._kinds[lane, needs, bits] = Kind(of)
        return kind

    def _appears(self, of: Class) -> None:
        of.kinds += 1
        if of.kinds == 1:
            of.need.classes[of] = None
            self.needs[of.need.needs] = of.need

    def _disappears(self, of: Class) -> None:
        of.kinds -= 1
        if not of.kinds:
            del of.need.classes[of]
            if not of.need.classes:
                del self.needs[of.need.needs]

"""What waits, in order, by lane and by kind."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import NamedTuple

from flowc.plan.model import Resources
from flowrun.core.scheduler.order import Order
from flowrun.core.scheduler.request import Lane, Ref, Request


class Kind:
    """Requests of a lane of which none fits if one does not, and that last as long, to a factor of two."""

    def __init__(self, needs: Resources) -> None:
        self.needs = needs
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
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self.heads: dict[Lane, list[Entry]] = {}
        self._entries: dict[Ref, Entry] = {}
        self._kinds: dict[tuple[Lane, Resources, int], Kind] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Ref]:
        return iter(list(self._entries))

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._entries

    def __getitem__(self, ref: Ref) -> Request:
        return self._entries[ref].request

    def holds(self, entry: Entry) -> bool:
        """Whether what an entry tells of still waits."""
        return self._entries.get(entry.request.ref) is entry

    def kind_of(self, ref: Ref) -> Kind:
        """Of which kind a request is that waits."""
        return self._entries[ref].kind

    def add(self, request: Request) -> None:
        """Let a request wait."""
        name = (request.lane, request.needs, request.estimate_ms.bit_length())
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = Kind(request.needs)
        self._number += 1
        entry = Entry(request.rank, self._number, request, kind)
        self._entries[request.ref] = entry
        heads = self.heads.setdefault(request.lane, [])
        before = kind.heap[0] if kind.heap else None
        heapq.heappush(kind.heap, entry)
        if kind.heap[0] is entry:
            if before is not None:
                del heads[bisect_left(heads, before)]
            insort(heads, entry)
            if heads[0] is entry:
                self._order.heads_changed(request.lane, request)

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
            if at == 0:
                self._order.heads_changed(lane, heads[0].request if heads else None)
        return entry.request

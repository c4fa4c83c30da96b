"""What waits, in order, by lane and by kind."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from typing import NamedTuple

from flowc.plan.model import Resources
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

    `heads` has for each lane, in order, the first request of each kind.
    """

    def __init__(self) -> None:
        self.heads: dict[Lane, list[Entry]] = {}
        self._entries: dict[Ref, Entry] = {}
        self._kinds: dict[tuple[Lane, Resources, int], Kind] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._entries

    def __getitem__(self, ref: Ref) -> Request:
        return self._entries[ref].request

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

    def remove(self, ref: Ref) -> Request:
        """Let a request wait no more. Unless it is the first, its entry stays until it would be that."""
        entry = self._entries.pop(ref)
        heap, entries = entry.kind.heap, self._entries
        if heap[0] is entry:
            heads = self.heads[entry.request.lane]
            del heads[bisect_left(heads, entry)]
            while heap and entries.get(heap[0].request.ref) is not heap[0]:
                heapq.heappop(heap)
            if heap:
                insort(heads, heap[0])
        return entry.request

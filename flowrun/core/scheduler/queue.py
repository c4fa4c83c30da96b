"""What waits, in order, by lane and by kind."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from flowc.plan.model import Resources
from flowrun.core.scheduler.request import Lane, Ref, Request


class Kind(NamedTuple):
    """Requests of which none fits if one does not, and that last about as long: to a factor of two."""

    needs: Resources
    magnitude: int


class Entry(NamedTuple):
    """A request in a heap. `number` tells entries apart whose requests have the same rank."""

    rank: tuple[float, ...]
    number: int
    request: Request


class Head(NamedTuple):
    """The first request of a kind, as it stands in the heap of a lane's kinds."""

    rank: tuple[float, ...]
    number: int
    kind: Kind


class Queue:
    """Requests that wait. A step costs the logarithm of how many wait, and of how many kinds there are."""

    def __init__(self) -> None:
        self.waiting: dict[Ref, Request] = {}
        self._lanes: dict[Lane, dict[Kind, list[Entry]]] = {}
        self._number = 0

    def add(self, request: Request) -> None:
        """Let a request wait."""
        kind = Kind(request.needs, request.estimate_ms.bit_length())
        self.waiting[request.ref] = request
        self._number += 1
        entry = Entry(request.rank, self._number, request)
        heapq.heappush(self._lanes.setdefault(request.lane, {}).setdefault(kind, []), entry)

    def remove(self, ref: Ref) -> None:
        """Let a request wait no more. Its entry lies in its heap until it comes to the top."""
        self.waiting.pop(ref, None)

    def lanes(self) -> list[Lane]:
        """Where requests wait, or did so until just now."""
        return list(self._lanes)

    def first(self, lane: Lane, kind: Kind) -> Entry | None:
        """The request of a kind that goes first."""
        kinds = self._lanes.get(lane, {})
        heap = kinds.get(kind, [])
        while heap and self.waiting.get(heap[0].request.ref) is not heap[0].request:
            heapq.heappop(heap)
        if heap:
            return heap[0]
        kinds.pop(kind, None)
        if not kinds:
            self._lanes.pop(lane, None)
        return None

    def heads(self, lane: Lane) -> list[Head]:
        """A heap of the first request of each kind in a lane."""
        found = [(self.first(lane, kind), kind) for kind in list(self._lanes.get(lane, {}))]
        heads = [Head(entry.rank, entry.number, kind) for entry, kind in found if entry is not None]
        heapq.heapify(heads)
        return heads

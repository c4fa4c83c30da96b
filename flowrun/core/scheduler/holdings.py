"""What holds a place, and when it is expected to give it back."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from flowrun.core.model import Placement
from flowrun.core.scheduler.request import UNKNOWN_MS, Holding, Lane, Ref, Request

_FEW = 64  # are sorted faster than walked in a heap


class Holdings:
    """Everything that holds a place, also by lane, and in order of its expected end.

    The order is a heap in which what is out of date stays until it comes to the top, or until it is most of
    it: a step costs the logarithm of how many there are.
    """

    def __init__(self) -> None:
        self.by_ref: dict[Ref, Holding] = {}
        self.by_lane: dict[Lane, dict[Ref, Holding]] = {}
        self._ends: list[tuple[int, int, Holding]] = []
        self._number = 0

    def add(self, request: Request, placement: Placement, now_ms: int) -> Holding:
        """A request got its place."""
        ref = request.ref
        holding = Holding(request, placement, now_ms, now_ms + (request.estimate_ms or UNKNOWN_MS))
        self.by_ref[ref] = holding
        lane = self.by_lane.get(request.lane)
        if lane is None:
            lane = self.by_lane[request.lane] = {}
        lane[ref] = holding
        self._push(holding)
        return holding

    def remove(self, ref: Ref) -> Holding:
        """The place is given back."""
        holding = self.by_ref.pop(ref)
        lane = self.by_lane[holding.request.lane]
        del lane[ref]
        if not lane:
            del self.by_lane[holding.request.lane]
        holding.entry = 0
        return holding

    def expect(self, ref: Ref, ends_ms: int) -> None:
        """A place is going to be given back, and it is known when: nobody need take it away."""
        holding = self.by_ref[ref]
        holding.leaving = True
        holding.ends_ms = ends_ms
        self._push(holding)

    def soonest(self, now_ms: int) -> Iterator[Holding]:
        """By expected end.

        What has outlasted its estimate is expected to last as long again: of the corrections of a wrong
        prediction that Tsafrir et al. tried (Backfilling Using System-Generated Predictions, TPDS 2007),
        the simplest of those that did well.
        """
        ends = self._ends
        while ends and (ends[0][0] < now_ms or ends[0][2].entry != ends[0][1]):
            _, number, holding = heappop(ends)
            if holding.entry == number:
                holding.ends_ms = now_ms + max(UNKNOWN_MS, now_ms - holding.started_ms)
                self._push(holding)
        if len(ends) <= _FEW:
            ends.sort()  # still a heap, and nearly sorted the next time
            return (holding for _, number, holding in ends if holding.entry == number)
        return _walk(ends)

    def _push(self, holding: Holding) -> None:
        self._number += 1
        holding.entry = self._number
        if len(self._ends) > 2 * len(self.by_ref) + _FEW:
            self._ends = [entry for entry in self._ends if entry[2].entry == entry[1]]
            heapify(self._ends)
        heappush(self._ends, (holding.ends_ms, self._number, holding))


def _walk(heap: list[tuple[int, int, Holding]]) -> Iterator[Holding]:
    """A heap in order, without changing it; k steps cost k log k."""
    frontier = [(heap[0], 0)]
    while frontier:
        (_, number, holding), at = heappop(frontier)
        if holding.entry == number:
            yield holding
        for below in (2 * at + 1, 2 * at + 2):
            if below < len(heap):
                heappush(frontier, (heap[below], below))

"""What holds a place, and when it is expected to give it back."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from flowrun.core.model import Placement
from flowrun.core.scheduler.request import UNKNOWN_MS, Holding, Ref, Request


class Holdings:
    """Everything that holds a place, also in order of its expected end."""

    def __init__(self) -> None:
        self.by_ref: dict[Ref, Holding] = {}
        self._ends: list[tuple[int, Ref]] = []

    def add(self, request: Request, placement: Placement, now_ms: int) -> None:
        """A request got its place."""
        ends_ms = now_ms + (request.estimate_ms or UNKNOWN_MS)
        self.by_ref[request.ref] = Holding(request, placement, now_ms, ends_ms)
        insort(self._ends, (ends_ms, request.ref))

    def remove(self, ref: Ref) -> Holding:
        """The place is given back."""
        holding = self.by_ref.pop(ref)
        del self._ends[bisect_left(self._ends, (holding.ends_ms, ref))]
        return holding

    def expect(self, ref: Ref, ends_ms: int) -> None:
        """It becomes known when a place is going to be given back."""
        holding = self.by_ref[ref]
        del self._ends[bisect_left(self._ends, (holding.ends_ms, ref))]
        holding.ends_ms = ends_ms
        insort(self._ends, (ends_ms, ref))

    def soonest(self, now_ms: int) -> Iterator[Holding]:
        """By expected end.

        What has outlasted its estimate is expected to last as long again: of the corrections of a wrong
        prediction that Tsafrir et al. tried (Backfilling Using System-Generated Predictions, TPDS 2007),
        the simplest of those that did well.
        """
        while self._ends and self._ends[0][0] < now_ms:
            ref = self._ends[0][1]
            self.expect(ref, now_ms + max(UNKNOWN_MS, now_ms - self.by_ref[ref].started_ms))
        return (self.by_ref[ref] for _, ref in self._ends)

"""How long a run's calls are going to take: what the plan says, corrected by what they took."""

from __future__ import annotations

from collections.abc import Iterable

from flowc.plan.model import Site
from flowrun.core.changes import Reorder


class Expected:
    """Durations by site, in ms.

    `order` is the one that was computed ahead of them, if any, and `drift_ms` how much calls have differed in
    all from what it was computed with.
    """

    def __init__(self) -> None:
        self.order: Reorder | None = None
        self.drift_ms = 0
        self._planned_ms: dict[str, int] = {}
        self._measured: dict[str, tuple[int, int]] = {}  # calls that succeeded in this run, their total ms

    def ms(self, site: Site) -> int:
        """How long a call is going to take: measured in this run, or as planned; 0 if unknown."""
        if site.site not in self._measured:
            return site.estimate.ms
        calls, total_ms = self._measured[site.site]
        return total_ms // calls

    def took(self, site: Site, ms: int) -> None:
        """A call succeeded."""
        calls, total_ms = self._measured.get(site.site, (0, 0))
        self._measured[site.site] = (calls + 1, total_ms + ms)
        if self.order is not None:
            self.drift_ms += abs(ms - self._planned_ms.get(site.site, ms))

    def reorder(self, order: Reorder, sites: Iterable[Site]) -> None:
        """An order was computed with what is expected now; an empty one takes back the last."""
        self.order = order if order.starts_ms else None
        self.drift_ms = 0
        self._planned_ms = {site.site: self.ms(site) for site in sites}

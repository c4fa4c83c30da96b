"""What is counted of a model's calls. Cheap: it is counted with every call."""

from __future__ import annotations

from bisect import bisect_left

from flowserve.core.observe.histogram import BOUNDS_MS, BUCKETS

_SIZES_MAX = 1024
_RATE_S = 60.0

STAGES = ("route", "parse", "queue", "inference", "serialise")
"""What a request goes through, in order."""


class Tally:
    """Of one version of a model, since it is served. Times are in milliseconds, and add up over all."""

    __slots__ = (
        "_age_s",
        "_looked_s",
        "_seen",
        "failed",
        "failed_ms",
        "last_s",
        "per_s",
        "queue_ms",
        "read_ms",
        "refusals",
        "request",
        "request_ms",
        "route_ms",
        "rows",
        "run_ms",
        "runs",
        "stages",
        "succeeded",
        "write_ms",
    )

    def __init__(self) -> None:
        self.succeeded = self.failed = self.rows = 0
        self.last_s = 0.0
        """When a call succeeded last, in seconds since 1970."""
        self.queue_ms = self.run_ms = self.failed_ms = 0.0
        self.route_ms = self.read_ms = self.write_ms = self.request_ms = 0.0
        """Of requests that were answered with outputs (`answered`)."""
        self.runs: dict[int, list[float]] = {}
        """By rows: how many runs, and how long they took."""
        self.stages = tuple([0] * BUCKETS for _ in STAGES)
        """Histograms in the order of `STAGES`, of requests that were answered with outputs."""
        self.request = [0] * BUCKETS
        """A histogram of their whole times: of all stages, and of what is between them."""
        self.refusals: dict[tuple[int, str], int] = {}
        """How many requests were answered otherwise, by HTTP's status and the code of the diagnostic."""
        self.per_s = 0.0
        """Requests a second, over the last minute or so."""
        self._seen = 0
        self._age_s = self._looked_s = 0.0

    def ran(self, rows: int, ms: float) -> None:
        """Count a run of the model, of one call or of several together."""
        run = self.runs.get(rows)
        if run is None:
            # Clients choose their number of rows: there must not be a count for each that they think of.
            run = self.runs.setdefault(rows if len(self.runs) < _SIZES_MAX else 0, [0, 0.0])
        run[0] += 1
        run[1] += ms

    def success(self, rows: int, queue_ms: float, run_ms: float, now_s: float) -> None:
        """Count a call that has its outputs. Calls that ran together took the time of their run each."""
        self.succeeded += 1
        self.rows += rows
        self.queue_ms += queue_ms
        self.run_ms += run_ms
        self.last_s = now_s

    def failure(self, ms: float) -> None:
        """Count a call that was refused or that the model failed."""
        self.failed += 1
        self.failed_ms += ms

    def answered(
        self,
        route_ms: float,
        read_ms: float,
        queue_ms: float,
        run_ms: float,
        write_ms: float,
        whole_ms: float,
    ) -> None:
        """Count a request that is answered with outputs: how long each stage of it took, and all of it.

        The engine has counted its call as a success.
        """
        # Called with every request, so there is no loop, and no search where nobody waited.
        route, read, queue, run, write = self.stages
        route[bisect_left(BOUNDS_MS, route_ms)] += 1
        read[bisect_left(BOUNDS_MS, read_ms)] += 1
        queue[bisect_left(BOUNDS_MS, queue_ms) if queue_ms else 0] += 1
        run[bisect_left(BOUNDS_MS, run_ms)] += 1
        write[bisect_left(BOUNDS_MS, write_ms)] += 1
        self.request[bisect_left(BOUNDS_MS, whole_ms)] += 1
        self.route_ms += route_ms
        self.read_ms += read_ms
        self.write_ms += write_ms
        self.request_ms += whole_ms

    def refused(self, status: int, reason: str) -> None:
        """Count a request that is answered without outputs."""
        self.refusals[status, reason] = self.refusals.get((status, reason), 0) + 1

    def look(self, now_s: float) -> None:
        """Bring `per_s` up to date. Called now and then, at first within about a second."""
        passed_s = max(1e-3, now_s - self._looked_s) if self._looked_s else 1.0
        self._looked_s = now_s
        answered = self.succeeded + sum(self.refusals.values())
        self._age_s = min(_RATE_S, self._age_s + passed_s)
        share = min(1.0, passed_s / self._age_s)
        self.per_s += share * ((answered - self._seen) / passed_s - self.per_s)
        self._seen = answered

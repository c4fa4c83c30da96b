"""What is counted of a model's calls. Cheap: it is counted with every call."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from flowserve.core.histogram import BUCKETS

if TYPE_CHECKING:
    from flowserve.core.engine.stages import Stages

SIZES_MAX = 1024
_RATE_S = 60.0
_pack = struct.Struct("8d").pack
# So many are added up at once: one request in a thousand waits for it, 0.1 ms and what that does to caches.
# With fewer at once one in a hundred would wait a little less, and the 99th percentile with it.
_NOTED_BYTES_MAX = 1024 * 8 * 8

Times = tuple[float, float, float, float, float, float, float, int]
"""Of a request: when it came, when reading it and writing its answer began and ended, in seconds on any
clock; then how long its call waited, and how long it ran, in milliseconds; and with how many rows it ran, its
own and those of others, 0 where it did not."""
STAGES = ("route", "parse", "queue", "inference", "serialise")
"""What a request goes through, in order."""


class Tally:
    """Of one version of a model, since it is served. Times are in milliseconds, and add up over all.

    The engine counts calls, which may be steps of a pipeline; who answers counts requests.
    """

    __slots__ = (
        "_age_s",
        "_looked_s",
        "_noted",
        "_seen",
        "_stages",
        "failed",
        "failed_ms",
        "hit_ms",
        "hits",
        "last_s",
        "miss_ms",
        "misses",
        "per_s",
        "queue_ms",
        "refusals",
        "rows",
        "run_ms",
        "runs",
        "succeeded",
    )

    def __init__(self) -> None:
        self.succeeded = self.failed = self.rows = 0
        self.last_s = 0.0
        """When a call succeeded last, in seconds since 1970."""
        self.queue_ms = self.run_ms = self.failed_ms = 0.0
        self.hits = self.misses = 0
        """Calls whose answer was kept, which count among those that succeeded, and those whose was not."""
        self.hit_ms = self.miss_ms = 0.0
        """For looking up, and keeping."""
        self.runs: dict[int, list[float]] = {}
        """By rows: how many runs, and how long they took."""
        self._noted = bytearray()
        self._stages: Stages | None = None
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
            run = self.runs.setdefault(rows if len(self.runs) < SIZES_MAX else 0, [0, 0.0])
        run[0] += 1
        run[1] += ms

    def alone(self, rows: int, ms: float, now_s: float) -> None:
        """Count a run of one call that did not wait, and its success: most are so."""
        run = self.runs.get(rows)
        if run is None:
            self.ran(rows, ms)
        else:
            run[0] += 1
            run[1] += ms
        self.succeeded += 1
        self.rows += rows
        self.run_ms += ms
        self.last_s = now_s

    def success(self, rows: int, queue_ms: float, run_ms: float, now_s: float) -> None:
        """Count a call that has its outputs. Calls that ran together took the time of their run each."""
        self.succeeded += 1
        self.rows += rows
        self.queue_ms += queue_ms
        self.run_ms += run_ms
        self.last_s = now_s

    def hit(self, ms: float, now_s: float) -> None:
        """Count a call whose outputs were kept from an earlier one."""
        self.succeeded += 1
        self.hits += 1
        self.hit_ms += ms
        self.last_s = now_s

    def failure(self, ms: float) -> None:
        """Count a call that was refused or that the model failed."""
        self.failed += 1
        self.failed_ms += ms

    def answered(self, times: Times) -> None:
        """Count a request that is answered with outputs. The engine has counted its call as a success."""
        # With every request: what can be worked out later is.
        noted = self._noted
        noted += _pack(*times)
        if len(noted) >= _NOTED_BYTES_MAX:
            self.settle()

    def settle(self) -> None:
        """Count what was only noted."""
        if not self._noted:
            return
        if self._stages is None:
            from flowserve.core.engine.stages import Stages  # with numpy, which the supervisor does without

            self._stages = Stages()
        self._stages.add(self._noted)
        self._noted = bytearray()

    @property
    def stages(self) -> list[list[int]]:
        """Histograms in the order of `STAGES`, of requests that were answered with outputs."""
        return self._counts[:-1]

    @property
    def stages_ms(self) -> list[float]:
        """How long they took, likewise."""
        return self._ms[:-1]

    @property
    def request(self) -> list[int]:
        """A histogram of their whole times: of all stages, and of what is between them."""
        return self._counts[-1]

    @property
    def request_ms(self) -> float:
        """And their sum."""
        return self._ms[-1]

    def refused(self, status: int, reason: str) -> None:
        """Count a request that is answered without outputs."""
        self.refusals[status, reason] = self.refusals.get((status, reason), 0) + 1

    def look(self, now_s: float) -> None:
        """Bring `per_s` up to date. Called now and then, at first within about a second."""
        self.settle()
        passed_s = max(1e-3, now_s - self._looked_s) if self._looked_s else 1.0
        self._looked_s = now_s
        answered = self.succeeded + sum(self.refusals.values())
        self._age_s = min(_RATE_S, self._age_s + passed_s)
        share = min(1.0, passed_s / self._age_s)
        self.per_s += share * ((answered - self._seen) / passed_s - self.per_s)
        self._seen = answered

    @property
    def read_and_written_ms(self) -> dict[int, tuple[float, float]]:
        """By the rows that requests ran with: how long reading them and writing their answers took."""
        self.settle()
        return self._stages.by_rows if self._stages else {}

    @property
    def _counts(self) -> list[list[int]]:
        self.settle()
        return self._stages.counts if self._stages else [[0] * BUCKETS] * (len(STAGES) + 1)

    @property
    def _ms(self) -> list[float]:
        self.settle()
        return self._stages.ms if self._stages else [0.0] * (len(STAGES) + 1)

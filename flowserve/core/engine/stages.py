"""How long requests took in each stage: histograms and sums of what was noted. With numpy, some at a time."""

from __future__ import annotations

import numpy as np

from flowserve.core.arrays import Array
from flowserve.core.engine.tally import SIZES_MAX, STAGES
from flowserve.core.histogram import BOUNDS_MS, BUCKETS

# From the columns of `Times` to milliseconds of each of `STAGES`, and of the whole.
_TO_MS = np.array(
    [
        # route, parse, queue, inference, serialise, whole
        [-1e3, 0, 0, 0, 0, -1e3],  # came
        [1e3, -1e3, 0, 0, 0, 0],  # reading began
        [0, 1e3, 0, 0, 0, 0],  # and ended
        [0, 0, 0, 0, -1e3, 0],  # writing began
        [0, 0, 0, 0, 1e3, 1e3],  # and ended
        [0, 0, 1, 0, 0, 0],  # waited
        [0, 0, 0, 1, 0, 0],  # ran
        [0, 0, 0, 0, 0, 0],  # with so many rows
    ]
)
_BOUNDS_MS = np.array(BOUNDS_MS)
_MEASURES = len(STAGES) + 1
_PARSE, _SERIALISE = STAGES.index("parse"), STAGES.index("serialise")
_OFFSETS = np.arange(_MEASURES) * BUCKETS


class Stages:
    """Of one version of a model."""

    def __init__(self) -> None:
        # One histogram after the other: of `STAGES`, then of whole requests; likewise their sums.
        self._counts = np.zeros(_MEASURES * BUCKETS, np.int64)
        self._ms = np.zeros(_MEASURES)
        self.by_rows: dict[int, tuple[float, float]] = {}
        """By the rows of their runs, how long reading requests and writing their answers took."""

    def add(self, noted: bytes | bytearray) -> None:
        """Count requests, each of which is `Times` as doubles."""
        times: Array = np.frombuffer(noted).reshape(-1, len(_TO_MS))
        ms: Array = times @ _TO_MS
        buckets = _BOUNDS_MS.searchsorted(ms)
        buckets += _OFFSETS
        self._counts += np.bincount(buckets.ravel(), minlength=len(self._counts))
        self._ms += ms.sum(0)
        sizes, which = np.unique(times[:, -1], return_inverse=True)
        read_ms, written_ms = (np.bincount(which, ms[:, stage]).tolist() for stage in (_PARSE, _SERIALISE))
        for rows, read, written in zip(sizes.tolist(), read_ms, written_ms, strict=True):
            # Clients choose their number of rows: there must not be a sum for each that they think of.
            known = int(rows) if rows in self.by_rows or len(self.by_rows) < SIZES_MAX else 0
            before = self.by_rows.get(known, (0.0, 0.0))
            self.by_rows[known] = before[0] + read, before[1] + written

    @property
    def counts(self) -> list[list[int]]:
        """Histograms of `STAGES`, and of whole requests."""
        counts: list[list[int]] = self._counts.reshape(_MEASURES, BUCKETS).tolist()
        return counts

    @property
    def ms(self) -> list[float]:
        """Milliseconds in all, likewise."""
        ms: list[float] = self._ms.tolist()
        return ms

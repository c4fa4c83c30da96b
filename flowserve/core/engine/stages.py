"""How long requests took in each stage: histograms and sums of what was noted. With numpy, some at a time."""

from __future__ import annotations

import numpy as np

from flowserve.core.arrays import Array
from flowserve.core.engine.tally import STAGES
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
    ]
)
_BOUNDS_MS = np.array(BOUNDS_MS)
_MEASURES = len(STAGES) + 1
_OFFSETS = np.arange(_MEASURES) * BUCKETS


class Stages:
    """Of one version of a model."""

    def __init__(self) -> None:
        # One histogram after the other: of `STAGES`, then of whole requests; likewise their sums.
        self._counts = np.zeros(_MEASURES * BUCKETS, np.int64)
        self._ms = np.zeros(_MEASURES)

    def add(self, noted: bytes | bytearray) -> None:
        """Count requests, each of which is `Times` as seven doubles."""
        ms: Array = np.frombuffer(noted).reshape(-1, len(_TO_MS)) @ _TO_MS
        buckets = _BOUNDS_MS.searchsorted(ms)
        buckets += _OFFSETS
        self._counts += np.bincount(buckets.ravel(), minlength=len(self._counts))
        self._ms += ms.sum(0)

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

"""How long something took, counted in buckets whose bounds grow by a quarter or so.

Counting is one search in a list; quantiles are read off to within a tenth of their value; and the few bounds
that dashboards want are among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
_SHOWN_STEPS = (1, 2.5, 5)
_POWERS = range(-3, 5)

BOUNDS_MS = [float(f"{step}e{power}") for power in _POWERS for step in _STEPS]
"""From a microsecond to 80 s. A bucket holds what is at most its bound; one more holds the rest."""
BUCKETS = len(BOUNDS_MS) + 1
SHOWN_MS = [float(f"{step}e{power}") for power in _POWERS for step in _SHOWN_STEPS][1:-2]
"""The bounds of metrics, from 2.5 us to 10 s."""
_SHOWN = [BOUNDS_MS.index(bound) + 1 for bound in SHOWN_MS]


def coarse(counts: Sequence[int]) -> list[int]:
    """The same counts in the buckets of `SHOWN_MS`."""
    edges = [0, *_SHOWN, BUCKETS]
    return [sum(counts[low:high]) for low, high in pairwise(edges)]


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The value in milliseconds that so large a share of all does not exceed; None where there is none.

    Within a bucket, values are taken to be spread evenly.
    """
    wanted, seen = share * sum(counts), 0
    for index, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = BOUNDS_MS[index - 1] if index else 0.0
            high = BOUNDS_MS[index] if index < len(BOUNDS_MS) else low
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return None


def added(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Both together; either may be empty, for none."""
    if not (a and b):
        return list(a or b)
    return [one + other for one, other in zip(a, b, strict=True)]

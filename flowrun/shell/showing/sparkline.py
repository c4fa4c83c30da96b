"""A series of values in a line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

_LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], cells: int) -> str:
    """The means of as many stretches as there are cells; `×` where something is no number."""
    count = min(cells, len(values))
    stretches = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    means = [sum(stretch) / len(stretch) for stretch in stretches]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_level(mean, low, high) for mean in means)


def _level(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "×"
    if high == low:
        return _LEVELS[3]
    share = (value / 2 - low / 2) / (high / 2 - low / 2)  # halves: their difference is finite
    return _LEVELS[min(7, int(8 * share))]

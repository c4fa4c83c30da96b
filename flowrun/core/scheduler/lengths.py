"""The order of jobs by how long they are going to last: what keeps the average wait short.

All scores are the less the more urgent, and all grow with the square of the size: a job that holds many
devices keeps as many others waiting, and as many have to come free before it can begin.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Protocol

UNITS_MS = tuple(30_000 << k for k in range(18))  # 30 s, twice that, ... to 45 days
FEW = 100  # jobs that have to be over before anything is concluded from them


class Lengths(Protocol):
    """Scores jobs by what is known of them."""

    def score(self, size: float, done_ms: int, left_ms: int) -> float:
        """Of a job that has run for `done_ms` and is said to run for `left_ms` more, 0 if nobody knows."""

    def review_ms(self, done_ms: int) -> int:
        """When the score of a job that runs gets worse by that: at so many milliseconds done; 0 if never."""

    def ended(self, duration_ms: int) -> None:
        """A job is over, and took so long in all."""


class Remaining:
    """What has least left to do goes first: shortest remaining processing time, weighed by size."""

    def score(self, size: float, done_ms: int, left_ms: int) -> float:
        """What is left."""
        return left_ms * size * size

    def review_ms(self, done_ms: int) -> int:
        """It only gets better."""
        return 0

    def ended(self, duration_ms: int) -> None:
        """Nothing is learned."""


class Learned:
    """What is most likely to be over soon, by what jobs took that are over: a Gittins index.

    Of what has run for a while, the chance to end within a span, over the time that this takes on average,
    for the best of spans (Tiresias, Gu et al., NSDI 2019, 4.3). Time is counted in `UNITS_MS`, so that jobs
    that ran about as long take no turns with each other: the one that was first goes on. As long as nothing
    is known, what has had least goes first.
    """

    def __init__(self) -> None:
        self._ended = [0] * (len(UNITS_MS) + 1)  # jobs by the unit in which they ended
        self._count = 0
        self._index: list[float] = []
        self._renew_at = FEW

    def score(self, size: float, done_ms: int, left_ms: int) -> float:
        """The inverse of the index."""
        unit = bisect_right(UNITS_MS, done_ms)
        inverse = self._index[unit] if self._index else float(UNITS_MS[min(unit, len(UNITS_MS) - 1)])
        return inverse * size * size

    def review_ms(self, done_ms: int) -> int:
        """When it comes to the next unit."""
        unit = bisect_right(UNITS_MS, done_ms)
        return UNITS_MS[unit] if unit < len(UNITS_MS) else 0

    def ended(self, duration_ms: int) -> None:
        """Learn from it; what follows for the index is brought up to date after a twentieth more."""
        self._ended[bisect_right(UNITS_MS, duration_ms)] += 1
        self._count += 1
        if self._count >= self._renew_at:
            self._index = inverse_index(self._ended)
            self._renew_at = self._count + max(FEW, self._count // 20)


def inverse_index(ended: list[int]) -> list[float]:
    """For a job that has come to each unit, the least over spans of: time that it takes on average over the
    chance to end in it. Of what no job came to, it is taken that it will last as long again."""
    bounds = [0, *UNITS_MS, 4 * UNITS_MS[-1]]
    found = []
    for begin, since in enumerate(bounds[:-1]):
        came = sum(ended[begin:])
        best, over, time = math.inf, 0, 0.0
        for unit in range(begin, len(ended)):
            until = bounds[unit + 1]
            over += ended[unit]
            time += ended[unit] * ((bounds[unit] + until) / 2 - since)
            if over:
                best = min(best, (time + (came - over) * (until - since)) / over)
        found.append(best if came else 4.0 * since)
    return found

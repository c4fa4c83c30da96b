"""Latencies of any number of requests in bounded memory, to within half a percent."""

from __future__ import annotations

from math import exp, log

_PER_E = 100  # buckets for a factor of e: values in one differ by 1 %


class Latencies:
    """Counts durations in seconds by their logarithm."""

    __slots__ = ("_counts", "count", "longest_s", "sum_s")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.sum_s = self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        bucket = int(log(seconds) * _PER_E) if seconds > 1e-9 else -2072
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.sum_s += seconds
        if seconds > self.longest_s:
            self.longest_s = seconds

    def quantile(self, share: float) -> float | None:
        """The duration in seconds that so large a share does not exceed; None where there is none."""
        wanted, seen = share * self.count, 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                # `int` rounds towards 0, so below a second the bucket lies below its number.
                middle = bucket - 0.5 if bucket < 0 else bucket + 0.5
                return min(exp(middle / _PER_E), self.longest_s)
        return None

"""Buckets, and what is read off them."""

from bisect import bisect_left
from itertools import pairwise

import pytest

from flowserve.core.observe.histogram import BOUNDS_MS, BUCKETS, SHOWN_MS, added, coarse, quantile


def counted(*values_ms):
    counts = [0] * BUCKETS
    for value in values_ms:
        counts[bisect_left(BOUNDS_MS, value)] += 1
    return counts


def test_bounds_grow_by_a_third_at_most():
    assert all(1.1 < high / low < 1.35 for low, high in pairwise(BOUNDS_MS))
    assert SHOWN_MS[0] == 0.0025
    assert SHOWN_MS[-1] == 10_000
    assert set(SHOWN_MS) < set(BOUNDS_MS)


def test_the_few_buckets_hold_what_the_many_do():
    values = [0.0001, 0.0025, 0.0026, 1.0, 1.01, 10_000, 10_001, 1e9]
    few = coarse(counted(*values))
    assert sum(few) == len(values)
    assert len(few) == len(SHOWN_MS) + 1
    assert few[0] == 2  # at most 2.5 us
    assert few[SHOWN_MS.index(1.0)] == 1
    assert few[SHOWN_MS.index(2.5)] == 1
    assert few[-2:] == [1, 2]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99])
def test_quantiles_are_within_a_tenth(share):
    counts = counted(*(value / 100 for value in range(1, 10_001)))
    assert quantile(counts, share) == pytest.approx(share * 100, rel=0.1)


def test_quantiles_at_the_ends():
    assert quantile([0] * BUCKETS, 0.5) is None
    assert quantile([], 0.5) is None
    assert quantile(counted(1e9), 0.5) == BOUNDS_MS[-1]


def test_of_nothing_and_something():
    assert added([], [1, 2]) == added([1, 2], []) == [1, 2]
    assert added([1, 2], [3, 4]) == [4, 6]
    assert added([], []) == []

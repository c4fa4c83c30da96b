"""Counts that add up, and what a histogram says of times."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowserve.core.rollout.evidence import (
    Counts,
    Difference,
    Evidence,
    Shadowed,
    above,
    bound_ms,
    bucket_of,
    observe,
    quantile,
    summed,
)


@given(st.floats(1e-3, 1e6))
def test_a_bucket_is_a_tenth_wide(ms):
    bucket = bucket_of(ms)
    assert ms <= bound_ms(bucket) * (1 + 1e-9)
    assert ms >= bound_ms(bucket - 1) * (1 - 1e-9)


@given(st.lists(st.floats(0, 1e4), min_size=1), st.floats(0.01, 1))
def test_quantiles_are_of_what_was_observed(times, share):
    histogram = {}
    for ms in times:
        observe(histogram, ms)
    bucket = quantile(histogram, share)
    within = sum(bucket_of(ms) <= bucket for ms in times)
    assert within >= share * len(times) - 1e-9
    assert above(histogram, bucket) == len(times) - within


def test_what_processes_have_seen_adds_up_and_goes_over_a_wire():
    a = Evidence(
        Counts(10, 1, {3: 9}, 2, 1),
        Counts(5, 0, {3: 4, 4: 1}),
        Shadowed(4, 1, 2, 0.5, {"y": Difference(4, 2, 1, 0.25, 3.0)}, {1: 4}, {2: 4}),
    )
    both = summed([a, msgspec.json.decode(msgspec.json.encode(a), type=Evidence), Evidence()])
    assert both == Evidence(
        Counts(20, 2, {3: 18}, 4, 2),
        Counts(10, 0, {3: 8, 4: 2}),
        Shadowed(8, 2, 4, 1.0, {"y": Difference(8, 4, 2, 0.25, 3.0)}, {1: 8}, {2: 8}),
    )
    assert a.stable.requests == 10


def test_failures_have_no_latency():
    counts = Counts()
    counts.count(True, 1.0, forced=False)
    counts.count(False, 1.0, forced=False)
    counts.count(True, 1.0, forced=True)
    assert counts == Counts(2, 1, {0: 1}, 1, 0)
    assert bound_ms(8) == pytest.approx(2.0)

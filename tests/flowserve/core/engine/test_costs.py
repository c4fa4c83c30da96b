"""What is learned of run times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowserve.core.engine.costs import Costs


def learned(*observations):
    costs = Costs()
    for rows, ms in observations:
        costs.observe(rows, ms)
    return costs


def test_nothing_is_known_at_first():
    assert not Costs().known
    assert Costs().expected_ms(1) == 0


def test_a_size_that_was_seen_costs_what_it_did():
    assert learned((1, 0.5), (32, 2.0)).expected_ms(1) == 0.5
    assert learned((1, 0.5), (32, 2.0)).expected_ms(32) == 2.0


def test_between_two_sizes_it_is_a_line():
    assert learned((1, 1.0), (9, 2.0)).expected_ms(5) == pytest.approx(1.5)


def test_fewer_rows_than_were_seen_cost_as_much_as_those():
    assert learned((32, 2.0)).expected_ms(1) == 2.0


def test_more_rows_than_were_seen_cost_in_proportion():
    assert learned((1, 0.5)).expected_ms(1000) == 500


def test_it_follows_a_model_that_gets_slower_or_faster():
    for first, then in ((1.0, 20.0), (20.0, 1.0)):
        costs = learned((1, first), *[(1, then)] * 60)
        assert costs.expected_ms(1) == pytest.approx(then, rel=0.05)


def test_one_interruption_of_a_second_counts_for_little():
    assert learned((1, 0.02), (1, 1000.0)).expected_ms(1) < 0.3


@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0.001, 1e4)), min_size=1), st.integers(0, 10**6))
def test_what_is_expected_is_within_reason(observations, rows):
    least, most = (function(ms for _, ms in observations) for function in (min, max))
    assert least * 0.999 <= learned(*observations).expected_ms(rows) <= most * max(1, rows) * 1.001

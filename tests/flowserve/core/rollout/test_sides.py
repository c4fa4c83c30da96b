"""Which side a request gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowserve.core.rollout.plan import Plan, Rollout, checked
from flowserve.core.rollout.sides import position, side

PERCENT = st.floats(0, 100)


def rollout(share=5.0, **plan) -> Rollout:
    return Rollout(1, 2, ("a", "b"), checked(Plan(steps=(share,), manual=True, **plan)))


@given(st.text(), PERCENT)
def test_a_key_gets_the_same_side_in_every_process_and_stays_there_as_the_share_grows(key, share):
    at = position("iris", "production", 2, key)
    assert at == position("iris", "production", 2, key)
    assert 0 <= at < 100
    if side(rollout(min(share, 99.0)), at) == "candidate":
        assert side(rollout(min(share + 1, 99.5)), at) == "candidate"


def test_positions_are_documented():
    """A client that works out its own side must get the same."""
    assert position("iris", "production", 2, "user-7") == pytest.approx(68.9996, abs=1e-3)


@pytest.mark.parametrize("share", [1.0, 5.0, 25.0, 50.0])
def test_a_share_is_met_by_keys(share):
    found = sum(
        side(rollout(share), position("iris", "production", 2, str(i))) == "candidate" for i in range(20_000)
    )
    assert abs(found / 200 - share) < 1.2


def test_other_candidates_are_tried_by_others():
    first, second = (
        {i for i in range(2000) if position("iris", "production", candidate, str(i)) < 10}
        for candidate in (2, 3)
    )
    assert len(first & second) < 60

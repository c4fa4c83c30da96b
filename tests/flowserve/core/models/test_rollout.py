"""Which side a request gets, and which rollouts there can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.plan.diagnostics import Refused
from flowserve.core.models.evidence import Evidence
from flowserve.core.models.fork import Fork, Forked
from flowserve.core.models.key import Key
from flowserve.core.models.rollout import Plan, Rollout, checked, planned, position, shares, side
from flowserve.core.models.table import Cold, Table, Version

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


def fork(share=5.0) -> Fork:
    sides = (Version(Key("iris", number, "s"), object()) for number in (1, 2))
    return Fork("iris", "production", rollout(share), *sides, Evidence())


def test_a_header_goes_before_the_share():
    of = fork(50.0)
    assert of.choose("always", "", 0.99) == ("candidate", True)
    assert of.choose(" Never", "", 0.0) == ("stable", True)
    assert of.choose("maybe", "", 0.49) == ("candidate", False)
    assert of.choose("", "", 0.51) == ("stable", False)
    of = fork(99.0)
    assert of.choose("", "some key", 1.0) == ("candidate", False)


def test_a_table_forks_only_where_the_alias_is_asked_for():
    of = fork()
    table = Table([of.stable, of.candidate], {"iris": {"production": 1}}, 1, [of])
    for name, tag in (("iris@production", ""), ("iris", "production")):
        with pytest.raises(Forked) as forked:
            table.route(name, tag)
        assert forked.value.fork is of
        assert table.resolve(name, tag) is of.stable.model  # what is described
    assert table.route("iris", "1") is of.stable.model
    assert table.route("iris@2") is of.candidate.model
    assert table.route("iris") is of.candidate.model  # no alias says otherwise
    with pytest.raises(Refused):
        table.route("none")
    of.candidate.model = None
    with pytest.raises(Cold):
        table.route("iris")


def test_the_bare_name_is_parted_by_a_rollout_of_default():
    versions = [Version(Key("iris", number, "s"), object()) for number in (1, 2)]
    of = Fork("iris", "default", rollout(), *versions, Evidence())
    table = Table(versions, {"iris": {"default": 1}}, 1, [of])
    with pytest.raises(Forked):
        table.route("iris")
    assert table.resolve("iris") is versions[0].model


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": []}, "a step below 100 %"),
        ({"steps": [100]}, "a step below 100 %"),
        ({"steps": [5, 5]}, "must go up"),
        ({"steps": [5, 100, 25]}, "must go up"),
        ({"steps": [5, 101]}, "101|100"),
        ({"steps": list(range(60))}, "at most 50 steps"),
        ({"steps": [0, 5]}, "at a share of 0 %"),
        ({"max_error_rate": 0}, "max_error_rate"),
        ({"min_requests": 0}, "min_requests"),
        ({"max_latency_ratio": 0.5}, "max_latency_ratio"),
        ({"header": "X Canary"}, "header"),
        ({"shares": 5}, "shares"),
    ],
)
def test_plans_that_cannot_be_followed(settings, said):
    with pytest.raises(Refused, match=rf"FS280.*({said})"):
        planned(Plan(), settings)


def test_settings_go_before_the_servers():
    plan = planned(Plan(shadow=10.0, min_requests=7), {"steps": [5, 50], "shadow": 20})
    assert (plan.steps, plan.shadow, plan.min_requests) == ((5.0, 50.0), 20.0, 7)
    assert checked(plan) == plan
    assert shares(planned(Plan(), {}).steps) == "1 → 5 → 25 → 100 %"

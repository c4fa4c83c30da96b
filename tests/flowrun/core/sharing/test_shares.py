"""What teams hold against what is theirs: penalties, limits, headroom, and the sums of them."""

import math
import random

import pytest

from flowrun.core.model import Rejected
from flowrun.core.sharing.priority import boost, penalty
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Fairness, Sharing, Team, Tiers

HOST = {"cpus": 100, "gpus": 10}
ONE_TIER = Tiers(weights=(1,), headroom=0)


def shares(teams, host=HOST, **more):
    more.setdefault("fairness", Fairness(weight=1))
    return Shares(Sharing(teams=teams, **more), host)


def test_the_formula():
    """effective = priority - weight * violations + log(waited / threshold)."""
    of = shares({"a": Team(share=0.25), "b": Team()}, fairness=Fairness(weight=2, starvation_s=60))
    of.start(0, 2, of.amounts(cpus=10, gpus=4))
    parts = of.parts(0, 2, 7, 600_000)
    assert parts.team == pytest.approx(2 * (0.4 / 0.25 - 1))
    assert parts.tier == pytest.approx(2 * (0.4 / 0.3 - 1))
    assert parts.waiting == pytest.approx(math.log(10))
    assert parts.effective == pytest.approx(7 - parts.tier - parts.team + parts.waiting)
    assert parts.effective == of.effective(0, 2, 7, 600_000)


def test_the_absolute_violation_is_use_less_entitlement():
    of = shares({"a": Team(share=0.25), "b": Team()}, tiers=ONE_TIER, fairness=Fairness(10, "absolute"))
    of.start(0, 1, of.amounts(gpus=4))
    assert of.penalty[0] == pytest.approx(10 * (0.4 - 0.25))
    assert of.penalty[1] == pytest.approx(10 * (0 - 0.75))


@pytest.mark.parametrize(
    ("share", "relative", "expected"), [(0.5, True, 1), (0.5, False, 0.25), (0.25, True, 0)]
)
def test_a_penalty(share, relative, expected):
    assert penalty(share, 0.25, 1, relative) == expected


def test_waiting_earns_nothing_up_to_the_threshold_and_then_its_logarithm():
    assert boost(60, 60) == 0
    assert boost(600, 60) == pytest.approx(2.302585)


def test_who_has_waited_longer_than_the_threshold_starves():
    of = shares({"a": Team()}, fairness=Fairness(starvation_s=60))
    assert [of.starving(waited_ms) for waited_ms in (60_000, 60_001)] == [False, True]


def test_entitlements_by_share_quota_and_weight():
    of = shares(
        {"a": Team(share=0.5), "b": Team(quota={"gpus": 2}), "c": Team(weight=1), "d": Team(weight=2)}
    )
    assert [e.amounts for e in of.entitled] == [(50, 5), (0, 2), (50 / 3, 1), (100 / 3, 2)]


def test_parts_of_a_team_divide_what_it_has():
    of = shares(
        {"r": Team(quota={"gpus": 6}), "x": Team(parent="r", weight=2), "y": Team(parent="r"), "z": Team()}
    )
    assert [e.amounts for e in of.entitled] == [(0, 6), (0, 4), (0, 2), (100, 4)]
    assert of.entitled[1].parts == pytest.approx((0.4, 0.4))  # no CPUs are named: measured as the GPUs


def test_what_the_host_does_not_have_is_no_part_of_it():
    of = shares({"a": Team(quota={"cpus": 25}), "b": Team()}, {"cpus": 100, "memory_mb": 10, "gpus": 0})
    assert of.entitled[0].parts == (0.25, 0.25, 0.25)  # as that of the CPUs, the only ones it names


def test_a_guarantee_of_one_resource_is_kept_against_one_who_has_all_of_another():
    """`c` is left all CPUs and half of the GPUs; of GPUs it counts as above its part from the sixth on."""
    of = shares({"g": Team(quota={"gpus": 5}), "c": Team()}, tiers=ONE_TIER)
    of.start(0, 1, of.amounts(gpus=4))
    of.start(1, 1, of.amounts(gpus=5))
    assert of.penalty[0] < of.penalty[1] == 0


def test_the_penalties_of_a_department_count_for_its_teams():
    of = shares(
        {"r": Team(share=0.5), "x": Team(parent="r"), "y": Team(parent="r"), "z": Team()}, tiers=ONE_TIER
    )
    of.start(1, 1, of.amounts(gpus=5))
    assert of.parts(2, 1, 0, 0).team == 0 + -1  # the department has its half, y nothing
    assert of.parts(1, 1, 0, 0).team == 0 + 1  # x has twice its part
    assert of.parts(3, 1, 0, 0).team == -1


def test_how_far_a_team_would_be_above_what_it_or_its_department_is_entitled_to():
    of = shares({"r": Team(share=0.5), "x": Team(parent="r"), "y": Team(parent="r"), "z": Team()})
    of.start(2, 3, of.amounts(gpus=4))
    assert of.above_with(1, of.amounts(gpus=2)) == pytest.approx(6 / 5 - 1)  # x would be below
    assert of.above_with(1, of.amounts(gpus=4)) == pytest.approx(4 / 2.5 - 1)


def test_a_burst_limit_rejects_with_the_amounts():
    of = shares({"a": Team(share=0.2, burst=1.5), "b": Team()})
    of.start(0, 3, of.amounts(gpus=2))
    assert of.allowed(0, 3, of.amounts(gpus=1)) is None
    rejected = of.allowed(0, 3, of.amounts(gpus=2))
    assert rejected == Rejected("gpus of team `a`, limit", 4, 3)
    assert str(rejected) == "gpus of team `a`, limit: needs 4, has 3"
    assert of.allowed(1, 3, of.amounts(gpus=7)) is None
    of.end(0, 3, of.amounts(gpus=2))
    assert of.allowed(0, 3, of.amounts(gpus=3)) is None


def test_a_limit_of_a_department_binds_its_teams_together():
    of = shares({"r": Team(limit={"gpus": 3}), "x": Team(parent="r"), "y": Team(parent="r")})
    of.start(1, 3, of.amounts(gpus=2))
    assert of.allowed(2, 3, of.amounts(gpus=2)) == Rejected("gpus of team `r`, limit", 4, 3)


def test_a_small_part_may_still_burst_to_one_whole_unit():
    of = shares({f"t{i}": Team(burst=2) for i in range(40)})
    assert of.allowed(0, 3, of.amounts(gpus=1)) is None


def test_headroom_is_for_tier_1_only():
    of = shares({"a": Team()}, tiers=Tiers(headroom=0.2))
    of.start(0, 4, of.amounts(gpus=8))
    assert of.allowed(0, 2, of.amounts(gpus=1)) == Rejected("gpus below tier 1, all but the headroom", 9, 8)
    assert of.allowed(0, 2, of.amounts(cpus=80)) is None
    assert of.allowed(0, 1, of.amounts(gpus=2)) is None
    of.start(0, 1, of.amounts(gpus=2))  # tier 1 does not use up what is left to the others
    of.end(0, 4, of.amounts(gpus=8))
    assert of.allowed(0, 2, of.amounts(gpus=8)) is None


def test_headroom_is_rounded_down():
    of = shares({"a": Team()}, {"cpus": 8, "gpus": 1}, tiers=Tiers(headroom=0.1))
    assert of.allowed(0, 4, of.amounts(cpus=8, gpus=1)) is None


def test_what_could_never_be_allowed():
    of = shares({"a": Team(limit={"gpus": 3})}, tiers=Tiers(headroom=0.2))
    of.start(0, 1, of.amounts(gpus=3))
    assert of.ever_allowed(0, 3, of.amounts(gpus=3)) is None
    assert of.ever_allowed(0, 3, of.amounts(gpus=4)) == Rejected("gpus of team `a`, limit", 4, 3)
    assert of.ever_allowed(0, 3, of.amounts(cpus=81)) is not None
    assert of.ever_allowed(0, 1, of.amounts(cpus=81)) is None


@pytest.mark.parametrize("seed", range(10))
def test_ends_undo_starts(seed):
    rng = random.Random(seed)
    teams = {"r": Team(), "x": Team(parent="r"), "y": Team(parent="r"), "z": Team(share=0.3)}
    of, fresh = shares(teams), shares(teams)
    running = []
    for _ in range(500):
        if running and rng.random() < 0.5:
            of.end(*running.pop(rng.randrange(len(running))))
        else:
            running.append((rng.choice([1, 2, 3]), rng.randint(1, 4), (rng.random() * 4, rng.randrange(3))))
            of.start(*running[-1])
        total = [sum(amounts[d] for _, _, amounts in running) for d in range(2)]
        assert [sum(used[d] for used in of.tier_used) for d in range(2)] == pytest.approx(total)
        assert [of.used[0][d] + of.used[3][d] for d in range(2)] == pytest.approx(total)
    for work in running:
        of.end(*work)
    assert (of.used, of.tier_used, of.penalty) == (fresh.used, fresh.tier_used, fresh.penalty)
    assert of.tier_penalty == fresh.tier_penalty


def test_what_had_not_started_cannot_end():
    of = shares({"a": Team()})
    with pytest.raises(AssertionError, match="had not started"):
        of.end(0, 3, of.amounts(cpus=1))


def test_the_worked_example_of_the_page_on_sharing():
    teams = {
        "research": Team(share=0.5),
        "vision": Team(parent="research", weight=3),
        "speech": Team(parent="research"),
        "ads": Team(quota={"gpus": 3, "cpus": 24}, tier=1),
        "students": Team(),
    }
    of = shares(teams, {"cpus": 64, "gpus": 8}, fairness=Fairness())
    of.start(of.index["ads"], 2, of.amounts(gpus=4))
    of.start(of.index["vision"], 3, of.amounts(gpus=3))
    parts = {name: of.parts(of.index[name], 3, 0, 3_600_000) for name in ("ads", "vision", "speech")}
    assert {name: part.team for name, part in parts.items()} == pytest.approx(
        {"ads": 10 / 3, "vision": -2.5, "speech": -12.5}
    )
    assert {round(part.waiting, 2) for part in parts.values()} == {1.79}
    assert sorted(parts, key=lambda name: -parts[name].effective) == ["speech", "vision", "ads"]


def test_what_could_never_start_in_a_tier():
    shares = Shares(Sharing({"a": Team(limit={"gpus": 7})}, Tiers(headroom=0.5)), {"gpus": 10})
    assert [shares.ever_allowed(0, tier, (5,)) for tier in (1, 2, 3)] == [None, None, None]
    assert [shares.ever_allowed(0, tier, (6,)) is None for tier in (1, 2, 3)] == [True, False, False]
    assert str(shares.ever_allowed(0, 1, (8,))) == "gpus of team `a`, limit: needs 8, has 7"
    assert shares.ever_allowed(0, 1, (7,)) is None

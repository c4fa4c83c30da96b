"""The order of turns is that of the effective priorities, whatever happens; and it is found quickly."""

import random

import pytest

from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Fairness, Sharing, Team
from flowrun.core.sharing.turns import Turns

HOST = {"cpus": 100, "gpus": 10}
NOW = 1_000_000
NESTED = {
    "research": Team(share=0.5),
    "vision": Team(parent="research", weight=2),
    "speech": Team(parent="research"),
    "ads": Team(weight=3),
    "ranking": Team(parent="ads"),
    "billing": Team(parent="ads"),
    "ops": Team(weight=1),
}


def turns(teams, host=HOST):
    shares = Shares(Sharing(teams=teams, fairness=Fairness(weight=1)), host)
    return shares, Turns(shares)


def names(shares, waiting, now=NOW):
    return [shares.names[turn.team] for turn in waiting.in_order(now)]


def test_nothing_waits():
    _, waiting = turns({"a": Team()})
    assert waiting.next(NOW) is None


def test_the_team_with_the_least_share_is_first():
    shares, waiting = turns({name: Team() for name in "abc"})
    for team in range(3):
        waiting.wait(team, 3, 0, NOW, NOW)
    assert names(shares, waiting) == ["a", "b", "c"]
    shares.start(0, 3, shares.amounts(cpus=2))
    shares.start(1, 3, shares.amounts(cpus=1))
    assert names(shares, waiting) == ["c", "b", "a"]
    shares.end(0, 3, shares.amounts(cpus=2))
    assert names(shares, waiting) == ["a", "c", "b"]


def test_the_dominant_share_counts():
    shares, waiting = turns({name: Team() for name in "ab"})
    waiting.wait(0, 3, 0, NOW, NOW)
    waiting.wait(1, 3, 0, NOW, NOW)
    shares.start(0, 3, shares.amounts(cpus=15))
    shares.start(1, 3, shares.amounts(gpus=2))
    assert names(shares, waiting) == ["a", "b"]


def test_a_team_leaves_when_it_has_no_more_work():
    shares, waiting = turns({name: Team() for name in "ab"})
    waiting.wait(0, 3, 0, NOW, NOW)
    waiting.wait(1, 3, 0, NOW, NOW)
    waiting.leave(0, 3)
    assert names(shares, waiting) == ["b"]
    waiting.leave(1, 3)
    assert waiting.next(NOW) is None


def test_a_higher_priority_is_first_until_its_team_is_far_above_its_share():
    shares, waiting = turns({name: Team() for name in "ab"})
    waiting.wait(0, 3, 1, NOW, NOW)
    waiting.wait(1, 3, 0, NOW, NOW)
    assert names(shares, waiting) == ["a", "b"]
    shares.start(0, 3, shares.amounts(cpus=51))  # above half: a violation of 1.02 more than b's
    assert names(shares, waiting) == ["b", "a"]


def test_tiers_take_turns_by_their_weights():
    """All that fits is started; with work in every tier, the host is divided 50/30/15/5."""
    shares, waiting = turns({"a": Team()}, {"cpus": 200})
    for tier in (1, 2, 3, 4):
        waiting.wait(0, tier, 0, NOW, NOW)
    for _ in range(200):
        shares.start(0, waiting.next(NOW).tier, (1,))
    assert [used[0] for used in shares.tier_used[1:]] == [100, 60, 30, 10]


def test_teams_take_turns_by_their_weights():
    shares, waiting = turns({"a": Team(weight=1), "b": Team(weight=3)}, {"cpus": 200})
    for team in range(2):
        waiting.wait(team, 3, 0, NOW, NOW)
    for _ in range(200):
        shares.start(waiting.next(NOW).team, 3, (1,))
    assert [used[0] for used in shares.used] == [50, 150]


def test_who_starves_rises():
    shares, waiting = turns({name: Team() for name in "ab"})
    shares.start(0, 3, shares.amounts(cpus=80))  # 1.6 above what b is
    waiting.wait(0, 3, 0, 0, 0)
    waiting.wait(1, 3, 0, 0, 0)
    assert names(shares, waiting, 600_000) == ["b", "a"]
    waiting.wait(1, 3, 0, 5_000_000, 5_000_000)  # b's next has come just now
    assert names(shares, waiting, 5_000_000) == ["a", "b"]


def test_whoever_comes_and_goes_little_is_kept_of_it():
    _, waiting = turns({name: Team() for name in "ab"})
    waiting.wait(0, 3, 9, NOW, NOW)
    for number in range(200):
        waiting.wait(1, 3, number % 5, NOW, NOW)
        waiting.leave(1, 3)
    assert max(len(heap) for heaps in waiting._heaps for heap in heaps) <= 36


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_that_of_the_effective_priorities(seed):
    rng = random.Random(seed)
    teams = NESTED if seed % 2 else {f"t{i}": Team(weight=rng.choice([0.5, 1, 2])) for i in range(12)}
    shares, waiting = turns(teams)
    leaves = [i for i in range(len(teams)) if i not in shares.parent]
    heads, running, now = {}, [], 0
    for _ in range(300):
        now += rng.randrange(100_000)
        team, tier = rng.choice(leaves), rng.randint(1, 4)
        match rng.randrange(4):
            case 0 | 1:
                heads[team, tier] = (rng.randrange(4), max(0, now - rng.randrange(3_000_000)))
                waiting.wait(team, tier, *heads[team, tier], now)
            case 2 if heads.pop((team, tier), None):
                waiting.leave(team, tier)
            case 3 if running and rng.random() < 0.5:
                shares.end(*running.pop(rng.randrange(len(running))))
            case _:
                running.append((team, tier, (rng.randrange(8), rng.randrange(2))))
                shares.start(*running[-1])
        order = list(waiting.in_order(now))
        assert sorted((turn.team, turn.tier) for turn in order) == sorted(heads)
        assert [turn.effective for turn in order] == sorted((turn.effective for turn in order), reverse=True)
        for turn in order:
            priority, since = heads[turn.team, turn.tier]
            exact = shares.effective(turn.team, turn.tier, priority, now - since)
            assert exact - 0.5 - 1e-9 <= turn.effective <= exact + 1e-9
    assert all(len(heap) <= 32 + 4 * len(teams) for heaps in waiting._heaps for heap in heaps)

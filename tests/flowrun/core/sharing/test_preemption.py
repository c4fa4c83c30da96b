"""Who is preempted: not more than is needed, the cheapest first, and never by turns."""

import itertools
import random

import pytest

from flowrun.core.sharing.preemption import Asking, Held, lost, victims
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Preemption, Sharing, Team, Tiers

HOUR = 3_600_000
A, B, C = 0, 1, 2
NOW = 10 * HOUR


def host(*running, gpus=8, **more):
    """Shares of three equal teams in which some tasks run, and what is free."""
    more.setdefault("tiers", Tiers(headroom=0))
    shares = Shares(Sharing(teams={"a": Team(), "b": Team(), "c": Team()}, **more), {"gpus": gpus})
    for held in running:
        shares.start(held.team, held.tier, held.amounts)
    return shares, [gpus - sum(held.amounts[0] for held in running)]


def held(task, team=A, gpus=1, tier=3, priority=0, since=HOUR, **more):
    return Held(task, team, tier, priority, (gpus,), since, **more)


def asking(team=B, gpus=1, tier=1, priority=0, since=0):
    return Asking(team, tier, priority, (gpus,), since)


def chosen(request, *running, now=NOW, **more):
    shares, free = host(*running, **more)
    return victims(request, running, shares, room(free, request.amounts), now)


def room(free, needs):
    """`fits` where only sums matter: what is free and what the taken tasks hold is enough."""
    return lambda taken: free[0] + sum(held.amounts[0] for held in taken) >= needs[0]


def test_tier_1_takes_what_it_needs_and_no_more():
    found = chosen(asking(gpus=3), *(held(n) for n in range(8)))
    assert len(found.tasks) == 3
    assert found.why is None
    assert len(chosen(asking(since=NOW), held(0, gpus=8)).tasks) == 1  # without having waited


def test_nothing_is_taken_where_there_is_room():
    assert chosen(asking(gpus=1), held(0)).tasks == ()
    assert chosen(asking(gpus=1), held(0)).why is None


def test_the_lowest_tier_goes_first_then_the_lowest_priority_then_what_loses_least():
    running = [
        held(0, tier=2),
        held(1, tier=4, priority=1),
        held(2, tier=4, since=2 * HOUR),
        held(3, tier=4, since=HOUR, kept_ms=3 * HOUR),
        *(held(n, tier=3) for n in range(4, 8)),
    ]
    orders = [chosen(asking(gpus=n), *running).tasks for n in range(1, 4)]
    assert orders == [(3,), (3, 2), (3, 2, 1)]


def test_what_is_lost_is_the_time_since_it_was_saved_by_the_part_that_was_held():
    shares, _ = host()
    assert lost(held(0, gpus=4, since=HOUR), shares, NOW) == 9 * HOUR / 2
    assert lost(held(0, gpus=2, since=HOUR, kept_ms=7 * HOUR), shares, NOW) == 3 * HOUR / 4
    assert lost(held(0, gpus=8, since=2 * HOUR, kept_ms=HOUR), shares, NOW) == 8 * HOUR


def test_teams_above_their_entitlement_lose_first():
    running = [*(held(n, A, tier=2) for n in range(4)), *(held(n, C, tier=4) for n in range(4, 6))]
    found = chosen(asking(gpus=3), *running, gpus=6)
    assert found.tasks == (0, 1, 4)  # a is at its third after two: then c's lower tier is next


def test_tier_1_is_never_taken_from():
    found = chosen(asking(), *(held(n, tier=1) for n in range(8)))
    assert found.why == "nothing that runs may be taken for it"


def test_a_large_task_makes_the_small_ones_taken_before_it_unnecessary():
    running = [held(0, gpus=1, tier=4), held(1, gpus=7, tier=3)]
    assert chosen(asking(gpus=6), *running).tasks == (1,)


def test_what_has_just_started_or_was_taken_often_is_left_alone():
    assert chosen(asking(), held(0, gpus=8, since=NOW - 1000)).why == "nothing that runs may be taken for it"
    assert chosen(asking(), held(0, gpus=8, preempted=3)).why == "nothing that runs may be taken for it"
    assert chosen(asking(), held(0, gpus=8, preempted=2)).tasks == (0,)


def test_too_little_is_a_reason():
    found = chosen(asking(gpus=5), *(held(n) for n in range(4)), *(held(n, tier=1) for n in range(4, 8)))
    assert found.why == "all that may be taken is not enough"
    assert found.tasks == ()


def test_it_can_be_switched_off():
    found = chosen(asking(), held(0, gpus=8), preemption=Preemption(enabled=False))
    assert found.why == "preemption is switched off"


def test_lower_tiers_ask_only_when_they_starve():
    running = [held(n) for n in range(8)]
    for tier in (2, 3):
        assert chosen(asking(tier=tier, since=NOW), *running).why == "it is neither of tier 1 nor starving"
    assert len(chosen(asking(tier=3), *running).tasks) == 1


def test_the_starving_take_only_from_teams_above_their_entitlement():
    running = [*(held(n, A) for n in range(3)), *(held(n, C) for n in range(3, 6))]
    assert chosen(asking(B, tier=3), *running, gpus=6).tasks == (0,)
    assert chosen(asking(A, tier=3), *running, gpus=6).why == "its team has what it is entitled to"


def test_the_starving_take_nothing_that_is_more_important():
    running = [held(n, tier=2) for n in range(8)]
    assert chosen(asking(tier=3), *running).why == "nothing that runs may be taken for it"
    running = [held(n, tier=3, priority=1) for n in range(8)]
    assert chosen(asking(tier=3), *running).why == "nothing that runs may be taken for it"
    assert len(chosen(asking(tier=3, priority=1), *running).tasks) == 1


def test_one_gpu_is_not_taken_by_turns():
    """Both would be as far above their part with it: who has it keeps it."""
    assert chosen(asking(B, tier=3), held(0, A), gpus=1).why == "all that may be taken is not enough"


def test_nothing_is_taken_for_one_who_has_reached_the_limit():
    shares = Shares(Sharing(teams={"a": Team(), "b": Team(limit={"gpus": 1})}), {"gpus": 8})
    running = [held(n) for n in range(8)]
    for task in running:
        shares.start(task.team, task.tier, task.amounts)
    found = victims(asking(B, gpus=2), running, shares, room([0], (2,)), NOW)
    assert found.why == "its team has reached its limit"


def test_what_is_kept_for_tier_1_is_not_room_for_the_starving():
    running = [*(held(n) for n in range(6))]
    shares, free = host(*running, tiers=Tiers(headroom=0.25))
    request = asking(B, gpus=1, tier=3)
    assert len(victims(request, running, shares, room(free, request.amounts), NOW).tasks) == 1


@pytest.mark.parametrize("seed", range(100))
def test_no_victim_could_be_spared_and_none_is_protected(seed):
    rng = random.Random(seed)
    gpus = rng.randint(4, 16)
    running, left = [], gpus
    for task in itertools.count():
        size = rng.randint(1, 4)
        if size > left:
            break
        left -= size
        since = NOW - rng.choice([1000, HOUR, 5 * HOUR])
        more = {"preempted": rng.randint(0, 4), "kept_ms": rng.choice([0, NOW - 1000])}
        running.append(
            held(task, rng.choice([A, B, C]), size, rng.randint(1, 4), rng.randrange(3), since, **more)
        )
    request = asking(rng.choice([A, B, C]), rng.randint(1, 6), rng.randint(1, 4), rng.randrange(3))
    shares, free = host(*running, gpus=gpus)
    fits = room(free, request.amounts)
    found = victims(request, running, shares, fits, NOW)
    taken = [task for task in running if task.task in found.tasks]
    assert len(taken) == len(found.tasks) == len(set(found.tasks))
    if found.why is not None:
        assert not taken
        return
    assert fits(taken)
    for task in taken:
        assert not fits([other for other in taken if other is not task])
        assert task.tier > 1
        assert task.preempted < 3
        assert NOW - task.started_ms >= 300_000
        if request.tier > 1:
            assert (task.tier, -task.priority) >= (request.tier, -request.priority)


@pytest.mark.parametrize("seed", range(30))
def test_starving_teams_do_not_take_from_each_other_for_ever(seed):
    """All always starve, nothing ends, nothing protects: the taking comes to an end by itself."""
    rng = random.Random(seed)
    free_rules = Preemption(run_at_least_s=0, times=10**9)
    shares, _ = host(gpus=12, preemption=free_rules)
    sizes = [rng.randint(1, 5) for _ in range(12)]
    waiting = [held(n, n % 3, size) for n, size in enumerate(sizes)]
    running, free = [], 12
    for taken_in_all in itertools.count():
        rng.shuffle(waiting)
        for task in list(waiting):  # whatever fits starts
            if task.amounts[0] <= free:
                waiting.remove(task)
                running.append(task)
                shares.start(task.team, task.tier, task.amounts)
                free -= task.amounts[0]
        for task in waiting:
            request = Asking(task.team, task.tier, task.priority, task.amounts, 0)
            found = victims(request, running, shares, room([free], task.amounts), NOW)
            if found.tasks:
                break
        else:
            return
        assert taken_in_all < 50
        for victim in [r for r in running if r.task in found.tasks]:
            running.remove(victim)
            waiting.append(victim)
            shares.end(victim.team, victim.tier, victim.amounts)
            free += victim.amounts[0]
        waiting.remove(task)
        running.append(task)
        shares.start(task.team, task.tier, task.amounts)
        free -= task.amounts[0]

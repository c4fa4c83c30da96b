"""The paper's examples, and the four properties that it proves, on many small instances, exactly."""

import random
from fractions import Fraction

import pytest

from flowrun.core.sharing.drf import divided, dominant_share, progressive_filling

PAPER = {"B": (3, 1), "A": (1, 4)}


def test_the_papers_example_task_by_task():
    filled = progressive_filling((9, 18), PAPER)
    assert filled.order == ("B", "A", "A", "B", "A")
    assert filled.tasks == {"A": 3, "B": 2}
    assert filled.dominant_share == {"A": Fraction(2, 3), "B": Fraction(2, 3)}
    assert filled.used == (9, 14)


def test_the_papers_example_divided():
    assert divided((9, 18), PAPER) == {"A": 3, "B": 2}


def test_weights_multiply_dominant_shares():
    parts = divided((12,), {"a": (1,), "b": (1,)}, weights={"a": 1, "b": 3})
    assert parts == {"a": 3, "b": 9}
    assert progressive_filling((12,), {"a": (1,), "b": (1,)}, {"a": 1, "b": 3}).tasks == parts


def test_what_one_does_not_want_the_others_get():
    assert divided((12,), {"a": (1,), "b": (1,)}, most={"a": 2}) == {"a": 2, "b": 10}


def test_who_needs_what_is_not_there_gets_nothing():
    assert divided((12, 0), {"a": (1, 1), "b": (1, 0)}) == {"a": 0, "b": 12}
    assert progressive_filling((12, 0), {"a": (1, 1), "b": (1, 0)}).tasks == {"a": 0, "b": 12}


def test_who_needs_nothing_starts_nothing():
    assert progressive_filling((12,), {"a": (0,), "b": (5,)}).tasks == {"a": 0, "b": 2}
    assert divided((12,), {"a": (0,), "b": (5,)}) == {"a": 0, "b": Fraction(12, 5)}


def instance(seed):
    rng = random.Random(seed)
    resources = rng.randint(1, 3)
    capacity = [rng.randint(1, 40) for _ in range(resources)]
    users = {}
    for user in range(rng.randint(2, 4)):
        demand = [rng.randint(0, 5) for _ in range(resources)]
        demand[rng.randrange(resources)] += 1
        users[str(user)] = tuple(demand)
    return rng, capacity, users


def tasks_in(bundle, demand):
    """How many tasks a bundle of resources is good for."""
    return min(Fraction(have) / need for have, need in zip(bundle, demand, strict=True) if need)


def bundle(tasks, demand):
    return [tasks * need for need in demand]


@pytest.mark.parametrize("seed", range(60))
def test_everyone_has_at_least_what_an_equal_part_would_give(seed):
    _, capacity, demands = instance(seed)
    parts = divided(capacity, demands)
    for user, demand in demands.items():
        assert parts[user] >= tasks_in([Fraction(c, len(demands)) for c in capacity], demand)


@pytest.mark.parametrize("seed", range(60))
def test_nobody_would_rather_have_what_another_has(seed):
    _, capacity, demands = instance(seed)
    parts = divided(capacity, demands)
    for user, demand in demands.items():
        for other in demands:
            assert parts[user] >= tasks_in(bundle(parts[other], demands[other]), demand)


@pytest.mark.parametrize("seed", range(60))
def test_nobody_can_have_more_without_another_having_less(seed):
    _, capacity, demands = instance(seed)
    parts = divided(capacity, demands)
    used = [sum(parts[u] * demands[u][r] for u in demands) for r in range(len(capacity))]
    assert all(u <= c for u, c in zip(used, capacity, strict=True))
    for demand in demands.values():
        assert any(need and u == c for need, u, c in zip(demand, used, capacity, strict=True))


@pytest.mark.parametrize("seed", range(60))
def test_lying_does_not_pay(seed):
    rng, capacity, demands = instance(seed)
    honest = divided(capacity, demands)
    for user, demand in demands.items():
        for _ in range(5):
            lie = tuple(max(need, 1) * rng.randint(1, 4) if need else rng.randint(0, 3) for need in demand)
            got = divided(capacity, {**demands, user: lie})[user]
            assert tasks_in(bundle(got, lie), demand) <= honest[user]


@pytest.mark.parametrize("seed", range(60))
def test_whole_tasks_come_within_one_task_of_equal_shares(seed):
    """While both can still start something, filling never lets a user be ahead by more than its last task."""
    _, capacity, demands = instance(seed)
    capacity = [c * 20 for c in capacity]
    filled = progressive_filling(capacity, demands)
    used = [sum(filled.tasks[u] * demands[u][r] for u in demands) for r in range(len(capacity))]
    assert list(filled.used) == used
    least = min(filled.dominant_share.values())
    for user, demand in demands.items():
        last = dominant_share(demand, capacity)
        blocked = any(  # another could go no further, or this user would be level with it
            any(u + need > c for u, need, c in zip(used, demands[o], capacity, strict=True)) for o in demands
        )
        assert blocked or filled.dominant_share[user] <= least + last

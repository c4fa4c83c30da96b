"""What is loaded ahead, in simulated time."""

from flowserve.core.memory.demand import FADE_S, Cold, Demand, wanted
from flowserve.core.models.key import Key
from flowserve.core.models.seat import HOST


def after(*times_s, requests=1):
    demand = Demand()
    for time_s in times_s:
        demand = demand.asked(requests, time_s)
    return demand


def loaded(now_s, free=100, **demands):
    cold = [Cold(Key(name, 1), {HOST: 10}, demand) for name, demand in demands.items()]
    found = wanted(cold, {HOST: free}, now_s)
    return found.name if found else None


def test_what_is_asked_for_regularly_is_wanted_until_it_fades():
    every_minute = after(*range(0, 3600, 60))
    assert loaded(3600, m=every_minute) == "m"
    assert loaded(3600 + FADE_S, m=every_minute) == "m"
    assert loaded(3600 + 4 * FADE_S, m=every_minute) is None


def test_once_is_not_regularly_however_much_it_is():
    assert loaded(1, m=after(0, requests=10_000)) is None
    assert loaded(3, m=after(0, 1, requests=10_000)) is None
    assert loaded(3, m=after(0, 1, 2, 3)) == "m"


def test_too_seldom_is_not_regularly():
    assert loaded(36_000, m=after(*range(0, 36_000, 900))) is None


def test_what_is_asked_for_most_comes_first():
    often, seldom = after(*range(100), requests=5), after(*range(100), requests=2)
    assert loaded(100, a=seldom, b=often) == "b"
    assert loaded(100, a=seldom, b=seldom) == "a"
    recent = after(*range(1000, 1100), requests=2)
    assert loaded(1100, a=often, b=recent) == "b", "what was long ago counts less"


def test_only_what_has_room_is_loaded():
    demand = after(*range(10))
    assert loaded(10, free=9, m=demand) is None
    cold = [
        Cold(Key("large", 1), {HOST: 50}, after(*range(10), requests=9)),
        Cold(Key("small", 1), {HOST: 10}, demand),
        Cold(Key("elsewhere", 1), {"gpu:0": 15}, after(*range(10), requests=8)),
    ]
    assert wanted(cold, {HOST: 20, "gpu:0": 14}, 10).name == "small"
    assert wanted(cold, {HOST: 20}, 10).name == "elsewhere", "a space without a bound"
    assert wanted([], {}, 10) is None


def test_the_weight_is_the_requests_of_about_the_last_ten_minutes():
    steady = after(*range(20_000), requests=3)
    assert abs(steady.requests / (3 * FADE_S) - 1) < 0.01

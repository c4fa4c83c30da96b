import random

from flowc.plan.model import Resources
from flowrun.core.model import Placement
from flowrun.core.scheduler.holdings import Holdings
from flowrun.core.scheduler.request import Ref, Request


def request(node, lasts):
    return Request(Ref("", str(node)), Resources(), (0,), lasts, 0)


def test_in_order_of_ends_whatever_came_and_went():
    draw = random.Random(1)
    holdings = Holdings()
    ends = {}
    for node in range(2000):
        lasts = draw.randrange(1, 10**6)
        holdings.add(request(node, lasts), Placement(1), 0)
        ends[str(node)] = lasts
        if draw.random() < 0.4:
            gone = draw.choice(sorted(ends))
            holdings.remove(Ref("", gone))
            del ends[gone]
        elif draw.random() < 0.4:
            other = draw.choice(sorted(ends))
            ends[other] = draw.randrange(1, 10**6)
            holdings.expect(Ref("", other), ends[other])
    got = [(holding.ends_ms, holding.request.ref.node) for holding in holdings.soonest(0)]
    assert sorted(got) == sorted((at, node) for node, at in ends.items())
    assert [at for at, _ in got] == sorted(ends.values())


def test_each_once_also_if_it_is_expected_at_the_same_time_again():
    holdings = Holdings()
    holdings.add(request("a", 100), Placement(1), 0)
    holdings.expect(Ref("", "a"), 50)
    holdings.expect(Ref("", "a"), 100)
    assert len(list(holdings.soonest(0))) == 1


def test_by_lane_are_those_that_hold_a_place():
    holdings = Holdings()
    for node in "ab":
        holdings.add(request(node, 100), Placement(1), 0)
    holdings.remove(Ref("", "a"))
    assert [list(of) for of in holdings.by_lane.values()] == [[Ref("", "b")]]
    holdings.remove(Ref("", "b"))
    assert holdings.by_lane == {}

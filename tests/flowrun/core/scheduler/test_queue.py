from flowc.plan.model import Resources
from flowrun.core.scheduler.order import Single
from flowrun.core.scheduler.queue import Queue
from flowrun.core.scheduler.request import Lane, Ref, Request

ONE, TWO = Resources(cpus=1), Resources(cpus=2)


def request(node, *rank, needs=ONE, estimate_ms=0, lane=Lane()):  # noqa: B008
    return Request(Ref("", node), needs, rank, estimate_ms, 0, lane)


def heads(queue, lane=Lane()):  # noqa: B008
    return [entry.request.ref.node for entry in queue.heads[lane]]


def test_the_first_of_each_kind_stand_in_order():
    queue = Queue(Single())
    for one in [request("b", 2), request("big", 1, needs=TWO), request("a", 0), request("c", 3)]:
        queue.add(one)
    assert heads(queue) == ["a", "big"]
    queue.remove(Ref("", "a"))
    assert heads(queue) == ["big", "b"]


def test_what_was_removed_from_the_middle_does_not_come_back():
    queue = Queue(Single())
    for i, node in enumerate("abc"):
        queue.add(request(node, i))
    queue.remove(Ref("", "b"))
    queue.remove(Ref("", "a"))
    assert heads(queue) == ["c"]
    queue.remove(Ref("", "c"))
    assert heads(queue) == []
    assert len(queue) == 0


def test_a_request_may_come_again():
    queue = Queue(Single())
    queue.add(request("a", 0))
    queue.add(request("b", 1))
    queue.remove(Ref("", "b"))
    queue.add(request("b", 1))
    queue.remove(Ref("", "a"))
    assert heads(queue) == ["b"]
    queue.remove(Ref("", "b"))
    assert heads(queue) == []


def test_lengths_that_differ_by_more_than_twice_are_two_kinds():
    queue = Queue(Single())
    queue.add(request("long", 0, estimate_ms=5000))
    queue.add(request("longer", 1, estimate_ms=6000))
    queue.add(request("short", 2, estimate_ms=100))
    assert heads(queue) == ["long", "short"]


def test_needs_are_those_of_what_waits():
    queue = Queue(Single())
    queue.add(request("a", 0))
    queue.add(request("b", 0, lane=Lane(tier=4)))
    queue.add(request("c", 0, needs=TWO))
    assert [len(need.classes) for need in queue.needs.values()] == [2, 1]
    queue.remove(Ref("", "a"))
    queue.remove(Ref("", "c"))
    assert [of.tier for need in queue.needs.values() for of in need.classes] == [4]
    queue.remove(Ref("", "b"))
    assert queue.needs == {}


def test_each_lane_has_its_own_order():
    told = []

    class Order(Single):
        def heads_changed(self, lane, first):
            told.append((lane.team, first and first.ref.node))

    queue = Queue(Order())
    one, other = Lane(1), Lane(2)
    queue.add(request("a", 1, lane=one))
    queue.add(request("b", 2, lane=one))
    queue.add(request("c", 0, lane=other))
    queue.remove(Ref("", "a"))
    queue.remove(Ref("", "b"))
    assert (heads(queue, one), heads(queue, other)) == ([], ["c"])
    assert told == [(1, "a"), (2, "c"), (1, "b"), (1, None)]

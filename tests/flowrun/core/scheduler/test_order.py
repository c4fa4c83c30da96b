"""Whose turn it is among the lanes of teams and tiers, as the scheduler asks for it."""

from graphs import host

from flowc.plan.model import Resources
from flowrun.core.model import Placement
from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.request import Holding, Lane, Ref, Request
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Fairness, Sharing, Team, Tiers


class Desk:
    """One CPU at a time, for teams `a` and `b`. `gives()` says who gets it; who had it last gives it back."""

    def __init__(self, fairness=None, tiers=None, cpus=1, **teams):
        sharing = Sharing(
            teams or {"a": Team(), "b": Team()}, tiers or Tiers(headroom=0), fairness or Fairness()
        )
        self.shares = Shares(sharing, {"cpus": cpus})
        self.scheduler = Scheduler(Pool((host(cpus=cpus),)), Fair(self.shares, 0))
        self.number = 0
        self.holds = None

    def wants(self, node, team=0, tier=3, priority=0, since=0):
        self.number += 1
        needs, rank = Resources(cpus=1), (-priority, self.number)
        self.scheduler.submit(Request(Ref("", node), needs, rank, 0, since, Lane(team, tier)))

    def gives(self, at=0):
        if self.holds is not None:
            self.scheduler.ended(self.holds)
        got = ""
        for request, placement in self.scheduler.dispatch(at):
            self.scheduler.started(request.ref, placement, at)
            self.holds, got = request.ref, request.ref.node
        return got


def test_the_higher_priority_first_in_whatever_lane():
    desk = Desk()
    desk.wants("low", team=0, priority=-1)
    desk.wants("middle", team=0)
    desk.wants("high", team=1, priority=1)
    assert [desk.gives() for _ in range(3)] == ["high", "middle", "low"]


def test_a_lane_is_as_urgent_as_its_first():
    desk = Desk()
    desk.wants("a", team=0)
    desk.wants("b", team=1, priority=1)
    assert desk.gives() == "b"
    desk.wants("urgent", team=0, priority=9)  # comes later, and stands first
    desk.wants("b2", team=1, priority=2)
    assert [desk.gives() for _ in range(3)] == ["urgent", "b2", "a"]


def test_tiers_come_to_their_parts():
    desk = Desk(cpus=4, tiers=Tiers((3, 1), headroom=0))
    for number in range(4):
        desk.wants(f"low {number}", tier=2)
        desk.wants(f"high {number}", tier=1)
    desk.gives()
    held = [holding.request.lane.tier for holding in desk.scheduler.holdings.by_ref.values()]
    assert sorted(held) == [1, 1, 1, 2]


def test_waiting_counts_beyond_the_threshold():
    desk = Desk(Fairness(starvation_s=1))
    desk.wants("new", team=0, priority=1, since=10_000)
    desk.wants("old", team=1, since=0)
    assert desk.gives(at=10_000) == "old"  # ln(10) = 2.3 points for waiting


def test_and_not_before():
    desk = Desk(Fairness(starvation_s=100))
    desk.wants("new", team=0, priority=1, since=10_000)
    desk.wants("old", team=1, since=0)
    assert desk.gives(at=10_000) == "new"


def test_what_a_team_holds_makes_its_next_turn_later():
    desk = Desk(cpus=4)
    for node in ("a1", "a2", "a3"):
        desk.wants(node, team=0)
    for node in ("b1", "b2", "b3"):
        desk.wants(node, team=1)
    desk.gives()
    assert {ref.node for ref in desk.scheduler.holdings.by_ref} == {"a1", "b1", "a2", "b2"}


def test_it_goes_on_for_as_long_as_none_is_more_urgent():
    desk = Desk(cpus=3)
    for node in ("b1", "b2"):
        desk.wants(node, team=1, tier=2)
    for node in ("a1", "a2"):
        desk.wants(node, team=0, priority=50)
    desk.gives()
    assert [ref.node for ref in desk.scheduler.holdings.by_ref] == ["a1", "a2", "b1"]


def test_a_lane_that_was_empty_waits_again():
    desk = Desk()
    desk.wants("one", team=0)
    assert desk.gives() == "one"
    assert desk.scheduler.order.effective(Lane(0, 3), 0) is None
    assert desk.gives() == ""
    desk.holds = None
    desk.wants("two", team=0)
    assert desk.gives() == "two"


def test_what_is_kept_for_tier_1_is_kept_from_all_others_together():
    order = Fair(Shares(Sharing({"a": Team()}, Tiers(headroom=0.5)), {"cpus": 4}), 0)

    def of(tier):
        return Request(Ref("", f"of tier {tier}"), Resources(cpus=1.5), (0,), 0, 0, Lane(0, tier))

    assert order.reserved(of(3)) is None
    assert order.reserved(of(3), beside=of(2)) is not None
    assert order.reserved(of(3), beside=of(1)) is None
    assert order.reserved(of(1), beside=of(2)) is None
    for tier in (1, 2):
        order.started(of(tier), Placement(1.5))
    assert order.reserved(of(3)) is not None
    assert order.reserved(of(3), gone=[Holding(of(1), Placement(1.5), 0, 0)]) is not None
    assert order.reserved(of(3), gone=[Holding(of(2), Placement(1.5), 0, 0)]) is None


def test_parts_of_shared_gpus_count_by_their_memory():
    shares = Shares(Sharing({"a": Team()}), {"cpus": 4, "memory_mb": 100, "gpus": 2, "licence": 3})
    order = Fair(shares, 8000)

    def amounts(**needs):
        return order.amounts(Request(Ref("", "x"), Resources(**needs), (0,), 0, 0))

    assert amounts(cpus=2, memory_mb=7) == (2, 7, 0, 0)
    assert amounts(cpus=0, gpus=2) == (0, 0, 2, 0)
    assert amounts(cpus=0, gpus=2, gpu_memory_mb=2000) == (0, 0, 0.5, 0)
    assert amounts(cpus=0, gpus=1, gpu_memory_mb=9000, uses=(("licence", 2), ("other", 1))) == (0, 0, 1, 2)

"""What teams may have at most, whatever they ask for and however it comes to be given."""

import msgspec
from graphs import host

from flowc.plan.model import Resources
from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.preempting import ByShares
from flowrun.core.scheduler.request import Lane, Ref, Request
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Fairness, Preemption, Sharing, Team, Tiers


class Desk:
    """A scheduler that teams share. `gives()` says what got a place, and how many GPUs."""

    def __init__(self, sharing, *hosts):
        hosts = hosts or (host(cpus=4, gpus=[8000] * 4),)
        capacity = {"cpus": sum(h.cpus for h in hosts), "gpus": sum(len(h.gpus) for h in hosts)}
        for name, amount in (resource for h in hosts for resource in h.resources):
            capacity[name] = capacity.get(name, 0) + amount
        order = Fair(Shares(sharing, capacity), 8000)
        self.scheduler = Scheduler(Pool(hosts), order, ByShares(order), grace_ms=10)
        self.number = 0
        self.now = 0

    def wants(self, node, team=0, tier=3, cpus=0, priority=0, lasts=0, **needs):
        self.number += 1
        rank, lane = (-float(priority), self.number), Lane(team, tier)
        request = Request(Ref("run", node), Resources(cpus=cpus, **needs), rank, lasts, self.now, lane)
        self.scheduler.submit(request)

    def gives(self, at=0):
        self.now, got = at, []
        for request, placement in self.scheduler.dispatch(at):
            self.scheduler.started(request.ref, placement, at)
            gpus = sum(len(part.gpus) for part in (placement, *placement.parts))
            got.append(f"{request.ref.node}:{gpus}" if gpus else request.ref.node)
        return " ".join(got)

    def takes(self):
        return [f"{victim.node} for {by.node}" for victim, by in self.scheduler.preemptions(self.now)]


OPEN = Tiers(headroom=0)


def team(**settings):
    return Sharing({"one": Team(**settings)}, OPEN)


def test_a_range_takes_what_the_limit_leaves():
    desk = Desk(team(limit={"gpus": 3}))
    desk.wants("a", gpus=1, gpus_max=2)
    desk.wants("b", gpus=1, gpus_max=4)
    desk.wants("c", gpus=1, gpus_max=2)
    assert desk.gives() == "a:2 b:1"


def test_a_range_takes_all_that_the_limit_leaves():
    desk = Desk(team(limit={"gpus": 3}))
    desk.wants("a", gpus=1, gpus_max=4)
    assert desk.gives() == "a:3"


def test_a_range_takes_nothing_of_what_is_kept_for_tier_1():
    desk = Desk(Sharing({"one": Team()}, Tiers(headroom=0.5)))
    desk.wants("low", gpus=1, gpus_max=4)
    assert desk.gives() == "low:2"
    desk.wants("high", tier=1, gpus=1, gpus_max=4)
    assert desk.gives() == "high:2"


def test_a_gang_holds_a_licence_on_each_of_its_hosts():
    each = msgspec.structs.replace(host(cpus=4, gpus=[8000]), resources=(("licence", 1),))
    desk = Desk(team(limit={"licence": 1}), each, each)
    desk.wants("gang", gpus=2, hosts_max=2, uses=(("licence", 1),))
    assert desk.gives() == ""
    assert str(desk.scheduler.stuck()[0][1]) == "licence of team `one`, limit: needs 2, has 1"
    desk = Desk(team(limit={"licence": 2}), each, each)
    desk.wants("gang", gpus=2, hosts_max=2, uses=(("licence", 1),))
    assert desk.gives() == "gang:2"


def test_what_its_limit_holds_back_is_kept_no_place():
    desk = Desk(Sharing({"one": Team(limit={"cpus": 1}), "other": Team()}, OPEN))
    desk.wants("a", team=0, cpus=1)
    desk.wants("b", team=1, cpus=2)
    assert desk.gives() == "a b"
    desk.wants("over its limit", team=0, cpus=2)
    desk.wants("long", team=1, cpus=1)
    assert desk.gives(at=1) == "long"


def test_others_pass_the_first_that_does_not_fit_whosever_they_are():
    desk = Desk(Sharing({"one": Team(), "other": Team()}, OPEN))
    desk.wants("runs", team=0, cpus=3)
    desk.gives()
    desk.wants("large", team=1, cpus=4)
    desk.wants("small", team=0, cpus=1)
    assert desk.gives() == "small"


def test_what_wants_of_all_there_is_what_is_kept_for_tier_1_is_stuck():
    desk = Desk(Sharing({"one": Team()}, Tiers(headroom=0.25)), host(cpus=8))
    desk.wants("large", cpus=7)
    desk.wants("critical", tier=1, cpus=7)
    assert desk.gives() == "critical"
    desk.scheduler.ended(Ref("run", "critical"))
    assert desk.gives() == ""
    assert [ref.node for ref, _ in desk.scheduler.stuck()] == ["large"]


def test_nor_does_what_waits_for_headroom_hold_up_who_may_have_it():
    desk = Desk(Sharing({"one": Team(), "other": Team()}, Tiers(headroom=0.25)), host(cpus=8))
    desk.wants("runs", team=0, cpus=5)
    desk.gives()
    desk.wants("large", team=1, cpus=2, priority=999)
    desk.wants("critical", team=0, tier=1, cpus=1)
    assert desk.gives() == "critical"


def test_what_lasts_too_long_holds_up_nothing_of_others_that_lasts_about_as_long_and_not_too_long():
    desk = Desk(Sharing({"one": Team(), "other": Team()}, OPEN))
    desk.wants("runs", team=0, cpus=2, lasts=1024)
    desk.gives()
    desk.wants("large", team=1, cpus=4, priority=9)
    desk.wants("long", team=1, cpus=1, lasts=1500)
    desk.wants("short", team=0, cpus=1, lasts=1024)
    assert desk.gives() == "short"


def test_what_waits_for_what_is_not_kept_for_tier_1_is_not_delayed():
    desk = Desk(Sharing({"one": Team(), "other": Team()}, Tiers(headroom=0.25)), host(cpus=8))
    desk.wants("runs", team=0, cpus=2)
    desk.gives()
    desk.wants("large", team=1, cpus=5, priority=9)
    desk.wants("small", team=0, cpus=2)
    assert desk.gives(at=1) == ""
    desk.scheduler.ended(Ref("run", "runs"))
    assert desk.gives(at=2) == "large"


class TestClaims:
    """A place that was taken from others is kept for whom it was taken for."""

    SHARING = Sharing(
        {"one": Team(limit={"gpus": 3}), "other": Team()}, OPEN, Fairness(), Preemption(run_at_least_s=0)
    )

    def test_but_not_above_the_limit_of_its_team(self):
        desk = Desk(self.SHARING)
        desk.wants("low", team=1, tier=4, gpus=4)
        assert desk.gives() == "low:4"
        desk.wants("two", team=0, tier=1, gpus=2)
        assert desk.gives(at=1) == ""
        assert desk.takes() == ["low for two"]
        desk.scheduler.order.started(
            Request(Ref("run", "x"), Resources(cpus=0, gpus=2), (0.0,), 0, 0, Lane(0, 1)),
            desk.scheduler.holdings.by_ref[Ref("run", "low")].placement,
        )  # as if its team had got another place in between
        desk.scheduler.ended(Ref("run", "low"))
        desk.wants("next", team=1, tier=4, gpus=4)
        assert desk.gives(at=2) == "next:4"
        assert not desk.scheduler.claims

    def test_the_least_important_goes(self):
        desk = Desk(self.SHARING)
        for node, priority in (("some", 0), ("least", -1), ("more", 1)):
            desk.wants(node, team=1, tier=4, gpus=1, priority=priority)
        desk.wants("most", team=1, tier=4, gpus=1, priority=2)
        desk.gives()
        desk.wants("two", team=0, tier=1, gpus=2)
        assert desk.gives(at=1) == ""
        assert sorted(desk.takes()) == ["least for two", "some for two"]

    def test_who_starves_takes_nothing_that_is_more_important(self):
        desk = Desk(self.SHARING)
        for node, priority in (("more", 2), ("as much", 1)):
            desk.wants(node, team=1, gpus=2, priority=priority)
        desk.gives()
        desk.wants("starves", team=0, gpus=1, priority=1)
        assert desk.gives(at=10**9) == ""
        assert desk.takes() == ["as much for starves"]

    def test_who_is_on_the_way_out_is_not_told_to_go_again(self):
        desk = Desk(self.SHARING)
        desk.wants("low", team=1, tier=4, gpus=4)
        desk.gives()
        desk.scheduler.expect(Ref("run", "low"), 5000)  # somebody cancelled it
        desk.wants("two", team=0, tier=1, gpus=2)
        assert desk.gives(at=1) == ""
        assert desk.takes() == []


def test_rounding_makes_no_team_fall_short_of_its_part():
    sharing = Sharing({"one": Team(quota={"cpus": 1}), "other": Team(quota={"cpus": 1})}, OPEN)
    shares = Shares(sharing, {"cpus": 4})
    for amount in (0.3, 0.3, 0.3, 0.1):
        shares.start(0, 3, (amount,))
    shares.start(0, 3, (0.3,))
    shares.end(0, 3, (0.3,))
    assert shares.has_its_part(0)
    assert not shares.has_its_part(1)

from graphs import host

from flowc.plan.model import Resources
from flowrun.core.changes import Outsider
from flowrun.core.model import Placement
from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.preempting import ByRank, ByShares
from flowrun.core.scheduler.request import Lane, Ref, Request
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Sharing, Team, Tiers

MINUTE = 60_000


class Desk:
    """Two teams on hosts of 4 CPUs, without headroom; half of all is each one's."""

    def __init__(self, hosts=1, preempting=None):
        sharing = Sharing({"one": Team(), "other": Team()}, Tiers(headroom=0))
        capacity = {"cpus": 4 * hosts, "memory_mb": 1000 * hosts, "gpus": 0}
        self.order = Fair(Shares(sharing, capacity), 0)
        pool = Pool([host(4, 1000)] * hosts)
        self.scheduler = Scheduler(pool, self.order, preempting or ByShares(self.order), grace_ms=5000)
        self.now = 0
        self._index = 0

    def wants(self, node, cpus, team=0, tier=3, lasts=0, priority=0):
        self._index += 1
        lane = Lane(team, tier)
        needs = Resources(cpus=cpus)
        self.scheduler.submit(Request(Ref("", node), needs, (-priority, self._index), lasts, self.now, lane))

    def gives(self, at=None):
        self.now = self.now if at is None else at
        got = []
        for request, placement in self.scheduler.dispatch(self.now):
            self.scheduler.started(request.ref, placement, self.now)
            got.append(request.ref.node)
        return " ".join(got)

    def takes(self):
        taken = self.scheduler.preemptions(self.now)
        for victim, _ in taken:
            self.scheduler.expect(victim, self.now + self.scheduler.grace_ms)
        return " ".join(f"{victim.node}<{by.node}" for victim, by in taken)

    def ends(self, *nodes):
        for node in nodes:
            self.scheduler.ended(Ref("", node))


class TestByShares:
    def test_the_first_tier_takes_from_lower_ones(self):
        desk = Desk()
        desk.wants("a", 2)
        desk.wants("b", 2, tier=4)
        desk.gives()
        desk.wants("urgent", 1, team=1, tier=1)
        assert desk.gives(at=10 * MINUTE) == ""
        assert desk.takes() == "b<urgent"

    def test_nothing_more_is_taken_while_that_is_awaited(self):
        desk = Desk()
        desk.wants("a", 2)
        desk.wants("b", 2)
        desk.gives()
        desk.wants("urgent", 1, team=1, tier=1)
        desk.wants("urgent too", 4, team=1, tier=1)
        desk.gives(at=10 * MINUTE)
        assert desk.takes() == "a<urgent"
        desk.gives(at=10 * MINUTE + 1000)
        assert desk.takes() == ""

    def test_more_is_taken_if_somebody_else_had_that(self):
        desk = Desk()
        desk.wants("a", 2, tier=4)
        desk.wants("b", 2)
        desk.gives()
        desk.wants("urgent", 2, team=1, tier=1)
        desk.gives(at=10 * MINUTE)
        assert desk.takes() == "a<urgent"
        desk.ends("a")
        desk.scheduler.occupy([Outsider("another flowrun", Placement(2))], desk.now)
        assert desk.gives() == ""
        assert desk.takes() == "b<urgent"

    def test_what_is_taken_for_one_is_no_room_for_another(self):
        desk = Desk()
        desk.wants("a", 2, tier=4)
        desk.wants("b", 1, tier=3)
        desk.gives()
        desk.wants("urgent", 3, team=1, tier=1)
        desk.wants("urgent too", 2, team=1, tier=1)
        desk.gives(at=10 * MINUTE)
        assert desk.takes() == "a<urgent"
        desk.ends("a")
        assert desk.gives() == "urgent"

    def test_the_place_is_kept_for_whom_it_was_taken(self):
        desk = Desk()
        desk.wants("a", 4)
        desk.gives()
        desk.wants("urgent", 4, team=1, tier=1)
        desk.gives(at=10 * MINUTE)
        assert desk.takes() == "a<urgent"
        desk.wants("long", 1, team=1, tier=1, lasts=MINUTE)
        assert desk.gives(at=10 * MINUTE + 5000) == ""
        desk.ends("a")
        desk.wants("a", 4)
        assert desk.gives() == "urgent"
        assert desk.takes() == ""  # `a` and `long` wait

    def test_also_from_what_has_become_more_urgent(self):
        desk = Desk()
        for node in "ab":
            desk.wants(node, 2)
        desk.gives()
        desk.wants("urgent", 4, team=1, tier=1)
        desk.gives(at=10 * MINUTE)
        assert desk.takes() == "a<urgent b<urgent"
        desk.wants("more urgent", 2, team=1, tier=1, lasts=MINUTE, priority=9)
        desk.ends("a")
        assert desk.gives() == ""
        desk.ends("b")
        assert desk.gives() == "urgent"

    def test_who_is_neither_critical_nor_starves_takes_nothing(self):
        desk = Desk()
        desk.wants("a", 4)
        desk.gives()
        desk.wants("b", 1, team=1)
        desk.gives(at=9 * MINUTE)
        assert desk.takes() == ""

    def test_who_starves_below_their_entitlement_takes_from_who_is_above(self):
        desk = Desk()
        for node in "abcd":
            desk.wants(node, 1)
        desk.gives()
        desk.now = MINUTE
        desk.wants("starves", 2, team=1)
        desk.gives(at=30 * MINUTE)
        assert len(desk.takes().split()) == 2

    def test_victims_are_on_one_host_where_the_place_has_to_be(self):
        desk = Desk(hosts=2)
        for node in "abcd":
            desk.wants(node, 2)
        desk.gives()
        desk.wants("urgent", 4, team=1, tier=1)
        desk.gives(at=10 * MINUTE)
        victims = [victim.split("<")[0] for victim in desk.takes().split()]
        hosts = {desk.scheduler.holdings.by_ref[Ref("", node)].placement.host for node in victims}
        assert (len(victims), len(hosts)) == (2, 1)

    def test_and_looked_for_where_most_is_held(self):
        desk = Desk(hosts=9)
        desk.wants("all", 4, tier=4)
        for number in range(8):
            desk.wants(f"protected {number}", 3, tier=1)
        desk.gives()
        for number in range(8):
            desk.wants(f"small {number}", 1, tier=4)
        desk.gives()
        desk.wants("urgent", 4, team=1, tier=1)
        assert desk.gives(at=10 * MINUTE) == ""
        assert desk.takes() == "all<urgent"


class TestByRank:
    def test_the_least_urgent_go_and_no_more_than_have_to(self):
        scheduler = Scheduler(Pool((host(4, 1000),)), preempting=ByRank(), grace_ms=0)
        for node, rank, cpus in (("a", 5, 1), ("b", 7, 2), ("c", 6, 1)):
            scheduler.submit(Request(Ref("", node), Resources(cpus=cpus), (rank,), 0, 0))
        for request, placement in scheduler.dispatch(0):
            scheduler.started(request.ref, placement, 0)
        scheduler.submit(Request(Ref("", "urgent"), Resources(cpus=2), (1,), 0, 0))
        scheduler.submit(Request(Ref("", "least"), Resources(cpus=1), (9,), 0, 0))
        assert list(scheduler.dispatch(1)) == []
        assert [(victim.node, by.node) for victim, by in scheduler.preemptions(1)] == [("b", "urgent")]

    def test_what_is_as_urgent_does_not_go_even_together_with_what_is_less(self):
        scheduler = Scheduler(Pool((host(4, 1000),)), preempting=ByRank(), grace_ms=0)
        for node, rank, cpus in (("as urgent", 5, 3), ("less urgent", 7, 1)):
            scheduler.submit(Request(Ref("", node), Resources(cpus=cpus), (rank,), 0, 0))
        for request, placement in scheduler.dispatch(0):
            scheduler.started(request.ref, placement, 0)
        scheduler.submit(Request(Ref("", "large"), Resources(cpus=4), (5,), 0, 0))
        assert list(scheduler.dispatch(1)) == []
        assert scheduler.preemptions(1) == []

    def test_ties_are_left_alone(self):
        scheduler = Scheduler(Pool((host(1, 1000),)), preempting=ByRank(), grace_ms=0)
        for node in "ab":
            scheduler.submit(Request(Ref("", node), Resources(cpus=1), (1,), 0, 0))
        for request, placement in scheduler.dispatch(0):
            scheduler.started(request.ref, placement, 0)
        assert scheduler.preemptions(1) == []

    def test_nothing_is_kept_for_who_takes_what_it_needs(self):
        scheduler = Scheduler(Pool((host(4, 1000),)), preempting=ByRank(), grace_ms=0)
        got = []
        for node, rank, cpus in (("runs", 1, 3), ("large", 2, 4), ("long", 3, 1)):
            scheduler.submit(Request(Ref("", node), Resources(cpus=cpus), (rank,), 9 * MINUTE, 0))
            for request, placement in scheduler.dispatch(rank):
                scheduler.started(request.ref, placement, rank)
                got.append(request.ref.node)
        assert got == ["runs", "long"]

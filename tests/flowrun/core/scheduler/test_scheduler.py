"""Requests in, starts out: what waits, what ends, and what the scheduler gives at each moment."""

import pytest
from graphs import host
from msgspec import structs

from flowc.plan.model import Resources
from flowrun.core.changes import Outsider
from flowrun.core.model import Placement
from flowrun.core.pool import Pool
from flowrun.core.scheduler.promise import MOVES
from flowrun.core.scheduler.request import Ref, Request
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.scheduler.waits import waits


class Desk:
    """A scheduler at a moment. `gives()` says what got a place."""

    def __init__(self, cpus=4, memory=1000, gpus=(), resources=(), hosts=1):
        of = structs.replace(host(cpus, memory, gpus), resources=resources)
        self.scheduler = Scheduler(Pool((of,) * hosts))
        self.now = 0
        self._index = 0

    def wants(self, node, cpus=1, lasts=0, urgent=False, **needs):
        self._index += 1
        needs = Resources(cpus=cpus, **needs)
        self.scheduler.submit(Request(Ref("", node), needs, (-urgent, self._index), lasts, self.now))

    def gives(self, at=None):
        self.now = self.now if at is None else at
        got = []
        for request, placement in self.scheduler.dispatch(self.now):
            self.scheduler.started(request.ref, placement, self.now)
            got.append(request.ref.node)
        return " ".join(got)

    def ends(self, *nodes):
        for node in nodes:
            self.scheduler.ended(Ref("", node))

    def why(self, node):
        return waits(self.scheduler, self.scheduler.queue[Ref("", node)], self.now)


class TestOrder:
    def test_by_rank_as_far_as_it_goes(self):
        desk = Desk(cpus=2)
        for node in "abc":
            desk.wants(node)
        assert desk.gives() == "a b"
        desk.ends("a")
        assert desk.gives() == "c"

    def test_kinds_that_do_not_fit_do_not_hold_up_others_of_which_nothing_is_missing(self):
        desk = Desk(cpus=4, gpus=[8000])
        desk.wants("first", cpus=1, gpus=1)
        desk.wants("second", cpus=1, gpus=1)
        desk.wants("other", cpus=1)
        assert desk.gives() == "first other"  # for `second` there are still CPUs when its GPU is free


class TestPromise:
    def test_what_would_delay_the_first_waits(self):
        desk = Desk(cpus=4)
        desk.wants("runs", cpus=3, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=4, lasts=1000)
        desk.wants("long", cpus=1, lasts=1001)
        assert desk.gives() == ""
        desk.ends("runs")
        assert desk.gives(at=1000) == "large"

    def test_what_ends_in_time_passes(self):
        desk = Desk(cpus=4)
        desk.wants("runs", cpus=3, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=4)
        desk.wants("short", cpus=1, lasts=1000)
        assert desk.gives() == "short"

    def test_also_where_more_counts_than_sums(self):
        desk = Desk(gpus=[8000] * 2)
        desk.wants("runs", gpus=1, lasts=1000)
        desk.gives()
        desk.wants("large", gpus=2)
        desk.wants("long", gpus=1, lasts=2000)
        desk.wants("short", gpus=1, lasts=1000)
        assert desk.gives() == "short"

    def test_what_fits_beside_it_passes_however_long_it_lasts(self):
        desk = Desk(cpus=4)
        desk.wants("runs", cpus=2, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=3)
        desk.wants("long", cpus=1, lasts=9999)
        desk.wants("longer", cpus=1, lasts=9999)
        assert desk.gives() == "long"

    def test_what_ends_at_this_moment_counts_as_free_though_nobody_told_yet(self):
        desk = Desk(cpus=2)
        desk.wants("one", cpus=1, lasts=1000)
        desk.wants("other", cpus=1, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=2)
        desk.wants("short", cpus=1, lasts=900)
        desk.ends("one")
        assert desk.gives(at=1000) == ""
        desk.ends("other")
        assert desk.gives(at=1000) == "large"

    def test_it_is_for_the_first_as_it_is_now(self):
        desk = Desk(cpus=4)
        desk.wants("runs", cpus=2, lasts=1000)
        desk.wants("longer", cpus=1, lasts=3000)
        desk.gives()
        desk.wants("large", cpus=4)
        desk.wants("small", cpus=1, lasts=2500)
        assert desk.gives() == "small"  # over before `large` has its place, at 3000
        desk.scheduler.withdraw(Ref("", "large"))
        desk.wants("medium", cpus=2)
        desk.wants("other", cpus=1, lasts=2600)
        desk.ends("small")
        assert desk.gives(at=10) == "other"  # beside `medium`, which has its place at 1000
        desk.ends("other")
        desk.wants("wide", cpus=3)
        desk.scheduler.withdraw(Ref("", "medium"))
        desk.wants("more", cpus=1, lasts=2600)
        assert desk.gives(at=20) == ""  # `wide` has its place at 1000, and not with this

    @pytest.mark.parametrize("dimension", ["cpus", "memory_mb"])
    def test_what_ends_early_is_not_counted_on_twice(self, dimension):
        def of(amount):
            return {"cpus": 0, dimension: amount * (10 if dimension == "memory_mb" else 1)}

        desk = Desk(cpus=10, memory=100)
        desk.wants("a", lasts=1000, **of(4))
        desk.wants("b", lasts=1000, **of(4))
        desk.gives()
        desk.wants("large", **of(9))
        desk.wants("long", lasts=9999, **of(2))
        assert desk.gives() == ""
        desk.ends("a")
        assert desk.gives(at=10) == ""
        desk.wants("fits beside", lasts=9999, **of(1))
        assert desk.gives(at=10) == "fits beside"

    @pytest.mark.parametrize("gpus", [(), (8000,)])
    def test_what_ends_together_makes_room_together(self, gpus):
        desk = Desk(cpus=2, memory=100, gpus=gpus)
        desk.wants("keeps", cpus=0, memory_mb=60, lasts=1000)
        desk.wants("runs", cpus=1, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=1, memory_mb=100, gpus=len(gpus))
        desk.wants("long", cpus=1, lasts=9999)
        assert desk.gives() == "long"  # beside `large`, for which the memory is enough

    def test_it_is_made_anew_when_what_is_more_urgent_takes_its_place(self):
        desk = Desk(cpus=6)
        desk.wants("runs", cpus=1, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=6)
        desk.wants("other", cpus=2, lasts=4000)
        assert desk.gives() == ""
        desk.wants("urgent", cpus=3, lasts=5000, urgent=True)
        assert desk.gives() == "urgent other"

    @pytest.mark.parametrize("lasts", [10, 2900])
    def test_it_stays_when_what_is_more_urgent_is_over_in_time(self, lasts):
        desk = Desk(cpus=6)
        desk.wants("runs", cpus=3, lasts=2000)
        desk.wants("ends early", cpus=1, lasts=3000)
        desk.gives()
        desk.wants("large", cpus=6)
        desk.wants("other", cpus=2, lasts=2500)
        assert desk.gives() == "other"
        desk.ends("ends early")
        desk.wants("urgent", cpus=1, lasts=lasts, urgent=True)
        assert desk.gives(at=100) == "urgent"
        desk.ends("urgent")
        desk.wants("small", cpus=1, lasts=2700)
        assert desk.gives(at=110) == "small"  # not with a new promise, which would be for 2500

    def test_it_is_made_anew_when_something_is_told_to_go(self):
        desk = Desk(cpus=4)
        desk.wants("runs", cpus=3, lasts=9000)
        desk.gives()
        desk.wants("large", cpus=4)
        desk.wants("long", cpus=1, lasts=9001)
        assert desk.gives() == ""
        desk.scheduler.expect(Ref("", "runs"), 2000)
        desk.wants("other", cpus=1, lasts=3000)
        assert desk.gives() == ""  # `large` has its place at 2000

    def test_it_is_made_anew_when_others_on_the_host_are_gone(self):
        desk = Desk(cpus=4, memory=100)
        desk.scheduler.occupy([Outsider("another flowrun", Placement(0, 60))], 0)
        desk.wants("runs", cpus=3, lasts=500)
        desk.gives()
        desk.wants("large", cpus=4, memory_mb=80)
        desk.wants("long", cpus=1, lasts=9999)
        assert desk.gives() == ""
        desk.scheduler.occupy([], 0)
        desk.wants("other", cpus=1, lasts=800)
        assert desk.gives() == ""  # `large` has its place at 500

    def test_in_each_round_it_may_be_tried_anew_what_there_is_room_for_beside_it(self):
        desk = Desk(cpus=200, gpus=[8000])
        desk.wants("runs", gpus=1, lasts=5000)
        desk.gives()
        desk.wants("large", gpus=1)
        for number in range(MOVES // 3 + 1):  # each is tried with one that is gone, which comes back
            desk.wants(f"long {number}", lasts=9999)
            assert desk.gives() == f"long {number}"

    @pytest.mark.parametrize("lasts", [500, 1000])
    def test_what_passed_and_ends_in_time_makes_room_beside_it_again(self, lasts):
        desk = Desk(cpus=4)
        desk.wants("runs", cpus=2, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=3, lasts=100)
        desk.wants("short", cpus=1, lasts=lasts)
        desk.wants("long", cpus=1, lasts=9999)
        assert desk.gives() == "short long"

    def test_room_that_nobody_counted_on_is_for_others(self):
        desk = Desk(cpus=8, gpus=[8000] * 5)
        desk.wants("soon over", gpus=2, lasts=1000)
        desk.wants("over", gpus=2, lasts=1)
        desk.wants("over later", gpus=1, lasts=9999)
        desk.gives()
        desk.ends("over")
        desk.wants("large", gpus=4)
        desk.wants("long", gpus=1, lasts=9999)
        assert desk.gives() == ""
        desk.ends("over later")
        assert desk.gives() == "long"

    @pytest.mark.parametrize("needs", [{"cpus": 1}, {"cpus": 0, "memory_mb": 1, "uses": (("seat", 1),)}])
    def test_what_has_to_be_looked_far_ahead_for_lets_pass_what_ends_before_that(self, needs):
        desk = Desk(cpus=300, memory=300, resources=(("seat", 300),))
        for number in range(299):
            desk.wants(f"runs {number}", lasts=1000 + number, **needs)
        desk.gives()
        of = {name: ((("seat", 300),) if name == "uses" else 300 * amount) for name, amount in needs.items()}
        desk.wants("large", **of)
        desk.wants("longer", lasts=3000, **needs)
        desk.wants("short", lasts=1000 + desk.scheduler.LOOKAHEAD - 1, **needs)
        assert desk.gives() == "short"

    def test_all_dimensions_count(self):
        desk = Desk(cpus=8, memory=100)
        desk.wants("runs", cpus=1, memory_mb=60, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=1, memory_mb=80)
        desk.wants("long", cpus=1, memory_mb=40, lasts=9999)
        desk.wants("lean", cpus=1, memory_mb=20, lasts=9999)
        assert desk.gives() == "lean"

    def test_only_the_first_that_does_not_fit_is_promised_a_place(self):
        desk = Desk(cpus=4)
        desk.wants("runs", cpus=3, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=2, lasts=10)
        desk.wants("larger", cpus=4, lasts=10)
        desk.wants("long", cpus=1, lasts=9999)  # in the way of `larger`, not of `large`
        assert desk.gives() == "long"

    def test_what_lasts_longer_than_expected_is_expected_to_last_as_long_again(self):
        desk = Desk(cpus=2)
        desk.wants("runs", cpus=1, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=2)
        desk.wants("short", cpus=1, lasts=3000)
        assert desk.gives(at=500) == ""
        assert desk.gives(at=3000) == "short"  # `runs` is expected to go on until 6000

    def test_what_was_to_be_over_by_now_and_is_not_is_promised_later(self):
        desk = Desk(cpus=3)
        desk.wants("late", cpus=1, lasts=500)
        desk.wants("runs", cpus=1, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=3)
        desk.wants("long", cpus=1, lasts=9999)
        assert desk.gives() == ""
        desk.wants("short", cpus=1, lasts=900)
        assert desk.gives(at=1000) == "short"  # `late` is expected to go on until 2000

    def test_what_nobody_knows_the_length_of_passes_only_while_the_first_has_waited_less(self):
        desk = Desk(cpus=3)
        desk.wants("runs", cpus=1)
        desk.gives()
        desk.now = 5000
        desk.wants("large", cpus=3)
        desk.wants("unknown", cpus=1)
        desk.wants("too", cpus=1)
        assert desk.gives() == "unknown too"  # 5 s are expected of `runs`, 1 s of these
        desk.ends("unknown", "too")
        desk.wants("next", cpus=1)
        assert desk.gives(at=9000) == ""  # `large` has waited 4 s by now, and 1 s is left
        desk.ends("runs")
        assert desk.gives() == "large"


class TestWaits:
    def test_for_a_resource(self):
        desk = Desk(cpus=4)
        desk.wants("small", cpus=1, lasts=500)
        desk.wants("big", cpus=3, lasts=1000)
        desk.gives()
        desk.wants("next", cpus=2)
        desk.gives()
        found = desk.why("next")
        assert (found.reason, found.expected_ms) == ("resources", 1000)
        assert str(found) == "cpus: needs 2, has 0; `big` holds 3, `small` holds 1"

    def test_for_what_is_missing_not_for_all_that_is_needed(self):
        desk = Desk(gpus=[8000] * 3)
        desk.wants("soon over", gpus=1, lasts=1000)
        desk.wants("over later", gpus=1, lasts=5000)
        desk.gives()
        desk.wants("next", gpus=2)
        assert desk.why("next").expected_ms == 1000

    def test_for_the_first_host_that_has_room_not_for_the_one_that_comes_nearest(self):
        desk = Desk(cpus=2, gpus=[8000], hosts=2)
        desk.wants("holds the gpu", gpus=1, lasts=5000)
        desk.wants("holds the cpus", cpus=2, lasts=1000)
        desk.gives()
        desk.wants("next", cpus=1, gpus=1)
        assert desk.why("next").lacks.dimension == "gpus"
        assert desk.why("next").expected_ms == 1000

    def test_for_another_ones_promise(self):
        desk = Desk(cpus=2)
        desk.wants("runs", cpus=1, lasts=1000)
        desk.gives()
        desk.wants("large", cpus=2)
        desk.wants("long", cpus=1, lasts=2000)
        desk.gives()
        found = desk.why("long")
        assert (found.reason, found.behind.node, found.expected_ms) == ("promise", "large", 1000)


def test_what_can_never_be_placed_is_stuck():
    desk = Desk(cpus=2)
    desk.wants("runs", cpus=1)
    desk.wants("large", cpus=3)
    desk.gives()
    assert desk.scheduler.stuck() == []  # something runs, and may change things
    desk.ends("runs")
    desk.wants("small", cpus=1, lasts=10**9)
    assert desk.gives() == ""
    (stuck,) = desk.scheduler.stuck()
    assert (stuck[0].node, str(stuck[1])) == ("large", "cpus: needs 3, has 2")

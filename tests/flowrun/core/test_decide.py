"""The scheduler: what it decides about each thing that can happen."""

import pytest
from graphs import Run, host, plan

from flowrun.core.changes import GRACE_MS, Exited, Opened
from flowrun.core.decide import decide
from flowrun.core.keys import node_keys
from flowrun.core.model import Failure
from flowrun.core.state import State

WIDE = host(cpus=100)
DIAMOND = """
    load
    left  < load
    right < load
    join  < left right
"""


class TestStarting:
    def test_what_depends_on_nothing_starts(self):
        assert Run("a\nb\nc < a b").opened == ["start a.1", "start b.1"]

    def test_a_diamond(self):
        run = Run(DIAMOND)
        assert run.opened == ["start load.1"]
        assert run.done("load") == ["start left.1", "start right.1"]
        assert run.done("right") == []
        assert run.done("left") == ["start join.1"]
        assert run.done("join") == ["finish succeeded"]

    def test_an_empty_plan_is_done(self):
        assert Run("").opened == ["finish succeeded"]

    def test_a_node_used_twice_counts_once(self):
        run = Run("a\nb < a a  after=a")
        assert run.done("a") == ["start b.1"]

    def test_after_waits_like_an_argument(self):
        run = Run("a\nb after=a", on=WIDE)
        assert run.opened == ["start a.1"]
        assert run.done("a") == ["start b.1"]

    def test_no_more_than_fits(self):
        run = Run("a\nb\nc", on=host(cpus=2))
        assert run.opened == ["start a.1", "start b.1"]
        assert run.done("b") == ["start c.1"]

    def test_the_longest_chain_goes_first_then_the_order_of_the_plan(self):
        run = Run("x\ny\nz\na < z", on=host(cpus=1))
        assert run.opened == ["start z.1"]
        assert run.done("z") == ["start x.1"]
        assert run.done("x") == ["start y.1"]

    def test_one_that_does_not_fit_lets_smaller_ones_pass(self):
        run = Run("a\nbig cpus=2\nnext < big\nsmall", on=host(cpus=2))
        assert run.opened == ["start big.1"]
        run = Run("a retries=1 backoff=5\nbig cpus=2\nb\nc", on=host(cpus=2))
        assert run.opened == ["start a.1", "start b.1"]
        assert run.done("a") == ["start c.1"]
        assert run.done("b") == []
        assert run.done("c") == ["start big.1"]

    def test_gpus_are_handed_out_by_number(self):
        run = Run("a gpus=1\nb gpus=1\nc gpus=1", on=host(8, 100, [10, 10]))
        assert run.opened == ["start a.1 on gpu 0", "start b.1 on gpu 1"]
        assert run.done("a") == ["start c.1 on gpu 0"]

    def test_a_start_carries_the_key_of_its_node(self):
        state = State(plan("a\nb"), {})
        starts = decide(state, Opened(0, "p", {}, host()))
        assert [start.key for start in starts] == node_keys(plan("a\nb"), {})


class TestFailing:
    def test_for_good_at_once_without_retries(self):
        assert Run("a").fails("a") == ["fail a", "finish failed"]

    def test_everything_downstream_is_blocked_by_the_one_that_failed(self):
        run = Run(DIAMOND + "\n after < join \n other < right", on=WIDE)
        run.done("load")
        assert run.fails("left") == ["fail left", "block join by left", "block after by left"]
        assert run["after"].blocked_by == "left"
        assert run.done("right") == ["start other.1"]
        assert run.done("other") == ["finish failed"]

    def test_they_are_blocked_in_the_order_of_the_plan(self):
        run = Run("a\nb < a\nc < a\nd < b\ne < c")
        assert run.fails("a")[1:5] == [f"block {node} by a" for node in "bcde"]

    def test_a_lattice_is_walked_once_not_along_every_path(self):
        """Forty diamonds in a row have 2^40 paths."""
        rows = [f"l{i} < m{i}\nr{i} < m{i}\nm{i + 1} < l{i} r{i}" for i in range(40)]
        run = Run("m0\n" + "\n".join(rows))
        assert len(run.fails("m0")) == 1 + 3 * 40 + 1

    def test_what_is_blocked_already_stays_with_its_first_cause(self):
        run = Run("a\nb\nc < a b\nd < b", on=WIDE)
        assert run.fails("a") == ["fail a", "block c by a"]
        assert run.fails("b") == ["fail b", "block d by b", "finish failed"]
        assert run["c"].blocked_by == "a"

    def test_through_a_node_that_is_blocked_already_nothing_is_blocked_again(self):
        run = Run("a\nb\nc < a b\nd < c", on=WIDE)
        assert run.fails("a") == ["fail a", "block c by a", "block d by a"]
        assert run.fails("b") == ["fail b", "finish failed"]

    def test_the_rest_of_the_run_goes_on(self):
        run = Run("a\nb\nc < b", on=host(cpus=1))
        assert run.opened == ["start b.1"]
        assert run.done("b") == ["start a.1"]
        assert run.fails("a") == ["fail a", "start c.1"]
        assert run.done("c") == ["finish failed"]

    def test_what_it_held_is_free_for_the_next(self):
        run = Run("a cpus=2\nb cpus=2", on=host(cpus=2))
        assert run.fails("a") == ["fail a", "start b.1"]


class TestRetrying:
    def test_as_often_as_was_declared(self):
        run = Run("a retries=2 backoff=0")
        assert run.fails("a") == ["retry a at 0", "start a.2"]
        assert run.fails("a") == ["retry a at 0", "start a.3"]
        assert run.fails("a") == ["fail a", "finish failed"]

    def test_the_wait_doubles(self):
        run = Run("a retries=3 backoff=100", now=1000)
        assert run.fails("a") == ["retry a at 1100"]
        assert run.wake(1099) == []
        assert run.wake(1100) == ["start a.2"]
        assert run.fails("a") == ["retry a at 1300"]
        assert run.wake(1300) == ["start a.3"]
        assert run.fails("a") == ["retry a at 1700"]

    def test_the_wait_is_ten_minutes_at_most(self):
        run = Run("a retries=100 backoff=1000")
        for _ in range(15):
            run.fails("a")
            run.wake(run.state.clock.next_ms())
        before = run.now
        assert run.fails("a") == [f"retry a at {before + 10 * 60_000}"]

    def test_meanwhile_others_use_what_it_held(self):
        run = Run("a cpus=2 retries=1 backoff=100\nb cpus=2", on=host(cpus=2))
        assert run.fails("a") == ["retry a at 100", "start b.1"]
        assert run.wake(100) == []
        assert run.done("b") == ["start a.2"]

    def test_what_waits_for_it_waits_on(self):
        run = Run("a retries=1 backoff=100\nb < a")
        run.fails("a")
        assert run.states() == {"pending": "a b"}
        assert run.wake(100) == ["start a.2"]
        assert run.done("a") == ["start b.1"]

    def test_every_task_that_is_due_wakes(self):
        run = Run("a retries=1 backoff=100\nb retries=1 backoff=50\nc retries=1 backoff=101", on=WIDE)
        for node in "abc":
            run.fails(node)
        assert run.wake(100) == ["start a.2", "start b.2"]
        assert run.wake(101) == ["start c.2"]


class TestLosing:
    def test_a_lost_attempt_starts_again_at_once_and_is_no_failure(self):
        run = Run("a retries=0")
        assert run.is_lost("a") == ["retry a at 0 (lost)", "start a.2"]
        assert run["a"].retried == {"lost": 1}

    def test_but_only_three_times(self):
        run = Run("a retries=5 backoff=0")
        for _ in range(3):
            assert run.is_lost("a")[0].startswith("retry a")
        assert run.is_lost("a") == ["fail a", "finish failed"]

    def test_losses_do_not_use_up_retries(self):
        run = Run("a retries=1 backoff=0")
        run.is_lost("a")
        assert run.fails("a") == ["retry a at 0", "start a.3"]
        assert run.is_lost("a") == ["retry a at 0 (lost)", "start a.4"]
        assert run.fails("a") == ["fail a", "finish failed"]

    def test_nor_do_failures_use_up_losses(self):
        run = Run("a retries=9 backoff=0")
        for _ in range(5):
            run.fails("a")
        assert run.is_lost("a") == ["retry a at 0 (lost)", "start a.7"]


class TestHearingLateOrTwice:
    """What is told of an attempt that is over changes nothing."""

    def test_an_exit_that_is_told_twice(self):
        run = Run("a\nb < a")
        assert run.done("a") == ["start b.1"]
        assert run.done("a") == run.fails("a") == []
        assert run.states() == {"succeeded": "a", "running": "b"}

    def test_an_exit_of_an_attempt_before_this_one(self):
        run = Run("a retries=1 backoff=0")
        assert run.fails("a") == ["retry a at 0", "start a.2"]
        assert run.done("a", attempt=1) == run.fails("a", attempt=1) == []
        assert run.states() == {"running": "a"}
        assert run["a"].retried == {"error": 1}
        assert run.done("a") == ["finish succeeded"]

    def test_an_exit_while_the_node_waits_for_its_next_attempt(self):
        run = Run("a retries=1 backoff=100")
        run.fails("a")
        assert run.done("a") == run.fails("a") == []
        assert run.wake(100) == ["start a.2"]

    def test_an_exit_of_what_the_plan_does_not_have(self):
        assert Run("a").done("gone", attempt=1) == []

    def test_an_answer_that_is_told_twice(self):
        run = Run("a\nm control=map < a", on=WIDE)
        run.done("a")
        assert run.knows("m", 2) == ["start m[0].1", "start m[1].1"]
        assert run.knows("m", 3) == run.knows("m", Failure("FR208", "it is no list")) == []
        assert run.states() == {"succeeded": "a", "running": "m m[0] m[1]"}

    def test_it_stands_in_the_log_which_gives_the_same_state(self):
        state, again, late = State(plan("a"), {}), State(plan("a"), {}), Exited(9, "a", 7)
        for event in (Opened(0, "plan", {}, host()), late):
            for change in (event, *decide(state, event)):
                again.apply(change)
        assert again.tasks == state.tasks
        assert again.now_ms == state.now_ms == 9


class TestTimeLimits:
    def test_gently_first_then_by_force_then_patience(self):
        run = Run("a timeout=300", now=100)
        assert run.wake(399) == []
        assert run.wake(400) == ["kill a.1 timeout"]
        assert run.wake(400 + GRACE_MS - 1) == []
        assert run.wake(400 + GRACE_MS) == ["kill a.1 timeout by force"]
        assert run.wake(400 + 9 * GRACE_MS) == []

    def test_a_node_that_ran_too_long_may_be_retried_with_a_whole_limit(self):
        run = Run("a timeout=300 retries=1 backoff=0")
        run.wake(300)
        assert run.fails("a", "FR203") == ["retry a at 300 (timeout)", "start a.2"]
        assert run.wake(599) == []
        assert run.wake(600) == ["kill a.2 timeout"]

    def test_one_that_ended_well_in_its_grace_is_done(self):
        run = Run("a timeout=300\nb < a")
        run.wake(300)
        assert run.done("a") == ["start b.1"]

    def test_only_the_ones_that_are_over_it(self):
        run = Run("a timeout=300\nb timeout=400\nc", on=WIDE)
        assert run.wake(300) == ["kill a.1 timeout"]


class TestCancelling:
    def test_nothing_new_starts_and_what_runs_is_asked_to_end(self):
        run = Run("a\nb\nc\nd < a", on=host(cpus=2))
        assert run.cancel() == [
            "kill a.1 cancelled",
            "kill b.1 cancelled",
            "cancel c",
            "cancel d",
        ]
        assert run.fails("a", "FR202") == ["cancel a"]
        assert run.fails("b", "FR202") == ["cancel b", "finish cancelled"]

    def test_what_ends_well_meanwhile_is_done(self):
        run = Run("a\nb < a")
        run.cancel()
        assert run.done("a") == ["finish cancelled"]
        assert run.states() == {"succeeded": "a", "cancelled": "b"}

    def test_if_everything_ended_well_the_run_succeeded(self):
        run = Run("a")
        run.cancel()
        assert run.done("a") == ["finish succeeded"]

    def test_the_second_time_by_force(self):
        run = Run("a")
        assert run.cancel() == ["kill a.1 cancelled"]
        assert run.cancel() == ["kill a.1 cancelled by force"]

    def test_after_the_grace_by_force(self):
        run = Run("a")
        run.cancel()
        assert run.wake(GRACE_MS) == ["kill a.1 cancelled by force"]

    def test_no_retries_any_more(self):
        run = Run("a retries=9 backoff=0")
        run.cancel()
        assert run.fails("a") == ["cancel a", "finish cancelled"]

    def test_nor_for_the_lost(self):
        run = Run("a")
        run.cancel()
        assert run.is_lost("a") == ["cancel a", "finish cancelled"]

    def test_one_that_waits_between_attempts_is_cancelled_too(self):
        run = Run("a retries=1 backoff=100")
        run.fails("a")
        assert run.cancel() == ["cancel a", "finish cancelled"]
        assert run.wake(100) == []

    def test_and_does_not_wake_again_while_others_still_end(self):
        run = Run("a retries=1 backoff=100\nb", on=WIDE)
        run.fails("a")
        assert run.cancel() == ["kill b.1 cancelled", "cancel a"]
        assert run.wake(100) == []
        assert run.states() == {"cancelled": "a", "running": "b"}
        assert run.fails("b") == ["cancel b", "finish cancelled"]

    def test_blocked_and_failed_ones_keep_their_state(self):
        run = Run("a\nb < a\nc", on=WIDE)
        run.fails("a")
        run.cancel()
        assert run.fails("c") == ["cancel c", "finish cancelled"]
        assert run.states() == {"failed": "a", "blocked": "b", "cancelled": "c"}


@pytest.mark.parametrize("late", ["cancel", "wake"])
def test_after_the_end_nothing_is_decided(late):
    run = Run("a")
    assert run.done("a") == ["finish succeeded"]
    assert (run.cancel() if late == "cancel" else run.wake(10**9)) == []

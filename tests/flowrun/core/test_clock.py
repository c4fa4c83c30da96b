"""What happens in a run by time alone."""

from graphs import Run

from flowrun.core.changes import GRACE_MS, Kill


def test_without_limits_nobody_wakes():
    assert Run("a").state.clock.next_ms() is None


def test_a_time_limit():
    state = Run("a timeout=300\nb timeout=200", now=50).state
    assert state.clock.next_ms() == 250
    assert state.clock.due(249) == []
    assert [task.node.id for task in state.clock.due(250)] == ["b"]


def test_the_grace_after_a_gentle_kill():
    run = Run("a timeout=300")
    run.wake(300)
    assert run.state.clock.next_ms() == 300 + GRACE_MS


def test_no_grace_is_over_at_once():
    state = Run("a").state
    state.apply(Kill(0, "a", 1, "preempted", grace_ms=0))
    assert state.clock.next_ms() == 0
    assert [task.node.id for task in state.clock.due(0)] == ["a"]


def test_no_moment_after_a_kill_by_force():
    run = Run("a timeout=300")
    run.wake(300)
    run.wake(300 + GRACE_MS)
    assert run.state.clock.next_ms() is None


def test_a_wait_between_attempts():
    run = Run("a retries=1 backoff=1000")
    run.now = 20
    run.fails("a")
    assert run.state.clock.next_ms() == 1020

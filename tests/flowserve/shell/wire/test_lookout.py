"""A loop is kept awake while requests come one soon after the other, and sleeps otherwise."""

import pytest

from flowserve.shell.wire import lookout
from flowserve.shell.wire.lookout import Lookout


class Loop:
    """Turns of an event loop, and a clock that a turn moves on by 50 us."""

    def __init__(self, monkeypatch) -> None:
        self.now, self.soon = 100.0, []
        monkeypatch.setattr(lookout, "perf_counter", lambda: self.now)

    def call_soon(self, callback):
        self.soon.append(callback)

    def turns(self) -> int:
        """How many there are until the loop sleeps."""
        count = 0
        while self.soon:
            count += 1
            assert count < 100
            self.soon.pop()()
            self.now += 50e-6
        return count


@pytest.fixture
def loop(monkeypatch):
    return Loop(monkeypatch)


def test_the_first_of_a_burst_wakes_nobody_the_second_keeps_awake(loop):
    lookout = Lookout(loop, 200e-6, lambda: False)
    lookout.came()
    assert loop.turns() == 0
    loop.now += 100e-6
    lookout.came()
    assert loop.turns() == 5


def test_requests_that_come_now_and_then_do_not(loop):
    lookout = Lookout(loop, 200e-6, lambda: False)
    for _ in range(10):
        lookout.came()
        assert loop.turns() == 0
        loop.now += 300e-6


def test_many_requests_in_a_turn_make_one_lookout(loop):
    lookout = Lookout(loop, 200e-6, lambda: False)
    for _ in range(10):
        lookout.came()
    assert len(loop.soon) == 1


def test_nobody_looks_out_while_threads_work(loop):
    busy = False
    lookout = Lookout(loop, 200e-6, lambda: busy)
    lookout.came()
    lookout.came()
    busy = True
    assert loop.turns() == 1
    lookout.came()
    assert loop.turns() == 0


def test_off(loop):
    lookout = Lookout(loop, 0.0, lambda: False)
    lookout.came()
    lookout.came()
    assert loop.turns() == 0

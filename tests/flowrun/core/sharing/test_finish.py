"""Finish-time fairness as Themis defines it."""

import pytest

from flowrun.core.sharing.finish import FinishTimes, alone_ms


def test_work_within_ones_own_part_takes_as_long_alone_as_shared():
    assert alone_ms(1000, 0.1, 0.25) == 1000


def test_work_beyond_ones_own_part_takes_longer_alone_in_proportion():
    assert alone_ms(1000, 0.5, 0.25) == 2000


def test_rho_is_shared_over_alone():
    times = FinishTimes()
    times.add(shared_ms=3000, alone_ms=2000)
    times.add(shared_ms=1000, alone_ms=2000)
    assert (times.count, times.mean, times.worst, times.unfair) == (2, 1.0, 1.5, 1)


def test_nothing_ended_is_neither_fair_nor_unfair():
    assert FinishTimes().mean == 1


def test_a_team_that_is_entitled_to_next_to_nothing_gains_by_sharing():
    times = FinishTimes()
    times.add(5000, alone_ms(1000, 0.5, 1e-3))
    assert times.mean == pytest.approx(0.01)

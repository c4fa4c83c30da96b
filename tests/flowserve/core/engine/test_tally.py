"""What is counted of requests; the statistics of it are tested with the extension's words."""

import itertools
from bisect import bisect_left

import pytest

from flowserve.core.engine.tally import STAGES, Tally
from flowserve.core.histogram import BOUNDS_MS

# Two microseconds on the way, 20 to be read, 200 to be written, and 2.4 ms in all.
STAMPS = (7.0, 7.000002, 7.000022, 7.0022, 7.0024)


def test_an_answer_is_counted_in_each_stage():
    tally = Tally()
    tally.answered((*STAMPS, 0.0, 2.0, 1))
    tally.answered((7.0, 7.000002, 7.000022, 7.0248, 7.025, 20.0, 2.0, 1))
    assert [sum(counts) for counts in tally.stages] == [2] * len(STAGES)
    assert [counts.index(1) for counts in (tally.stages[2], tally.request)] == [
        0,
        bisect_left(BOUNDS_MS, 2.4),
    ]
    assert sum(tally.request) == 2
    assert tally.request_ms == pytest.approx(27.4)
    assert tally.stages_ms == pytest.approx([0.004, 0.04, 20.0, 4.0, 0.4])


def test_all_of_many_answers_are_counted():
    tally = Tally()
    for _ in range(1000):
        tally.answered((*STAMPS, 0.0, 2.0, 1))
    assert sum(tally.request) == 1000
    assert tally.request_ms == pytest.approx(2400)


def test_what_is_noted_is_added_up_now_and_then_by_itself():
    """It would grow without end where nobody asks. Rarely: whoever makes it so waits for it."""
    tally, lengths = Tally(), []
    for _ in range(3000):
        tally.answered((*STAMPS, 0.0, 2.0, 1))
        lengths.append(len(tally._noted))
    added_up = sum(after < before for before, after in itertools.pairwise(lengths))
    assert 1 < added_up < 3000 / 500
    assert sum(tally.request) == 3000


def test_a_tally_of_nothing_has_empty_histograms():
    tally = Tally()
    tally.settle()
    assert [sum(counts) for counts in (*tally.stages, tally.request)] == [0] * (len(STAGES) + 1)
    assert (tally.stages_ms, tally.request_ms) == ([0.0] * len(STAGES), 0.0)


def test_refusals_are_counted_by_status_and_reason():
    tally = Tally()
    for reason in ("FS205", "FS205", "FS220"):
        tally.refused(429 if reason == "FS220" else 400, reason)
    assert tally.refusals == {(400, "FS205"): 2, (429, "FS220"): 1}
    assert sum(tally.request) == 0


def test_the_rate_is_of_the_last_minute():
    tally = Tally()
    for second in range(1, 31):
        tally.succeeded += 100
        tally.look(1000.0 + second)
    assert tally.per_s == pytest.approx(100)  # at once, not after a minute
    for second in range(60):
        tally.look(1040.0 + 10 * second)
    assert tally.per_s < 0.1

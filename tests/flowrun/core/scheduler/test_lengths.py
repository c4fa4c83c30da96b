import pytest

from flowrun.core.scheduler.lengths import UNITS_MS, Learned, Remaining, inverse_index

MINUTE, HOUR = 60_000, 3_600_000


def test_what_has_less_left_goes_first_and_large_ones_later():
    order = Remaining()
    assert order.score(1, 0, MINUTE) < order.score(1, 0, HOUR) < order.score(8, 0, HOUR)
    assert order.review_ms(5 * MINUTE) == 0


def test_as_long_as_nothing_is_known_what_had_least_goes_first():
    order = Learned()
    scores = [order.score(1, done, 0) for done in (0, MINUTE, HOUR, 100 * HOUR)]
    assert scores == sorted(scores)
    assert len(set(scores)) == 4


def test_of_two_that_ran_about_as_long_neither_is_more_urgent():
    order = Learned()
    assert order.score(1, HOUR, 0) == order.score(1, HOUR + MINUTE, 0)
    assert HOUR < order.review_ms(HOUR) <= 2 * HOUR


def test_what_is_learned_is_that_most_end_soon_or_late():
    order = Learned()
    for _ in range(90):
        order.ended(20_000)
    for _ in range(110):
        order.ended(100 * HOUR)
    young, older, nearly = (order.score(1, done, 0) for done in (0, 10 * HOUR, 90 * HOUR))
    assert young < nearly < older  # half of the young end at once; who has come so far will be over soon


@pytest.mark.parametrize("unit", [0, 3, len(UNITS_MS)])
def test_the_index_of_what_always_takes_as_long_is_what_is_left(unit):
    ended = [0] * (len(UNITS_MS) + 1)
    ended[unit] = 10
    bounds = [0, *UNITS_MS, 4 * UNITS_MS[-1]]
    middle = (bounds[unit] + bounds[unit + 1]) / 2
    index = inverse_index(ended)
    assert index[0] == middle
    assert index[unit] == middle - bounds[unit]

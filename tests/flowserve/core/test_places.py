"""How many processes there are if nobody says it."""

from flowserve.core.places import RUNTIME_BYTES, SHARE, SMALL_BYTES, TIMES, places, room

PLENTY = 2**50


def test_small_models_have_one_for_each_processor():
    assert places(8, PLENTY, [10_000, 20_000]) == 8
    assert places(8, PLENTY, [SMALL_BYTES]) == 8


def test_also_beside_large_ones():
    assert places(8, PLENTY, [10_000, 100 * SMALL_BYTES]) == 8


def test_large_models_share_one():
    assert places(8, PLENTY, [SMALL_BYTES + 1, 10 * SMALL_BYTES]) == 1


def test_models_that_are_loaded_when_they_are_asked_for_may_be_small():
    assert places(8, PLENTY, []) == 8


def test_copies_have_a_part_of_the_memory():
    each = RUNTIME_BYTES + TIMES * 500
    assert places(8, SHARE * (3 * each + 1), [200, 300]) == 3
    assert places(8, SHARE * (3 * each - 1), [200, 300]) == 2


def test_there_is_always_one():
    assert places(8, 0, [10_000]) == 1


def test_models_may_have_most_of_what_processes_leave():
    assert room(100 * RUNTIME_BYTES, 10) == 81 * RUNTIME_BYTES
    assert room(2 * RUNTIME_BYTES, 10) == 0.9 * RUNTIME_BYTES  # whatever that leaves the processes

"""The scheduler in many made-up worlds: nothing breaks while faults happen, and without them all gets done.

A seed that fails is printed with its reason; `World(seed).play()` plays it again, step by step the same.
"""

import pytest
from world import Broken, World

# Seeds that once found something, and what.
REGRESSIONS = {
    0: "a signal that came together with the last exit was logged after the end of the run",
    1: "by a mutant: deadlines compared with `<`, so that the scheduler woke at them and did nothing",
    2: "by mutants: one loss too many was forgiven, and a second Ctrl-C did not force",
    4: "by a mutant: a key without the operator's name kept what another operator had made",
}


def play(seed):
    try:
        World(seed).play()
    except Exception as error:
        kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
        pytest.fail(f"World({seed}): {kind}{error}", pytrace=not isinstance(error, Broken))


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_random_worlds(start):
    for seed in range(start, start + 50):
        play(seed)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_worlds_that_broke_once(seed):
    play(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 11_000, 500))
def test_many_random_worlds(start):
    for seed in range(start, start + 500):
        play(seed)


def test_a_world_is_made_of_its_seed():
    one, same, other = World(7), World(7), World(8)
    for world in (one, same, other):
        world.play()
    assert one.log == same.log
    assert one.log != other.log

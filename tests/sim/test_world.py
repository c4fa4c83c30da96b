"""The scheduler in many made-up worlds: nothing breaks while faults happen, and without them all gets done.

A seed that fails is printed with its reason; `World(seed).play()` plays it again, step by step the same.
"""

import pytest
from books import Broken
from world import World

# Seeds that once found something, and what.
REGRESSIONS = {
    3: "handlers started when a node was blocked, though others that it waited for were still running",
    8: "an answer for a branch that was cancelled meanwhile ended it a second time",
    10: "a resumed run forgot the nodes of a loop if it ended before the loop was reached again",
    43: "handlers did not wait for the nodes of a loop, one of which had failed",
    398: "the nodes of a loop in a handler were cancelled, though the loop itself was not",
    477: "a choice was skipped for the sake of the value that it did not take",
    2919: "what a skipped node's dependent had done before the run was resumed counted still",
}


def play(seed):
    try:
        World(seed).play()
    except Exception as error:
        kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
        pytest.fail(f"World({seed}): {kind}{error}", pytrace=not isinstance(error, Broken))


@pytest.mark.parametrize("start", range(0, 500, 50))
def test_random_worlds(start):
    for seed in range(start, start + 50):
        play(seed)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_worlds_that_broke_once(seed):
    play(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 16_000, 500))
def test_many_random_worlds(start):
    for seed in range(start, start + 500):
        play(seed)


def test_a_world_is_made_of_its_seed():
    one, same, other = World(7), World(7), World(8)
    for world in (one, same, other):
        world.play()
    assert one.life.log == same.life.log
    assert one.life.log != other.life.log

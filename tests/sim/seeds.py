"""Playing the world of a seed in a test."""

import pytest
from books import Broken


def play(world, seed):
    """If something breaks, it is said of which seed, so that it can be played again."""
    try:
        world(seed).play()
    except Exception as error:
        kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
        pytest.fail(f"{world.__name__}({seed}): {kind}{error}", pytrace=not isinstance(error, Broken))

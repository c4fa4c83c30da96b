"""Series in a line of text."""

import math

import pytest

from flowrun.shell.showing.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "cells", "line"),
    [
        ([], 5, ""),
        ([7], 5, "▄"),
        ([0, 1], 5, "▁█"),
        ([0, 0, 1, 1], 2, "▁█"),
        (list(range(8)), 8, "▁▂▃▄▅▆▇█"),
        (list(range(8000)), 8, "▁▂▃▄▅▆▇█"),
        ([1, math.nan, 2, math.inf, -math.inf], 5, "▁×█××"),
        ([math.nan], 5, "×"),
        ([-1.7e308, 0, 1.7e308], 3, "▁▅█"),
    ],
)
def test_a_line(values, cells, line):
    assert sparkline(values, cells) == line

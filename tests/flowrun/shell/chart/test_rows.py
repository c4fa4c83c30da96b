"""What rows stand for, and curves."""

import graphs
import pytest
from predicting import played

from flowrun.shell.chart.rows import kinds, peak, profile, rows_of, ticks, use


def timeline(text, **options):
    return played(text, **options).timeline


def labels(text, most):
    return [(row.label, len(row.intervals)) for row in rows_of(timeline(text, on=graphs.host(cpus=99)), most)]


SCOPES = "a/x[1]\na/x[2]\na/y[1]\na/y[2]\nb/c/z[1]\nb/c/z[2]\nb/c/w\nlast"


def test_nodes_while_there_are_few():
    assert labels("a[1]\na[2]\nb", 3) == [("a[1]", 1), ("a[2]", 1), ("b", 1)]


def test_then_sites_then_scopes_from_the_innermost_on():
    assert labels(SCOPES, 5) == [("a/x", 2), ("a/y", 2), ("b/c/z", 2), ("b/c/w", 1), ("last", 1)]
    assert labels(SCOPES, 4) == [("a/x", 2), ("a/y", 2), ("b/c/…", 3), ("last", 1)]
    assert labels(SCOPES, 3) == [("a/…", 4), ("b/…", 3), ("last", 1)]


def test_what_is_left_is_one_row():
    found = labels("\n".join(f"s{i}" for i in range(9)), 4)
    assert [name for name, _ in found[-1:]] == ["… 6 others"]
    assert sum(count for _, count in found) == 9


def test_a_profile_is_the_average_of_each_part():
    assert profile([(0, 10, 1.0), (5, 10, 2.0)], 10, 4) == [1, 1, 3, 3]
    assert profile([(2.5, 7.5, 1.0)], 10, 2) == [0.5, 0.5]
    assert profile([(0, 10, 1.0)], 10, 3) == pytest.approx([1, 1, 1])
    assert profile([], 0, 2) == [0, 0]


def test_use_is_a_share_of_the_host():
    shares = use(timeline("a cpus=2 memory=100\nb < a", on=graphs.host(cpus=4, memory=200)), 2)
    assert shares == {"cpus": [0.5, 0.25], "memory": [0.5, 0.0]}


def test_peak():
    (row,) = rows_of(timeline("a[1]\na[2]\na[3]\na[4]"), 1)
    assert peak(row) == 2


def test_ticks_are_round_and_not_too_many():
    assert ticks(7710, 5) == [0, 2000, 4000, 6000]
    assert ticks(3 * 3_600_000, 4) == [0, 3_600_000, 7_200_000, 10_800_000]
    assert ticks(0, 4) == [0.0]
    assert len(ticks(10**15, 7)) <= 8


def test_colours_are_of_sites_or_else_of_scopes():
    few, many = timeline("a/x\nb/y < a/x"), timeline(SCOPES)
    assert kinds(few, 8) == {"a/x": "a/x", "b/y": "b/y"}
    assert set(kinds(many, 3).values()) == {"a", "b", ""}

"""Operators and workflows are plain functions outside of a plan: call them."""

from PROJECT.operators import Points, error, fit, sample, split
from PROJECT.workflows import train


def test_split_keeps_every_point():
    points = sample(10)
    parts = split(points, 0.2)
    assert parts.train.x + parts.test.x == points.x
    assert len(parts.test.x) == 2


def test_a_line_is_found_where_there_is_one():
    points = Points([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
    model = fit(points, "line")
    assert (model.intercept, model.slope) == (1.0, 2.0)
    assert error(model, points) == 0.0


def test_the_workflow_prefers_the_line():
    assert train(rows=100).name == "line"

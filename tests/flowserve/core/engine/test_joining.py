"""Rows of several calls in one run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowserve.core.datatypes import DATATYPES
from flowserve.core.engine.joining import is_plain, join_key, joined, may_join, parted
from flowserve.core.models.signature import Signature, TensorSpec


def signature(taken, given):
    return Signature(
        (TensorSpec("x", DATATYPES["FP32"], taken),), (TensorSpec("y", DATATYPES["FP32"], given),)
    )


@pytest.mark.parametrize(
    ("taken", "given", "may"),
    [((-1, 4), (-1,), True), ((1, 4), (-1,), False), ((-1, 4), (1,), False), ((), (), False)],
)
def test_rows_stand_along_the_first_axis_of_everything(taken, given, may):
    assert may_join(signature(taken, given)) is may


def test_a_model_without_inputs_has_no_rows():
    assert not may_join(Signature((), (TensorSpec("y", DATATYPES["FP32"], (-1,)),)))


def test_plain_is_what_differs_in_rows_only():
    assert is_plain(signature((-1, 4), (-1,)))
    assert not is_plain(signature((-1, -1), (-1,)))


def test_keys_tell_apart_other_sizes_and_other_outputs():
    def key(shape, outputs=("y",)):
        return join_key({"x": np.zeros(shape)}, outputs)

    assert key((1, 4)) == key((3, 4))
    assert key((1, 4)) != key((1, 5))
    assert key((1, 4)) != key((1, 4), ("z",))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=10))
def test_each_gets_back_what_it_brought(rows):
    values = iter(range(1000))
    feeds = [{"x": np.array([[next(values)] for _ in range(count)]).reshape(count, 1)} for count in rows]
    whole = joined(feeds)
    parts = parted([whole["x"], whole["x"] * 2], rows)
    for feed, (same, double) in zip(feeds, parts, strict=True):
        assert np.array_equal(same, feed["x"])
        assert np.array_equal(double, feed["x"] * 2)


@pytest.mark.parametrize("output", [np.zeros(2), np.zeros(()), np.zeros((4, 3))])
def test_another_number_of_rows_cannot_be_parted(output):
    assert parted([output], [1, 2]) is None

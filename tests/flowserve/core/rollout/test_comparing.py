"""How outputs differ, and which differences count."""

import numpy as np
import pytest

from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.signature import TensorSpec
from flowserve.core.rollout.comparing import compare
from flowserve.core.rollout.evidence import Difference


def spec(datatype="FP32", shape=(-1, 3), labels=()):
    return TensorSpec("y", DATATYPES[datatype], shape, ("",) * len(shape), labels)


def one(a, b, of=None, rows=None, tolerance=1e-3):
    a, b = np.asarray(a), np.asarray(b)
    share, outputs = compare([of or spec()], [a], [b], rows or len(a), tolerance)
    return share, outputs["y"]


def test_floats_may_be_off_by_the_tolerance():
    a = np.float32([[1, 2, 3], [1, 2, 1000]])
    assert one(a, a)[0] == 0
    share, of = one(a, a + np.float32([[0, 0, 0.01], [0, 0, 0.5]]))
    assert share == 0.5
    assert (of.rows, of.off, of.flipped) == (2, 1, 0)
    assert of.max_absolute == pytest.approx(0.5)
    assert of.max_relative == pytest.approx(0.01 / 3, rel=1e-3)


def test_with_labels_the_best_one_counts():
    a, b = np.float32([[0.6, 0.3, 0.1], [0.4, 0.35, 0.25]]), np.float32([[0.9, 0.1, 0], [0.3, 0.4, 0.3]])
    labelled = one(a, b, spec(labels=("a", "b", "c")))
    assert labelled[0] == 0.5
    assert (labelled[1].off, labelled[1].flipped) == (2, 1)
    assert one(a, b)[0] == 1.0


@pytest.mark.parametrize(
    ("datatype", "a", "b", "share"),
    [
        ("INT64", [1, 2, 3, 4], [1, 2, 3, 5], 0.25),
        ("BOOL", [True, False], [True, True], 0.5),
        ("BYTES", np.array(["a", "b"], object), np.array(["a", "c"], object), 0.5),
        ("BF16", np.uint16([0x3F80, 0x4000]), np.uint16([0x3F80, 0x4040]), 0.5),
    ],
)
def test_other_types_are_the_same_or_not(datatype, a, b, share):
    assert one(a, b, spec(datatype, (-1,)))[0] == share


def test_nan_and_infinity():
    a = np.float32([np.nan, np.inf, np.inf, 1])
    assert one(a, a, spec(shape=(-1,)))[0] == 0
    share, of = one(a, np.float32([np.nan, np.inf, -np.inf, np.nan]), spec(shape=(-1,)))
    assert share == 0.5
    assert np.isfinite([of.max_absolute, of.max_relative]).all()
    rows = np.float32([[np.nan, np.nan, np.nan]])
    assert one(rows, rows)[0] == 0


def test_other_shapes_and_types_differ_in_every_row():
    a = np.float32([[1, 2, 3]])
    for b in (np.float32([[1, 2]]), np.int64([[1, 2, 3]])):
        share, of = one(a, b, rows=1)
        assert share == 1
        assert of == Difference(1, 1, 1)


def test_what_has_no_rows_differs_as_a_whole():
    share, of = one(np.float32([1, 2]), np.float32([1, 3]), spec(shape=(2,)), rows=4)
    assert share == 1
    assert of.off == 4
    empty = np.zeros((0, 3), np.float32)
    assert compare([spec()], [empty], [empty], 0, 1e-3)[0] == 0

import numpy as np
import pytest

from stdlib import tables
from stdlib.types import Dataset


def test_iris_is_fishers():
    data = tables.load_iris()
    assert data.features.shape == (150, 4)
    assert data.classes == ["setosa", "versicolor", "virginica"]
    assert data.feature_names[0] == "sepal_length"
    assert np.bincount(data.target).tolist() == [50, 50, 50]
    np.testing.assert_array_equal(data.features[0], np.float32([5.1, 3.5, 1.4, 0.2]))


def test_digits_are_scaled_to_one():
    data = tables.load_digits()
    assert data.features.shape == (1797, 64)
    assert data.classes == list("0123456789")
    assert (data.features.min(), data.features.max()) == (0, 1)
    assert all(type(name) is str for name in data.feature_names)


@pytest.mark.parametrize("share", [0.2, 0.25, 0.5])
def test_a_split_keeps_every_row_once_in_order_and_the_shares_of_the_classes(data, share):
    whole = data["digits"]
    numbered = Dataset(
        np.arange(whole.rows, dtype=np.float32)[:, None], whole.target, ["number"], whole.classes
    )
    parts = tables.split(numbered, test_share=share)
    train, test = parts.train.features[:, 0], parts.test.features[:, 0]
    assert sorted([*train, *test]) == list(range(whole.rows))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    tested, of = np.bincount(parts.test.target), np.bincount(whole.target)
    assert (abs(tested - share * of) <= 0.5).all()


def test_a_split_depends_on_the_seed_alone(data):
    first, again, other = (tables.split(data["iris"], seed=seed).test.features for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_class_of_two_rows_gives_one_to_either_side():
    data = Dataset(np.zeros((4, 1), np.float32), np.array([0, 0, 1, 1]), ["x"], ["a", "b"])
    for share in (0.01, 0.99):
        parts = tables.split(data, test_share=share)
        assert parts.train.target.tolist() == parts.test.target.tolist() == [0, 1]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(data, share):
    with pytest.raises(ValueError, match="`test_share` must be between 0 and 1, got"):
        tables.split(data["iris"], test_share=share)


def test_a_class_that_cannot_be_split_is_named():
    data = Dataset(np.zeros((3, 1), np.float32), np.array([0, 0, 1]), ["x"], ["a", "rare"])
    with pytest.raises(ValueError, match=r"class `rare` has 1 row\(s\)"):
        tables.split(data)

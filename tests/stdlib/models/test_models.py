import dataclasses

import numpy as np
import pytest

import stdlib.models


def test_probabilities_are_probabilities(data, trained, case):
    got = stdlib.models.predict(trained(case), data[case[0]].features)
    assert got.dtype == np.float64
    assert got.shape == (data[case[0]].rows, len(data[case[0]].classes))
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-12)


def test_no_rows_give_no_probabilities(trained, case):
    model = trained(case)
    assert stdlib.models.predict(model, np.zeros((0, len(model.feature_names)), np.float32)).shape == (
        0,
        len(model.classes),
    )


def test_another_number_of_columns_is_refused(trained):
    with pytest.raises(ValueError, match=r"takes features \[rows, 4\], got \[1, 5\]"):
        stdlib.models.predict(trained(("iris", "tree")), np.zeros((1, 5), np.float32))


def test_an_unknown_family_is_refused(trained):
    model = dataclasses.replace(trained(("iris", "tree")), family="oracle")
    with pytest.raises(ValueError, match="unknown model family `oracle`: there are linear, trees, mlp, cnn"):
        stdlib.models.predict(model, np.zeros((1, 4), np.float32))

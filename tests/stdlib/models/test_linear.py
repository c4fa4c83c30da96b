import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import stdlib.models
from stdlib import export
from stdlib.models import linear
from stdlib.types import Dataset


def two_classes(iris):
    return Dataset(iris.features[:100], iris.target[:100], iris.feature_names, iris.classes[:2])


@pytest.mark.parametrize("name", ["iris", "digits", "two classes"])
def test_probabilities_are_scikit_learns(data, name):
    rows = two_classes(data["iris"]) if name == "two classes" else data[name]
    model = linear.fit(rows, regularisation=0.5, max_iterations=200)
    standardised = (rows.features - model.state["mean"]) / model.state["scale"]
    reference = LogisticRegression(C=2, max_iter=200).fit(standardised, rows.target)
    got = linear.predict(model, rows.features)
    np.testing.assert_allclose(got, reference.predict_proba(standardised), rtol=0, atol=1e-12)


def test_two_classes_export(data):
    rows = two_classes(data["iris"])
    assert export.to_onnx(linear.fit(rows, 1.0, 200), rows).largest_difference < 1e-5


def test_a_constant_column_does_no_harm(data):
    iris = data["iris"]
    features = iris.features.copy()
    features[:, 1] = 3
    model = linear.fit(dataclasses.replace(iris, features=features), 1.0, 200)
    assert np.isfinite(stdlib.models.predict(model, features)).all()

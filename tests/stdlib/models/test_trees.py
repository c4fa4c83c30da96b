import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

import stdlib.models
from stdlib import export, train
from stdlib.models import trees
from stdlib.types import Dataset, Model

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_a_tree_is_scikit_learns(data, trained):
    for name, rows in data.items():
        reference = DecisionTreeClassifier(random_state=0).fit(rows.features, rows.target)
        got = trees.predict(trained((name, "tree")), rows.features)
        np.testing.assert_array_equal(got, reference.predict_proba(rows.features))


def test_a_forest_is_scikit_learns(data, trained):
    for name, rows in data.items():
        reference = RandomForestClassifier(n_estimators=20, random_state=0).fit(rows.features, rows.target)
        got = trees.predict(trained((name, "forest")), rows.features)
        np.testing.assert_allclose(got, reference.predict_proba(rows.features), rtol=0, atol=1e-12)


def test_limits_are_kept(data):
    limited = train.decision_tree(data["iris"], max_depth=1)
    assert limited.state["column"].tolist().count(-1) == 2


@given(low=FLOATS, high=FLOATS)
def test_a_rounded_threshold_divides_all_float32_alike(low, high):
    threshold = (low + high) / 2  # as scikit-learn takes it, between two values that it saw
    rounded = trees.rounded_down(np.array([threshold]))
    assert rounded.dtype == np.float32
    for value in (low, high, rounded[0], np.nextafter(rounded[0], np.float32(np.inf))):
        assert (float(value) <= threshold) == (np.float32(value) <= rounded[0])


def test_rows_on_either_side_of_a_threshold_go_the_same_way(data, run_onnx):
    """Random features have thresholds that no float32 holds: rows right beside them go the right way."""
    random = np.random.RandomState(0)
    features = random.random_sample((300, 3)).astype(np.float32)
    rows = Dataset(features, random.randint(0, 3, 300), ["a", "b", "c"], ["x", "y", "z"])
    model = train.decision_tree(rows)
    reference = DecisionTreeClassifier(random_state=0).fit(features, rows.target)
    inner = model.state["column"] >= 0
    beside = [np.nextafter(model.state["threshold"][inner], np.float32(end)) for end in (-np.inf, np.inf)]
    probes = np.concatenate([model.state["threshold"][inner], *beside])
    grid = np.stack([probes, random.permutation(probes), random.permutation(probes)], axis=1)
    expected = reference.predict_proba(grid)
    np.testing.assert_array_equal(stdlib.models.predict(model, grid), expected)
    label, probabilities = run_onnx(stdlib.models.to_onnx(model), grid)
    np.testing.assert_array_equal(probabilities, expected.astype(np.float32))
    np.testing.assert_array_equal(label, expected.argmax(axis=1))


def test_a_class_that_no_leaf_votes_for_keeps_its_column(run_onnx):
    """As a rare class may fare in a forest."""
    state = {
        "roots": np.array([0]),
        "column": np.array([-1]),
        "threshold": np.zeros(1, np.float32),
        "left": np.array([0]),
        "right": np.array([0]),
        "probabilities": np.array([[1.0, 0.0]]),
    }
    for order in (slice(None), slice(None, None, -1)):
        state["probabilities"] = state["probabilities"][:, order]
        model = Model("trees", state, ["x"], ["no", "yes"])
        label, probabilities = run_onnx(stdlib.models.to_onnx(model), np.zeros((2, 1), np.float32))
        assert probabilities.tolist() == [state["probabilities"][0].tolist()] * 2
        assert label.tolist() == [state["probabilities"][0].argmax()] * 2


@pytest.mark.parametrize("operator", [train.decision_tree, train.random_forest], ids=["tree", "forest"])
def test_two_classes_export(data, operator):
    iris = data["iris"]
    rows = Dataset(iris.features[50:], iris.target[50:] - 1, iris.feature_names, iris.classes[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert export.to_onnx(operator(rows), rows).largest_difference < 1e-5

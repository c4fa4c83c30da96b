import os
import subprocess
import sys

import numpy as np
import pytest

from stdlib import evaluate, tables, train
from stdlib.types import Dataset

ALL = [train.decision_tree, train.random_forest, train.logistic_regression, train.mlp, train.cnn]

PRINT_DIGESTS = """
import hashlib
import stdlib.models
from stdlib import tables, train
data = tables.load_digits()
for model in (
    train.decision_tree(data), train.random_forest(data, trees=10), train.logistic_regression(data),
    train.mlp(data, epochs=1), train.cnn(data, epochs=1),
):
    state = b"".join(name.encode() + bytes(array) for name, array in model.state.items())
    for content in (state, stdlib.models.to_onnx(model)):
        print("digest", model.family, hashlib.sha256(content).hexdigest())
"""


def test_two_processes_train_and_export_the_same_bytes():
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT_DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    first, second = (
        [line for line in process.communicate()[0].splitlines() if line.startswith("digest")]
        for process in processes
    )
    assert first == second
    assert len(first) == 10


@pytest.mark.parametrize(
    ("load", "operator", "accuracy"),
    [
        (tables.load_iris, train.decision_tree, 0.9),
        (tables.load_iris, train.mlp, 0.9),
        (tables.load_digits, train.random_forest, 0.97),
        (tables.load_digits, train.logistic_regression, 0.95),
        (tables.load_digits, train.cnn, 0.97),
    ],
    ids=["iris-tree", "iris-mlp", "digits-forest", "digits-logistic", "digits-cnn"],
)
def test_the_defaults_learn(load, operator, accuracy):
    parts = tables.split(load())
    assert evaluate.classifier(parts.test, operator(parts.train)).accuracy >= accuracy


@pytest.mark.parametrize("operator", ALL, ids=lambda operator: operator.name)
def test_a_class_without_rows_is_named(operator):
    data = Dataset(np.zeros((2, 4), np.float32), np.array([0, 2]), list("wxyz"), ["a", "b", "c"])
    with pytest.raises(ValueError, match="no rows to learn from for class `b`"):
        operator(data)


@pytest.mark.parametrize("operator", ALL, ids=lambda operator: operator.name)
def test_one_class_is_refused(operator):
    data = Dataset(np.zeros((2, 4), np.float32), np.array([0, 0]), list("wxyz"), ["a"])
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        operator(data)


@pytest.mark.parametrize(
    ("operator", "setting", "value"),
    [
        (train.decision_tree, "max_depth", 0),
        (train.decision_tree, "min_leaf_rows", 0),
        (train.random_forest, "trees", -1),
        (train.random_forest, "seed", -1),
        (train.logistic_regression, "regularisation", 0.0),
        (train.logistic_regression, "max_iterations", 0),
        (train.mlp, "width", 0),
        (train.mlp, "layers", 0),
        (train.mlp, "epochs", 0),
        (train.mlp, "learning_rate", float("nan")),
        (train.mlp, "seed", 2**32),
        (train.cnn, "channels", 0),
        (train.cnn, "batch_size", 0),
    ],
    ids=lambda part: getattr(part, "name", str(part)),
)
def test_a_senseless_setting_is_named(data, operator, setting, value):
    with pytest.raises(ValueError, match=f"`{setting}` must be"):
        operator(data["iris"], **{setting: value})


def test_training_says_how_it_goes(data, capsys):
    train.mlp(data["iris"], epochs=20)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("epoch 20/20: loss 0.")

"""Real data with read-only arrays, as the artifact store gives them, and one trained model of every kind."""

import dataclasses
import functools

import numpy as np
import onnxruntime
import pytest

import stdlib.models
from stdlib import tables, train

TRAINERS = {
    "logistic": lambda data: train.logistic_regression(data),
    "tree": lambda data: train.decision_tree(data),
    "forest": lambda data: train.random_forest(data, trees=20),
    "mlp": lambda data: train.mlp(data, width=16, layers=2, epochs=5),
    "cnn": lambda data: train.cnn(data, channels=4, epochs=2),
}
# Four columns are an image of 2 by 2 pixels, too.
CASES = [(data, kind) for data in ("iris", "digits") for kind in TRAINERS]


def frozen(value):
    """The value with all arrays in it read-only."""
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        for array in part.values() if isinstance(part, dict) else [part]:
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
    return value


@pytest.fixture(scope="session")
def data():
    return {"iris": frozen(tables.load_iris()), "digits": frozen(tables.load_digits())}


@pytest.fixture(scope="session")
def trained(data):
    """Trains the model of a case once."""
    return functools.cache(lambda case: frozen(TRAINERS[case[1]](data[case[0]])))


@pytest.fixture(scope="session")
def exported(trained):
    """Exports the model of a case once."""
    return functools.cache(lambda case: stdlib.models.to_onnx(trained(case)))


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture(scope="session")
def run_onnx():
    """Runs an ONNX file on features: label, probabilities."""

    def run(content, features):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return session.run(["label", "probabilities"], {"input": features})

    return run

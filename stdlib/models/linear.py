"""Multinomial logistic regression on standardised columns, fitted by scikit-learn's L-BFGS.

State, all float64: `mean` and `scale` [columns]; `coefficients` [classes, columns]; `intercepts` [classes].
"""

from typing import Any

import numpy as np
import onnx
from onnx import helper

from flowc import Array
from stdlib.models import signature
from stdlib.models.checks import require_every_class, require_positive
from stdlib.types import Dataset, Model


def fit(data: Dataset[Any], regularisation: float, max_iterations: int) -> Model[Any]:
    """Fit with an L2 penalty of strength `regularisation`; `ValueError` for senseless data or settings."""
    from sklearn.linear_model import LogisticRegression

    require_positive(regularisation=regularisation, max_iterations=max_iterations)
    require_every_class(data)
    rows = data.features.astype(np.float64)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale == 0] = 1  # a constant column says nothing, and must not divide by nothing
    fitted = LogisticRegression(C=1 / regularisation, max_iter=max_iterations)
    fitted.fit((rows - mean) / scale, data.target)
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(data.classes) == 2:  # scikit-learn keeps one row, the log-odds of the second class
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    print(f"L-BFGS: {int(fitted.n_iter_[0])} of at most {max_iterations} iterations, {data.rows} rows")
    state = {"mean": mean, "scale": scale, "coefficients": coefficients, "intercepts": intercepts}
    return Model("linear", state, data.feature_names, data.classes)


def predict(model: Model[Any], features: Array) -> Array:
    """Probabilities, float64 [rows, classes]."""
    state = model.state
    scores = (features - state["mean"]) / state["scale"] @ state["coefficients"].T + state["intercepts"]
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Array = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def to_onnx(model: Model[Any]) -> onnx.ModelProto:
    """Sub, Div, Gemm, Softmax, ArgMax, in float32."""
    nodes = [
        helper.make_node("Sub", [signature.INPUT, "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["standardised"]),
        helper.make_node("Gemm", ["standardised", "coefficients", "intercepts"], ["scores"], transB=1),
        helper.make_node("Softmax", ["scores"], [signature.PROBABILITIES], axis=1),
        helper.make_node("ArgMax", [signature.PROBABILITIES], [signature.LABEL], axis=1, keepdims=0),
    ]
    constants = {name: value.astype(np.float32) for name, value in sorted(model.state.items())}
    return signature.assemble(model, nodes, constants)

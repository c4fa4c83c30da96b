"""Families of classifiers. Each is a module that fits, predicts natively, and builds the ONNX model.

A family also offers `fit(data, ...) -> Model`, with settings of its own; `stdlib.train` wraps those as
operators. The module of a family is imported when one of its models is met: torch only for networks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from flowc import Array
from stdlib.types import Model

if TYPE_CHECKING:
    import onnx

FAMILIES = {
    "linear": "stdlib.models.linear",
    "trees": "stdlib.models.trees",
    "mlp": "stdlib.models.mlp",
    "cnn": "stdlib.models.cnn",
}


class Family(Protocol):
    """What every family's module offers."""

    def predict(self, model: Model[Any], features: Array) -> Array:
        """Probabilities, float64 [rows, classes], for features float32 [rows, columns], without ONNX."""

    def to_onnx(self, model: Model[Any]) -> onnx.ModelProto:
        """The same function as an ONNX model with the signature of `stdlib.models.signature`."""


def family_of(model: Model[Any]) -> Family:
    """The module that knows what `model.state` means; `ValueError` if there is none."""
    if model.family not in FAMILIES:
        raise ValueError(f"unknown model family `{model.family}`: there are {', '.join(FAMILIES)}")
    return cast(Family, importlib.import_module(FAMILIES[model.family]))


def predict(model: Model[Any], features: Array) -> Array:
    """The model's probabilities, float64 [rows, classes], for features float32 [rows, columns].

    `ValueError` if the model is of no known family or was trained on another number of columns.
    """
    import numpy as np

    if features.ndim != 2 or features.shape[1] != len(model.feature_names):
        expected = len(model.feature_names)
        raise ValueError(f"the model takes features [rows, {expected}], got {list(features.shape)}")
    return family_of(model).predict(model, features.astype(np.float32, copy=False))


def to_onnx(model: Model[Any]) -> bytes:
    """The model as the bytes of an ONNX file: the same bytes for the same model."""
    content: bytes = family_of(model).to_onnx(model).SerializeToString(deterministic=True)
    return content


if TYPE_CHECKING:  # every family keeps the promise
    from stdlib.models import cnn, linear, mlp, trees

    _families: tuple[Family, ...] = (linear, trees, mlp, cnn)

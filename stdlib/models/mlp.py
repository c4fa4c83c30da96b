"""A multi-layer perceptron in PyTorch: equally wide hidden layers with ReLU, on standardised columns.

State, all float32: `standardise.mean` and `.scale` [columns]; `body.N.weight` [out, in] and `.bias` [out] of
the linear layers, N = 0, 2, 4, ...
"""

from typing import Any

import onnx
from torch import nn

from flowc import Array
from stdlib.models import networks
from stdlib.models.checks import require_every_class, require_positive
from stdlib.types import Dataset, Model


def fit(
    data: Dataset[Any], width: int, layers: int, epochs: int, learning_rate: float, batch_size: int, seed: int
) -> Model[Any]:
    """Train with Adam; `ValueError` for senseless data or settings."""
    require_positive(width=width, layers=layers)
    require_every_class(data)
    return networks.fit(
        "mlp",
        lambda: _network(len(data.feature_names), width, layers, len(data.classes)),
        data,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
    )


def predict(model: Model[Any], features: Array) -> Array:
    """Probabilities, float64 [rows, classes]."""
    return networks.predict(_network_of(model), model, features)


def to_onnx(model: Model[Any]) -> onnx.ModelProto:
    """Exported by torch: Sub, Div, Gemm and Relu a layer, Softmax, ArgMax."""
    return networks.to_onnx(_network_of(model), model)


def _network(columns: int, width: int, layers: int, classes: int) -> networks.Network:
    body = nn.Sequential()
    for inputs in [columns, *[width] * (layers - 1)]:
        body.extend([nn.Linear(inputs, width), nn.ReLU()])
    body.append(nn.Linear(width, classes))
    return networks.Network(networks.Standardise(columns), body)


def _network_of(model: Model[Any]) -> networks.Network:
    """An untrained network of the model's shape."""
    width = len(model.state["body.0.bias"])
    layers = sum(name.endswith(".bias") for name in model.state) - 1
    return _network(len(model.feature_names), width, layers, len(model.classes))

"""A small convolutional network in PyTorch, for square images of one channel given as flat rows.

Two convolutions, a pooling that halves the image, and a linear layer before the scores.

State, all float32: `standardise.mean` and `.scale` [1]; `body.N.weight` and `.bias` of the layers.
"""

import math
from typing import Any

import onnx
from torch import nn

from flowc import Array
from stdlib.models import networks
from stdlib.models.checks import require_every_class, require_positive
from stdlib.types import Dataset, Model


def fit(
    data: Dataset[Any], channels: int, epochs: int, learning_rate: float, batch_size: int, seed: int
) -> Model[Any]:
    """Train with Adam; `ValueError` for rows that are no square image, or senseless data or settings."""
    require_positive(channels=channels)
    require_every_class(data)
    side = _side(len(data.feature_names))
    return networks.fit(
        "cnn",
        lambda: _network(side, channels, len(data.classes)),
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
    """Exported by torch: Sub, Div, Reshape, Conv, Relu, MaxPool, Gemm, Softmax, ArgMax."""
    return networks.to_onnx(_network_of(model), model)


def _network(side: int, channels: int, classes: int) -> networks.Network:
    body = nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * (side // 2) ** 2, 4 * channels),
        nn.ReLU(),
        nn.Linear(4 * channels, classes),
    )
    return networks.Network(networks.Standardise(1), body)


def _network_of(model: Model[Any]) -> networks.Network:
    """An untrained network of the model's shape."""
    channels = len(model.state["body.1.bias"])
    return _network(_side(len(model.feature_names)), channels, len(model.classes))


def _side(columns: int) -> int:
    """The side of the image, in pixels."""
    side = math.isqrt(columns)
    if side * side != columns or side < 2:
        raise ValueError(f"a row must be a square image of 2 by 2 pixels or more, got {columns} columns")
    return side

"""What the families of PyTorch networks share: scaling, a seeded training loop, prediction and export.

A network maps features float32 [rows, columns] to one score a class, [rows, classes]; softmax of the scores
are the probabilities. A model's state is the network's `state_dict`, scaling included.
"""

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import torch
import torch._dynamo  # Adam and the exporter would, in a second: here a fork server does, once for all nodes
from torch import Tensor, nn

from flowc import Array
from stdlib.models import signature
from stdlib.models.checks import require_positive, require_seed
from stdlib.types import Dataset, Model

_PREDICT_ROWS = 4096  # at once, so that memory does not grow with the data


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation, both measured before training and then fixed."""

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def measure(self, features: Tensor) -> None:
        """Take mean and deviation from rows [rows, size], or from all values together if the size is 1."""
        values = features.double().reshape(-1, len(self.mean))
        deviation = values.std(dim=0, correction=0)
        self.mean.copy_(values.mean(dim=0))
        # A constant column says nothing, and must not divide by nothing.
        self.scale.copy_(torch.where(deviation == 0, 1, deviation))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise features [rows, columns]."""
        return (features - self.mean) / self.scale


class Network(nn.Module):
    """A network that standardises its input, then computes the scores in `body`."""

    def __init__(self, standardise: Standardise, body: nn.Sequential) -> None:
        super().__init__()
        self.standardise = standardise
        self.body = body

    def forward(self, features: Tensor) -> Tensor:
        """Scores [rows, classes] of features [rows, columns]."""
        scores: Tensor = self.body(self.standardise(features))
        return scores


def fit(
    family: str,
    build: Callable[[], Network],
    data: Dataset[Any],
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
) -> Model[Any]:
    """Train a network with Adam on shuffled mini-batches, printing the loss of about ten epochs.

    The seed decides the first weights and the order of the rows, and nothing outside changes either.
    `ValueError` for senseless settings, and if the loss stops being a number.
    """
    require_positive(epochs=epochs, learning_rate=learning_rate, batch_size=batch_size)
    require_seed(seed)
    features, target = torch.tensor(data.features), torch.tensor(data.target)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        torch.manual_seed(seed)
        network = build()
        network.standardise.measure(features)
        optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
        for epoch in range(1, epochs + 1):
            total = 0.0
            for batch in torch.split(torch.randperm(data.rows), batch_size):
                loss = nn.functional.cross_entropy(network(features[batch]), target[batch])
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                total += loss.item() * len(batch)
            if not math.isfinite(total):
                raise ValueError(
                    f"the loss is {total} after epoch {epoch}: lower `learning_rate` ({learning_rate})"
                )
            if epoch == epochs or epoch % math.ceil(epochs / 10) == 0:
                print(f"epoch {epoch}/{epochs}: loss {total / data.rows:.4f}", flush=True)
    state = {name: tensor.numpy() for name, tensor in sorted(network.state_dict().items())}
    return Model(family, state, data.feature_names, data.classes)


def predict(network: Network, model: Model[Any], features: Array) -> Array:
    """Probabilities, float64 [rows, classes]; the model's state is loaded into the network."""
    _load(network, model)
    with torch.inference_mode():
        scores = [network(part) for part in torch.split(torch.tensor(features), _PREDICT_ROWS)]
    return torch.softmax(torch.cat(scores).double(), dim=1).numpy()


def to_onnx(network: Network, model: Model[Any]) -> onnx.ModelProto:
    """Export through torch's exporter, with the batch size left open."""
    _load(network, model)
    with _quiet_exporter():
        program = torch.onnx.export(
            _Classifier(network).eval(),
            (torch.zeros(2, len(model.feature_names)),),
            input_names=[signature.INPUT],
            output_names=[signature.LABEL, signature.PROBABILITIES],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=signature.OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return signature.finish(model, program.model_proto)


class _Classifier(nn.Module):
    """A network with the outputs of the exported signature."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = torch.softmax(self.network(features), dim=1)
        return probabilities.argmax(dim=1), probabilities


def _load(network: Network, model: Model[Any]) -> None:
    # Copied: arrays from the artifact store are read-only, which torch tensors cannot be.
    network.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in model.state.items()})


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Drop the two things that torch 2.13's exporter says of every export; anything else still shows."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")

    def keep(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("torchvision is not installed")

    log.addFilter(keep)
    try:
        with warnings.catch_warnings():
            deprecated = r"`isinstance\(treespec, LeafSpec\)` is deprecated"
            warnings.filterwarnings("ignore", message=deprecated, category=FutureWarning)
            yield
    finally:
        log.removeFilter(keep)

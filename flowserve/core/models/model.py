"""A model in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from flowserve.core.models.pipeline import Pipeline
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature

Run = Callable[[Mapping[str, Any], Sequence[str]], list[Any]]
"""From a numpy array for every input, and the names of outputs, to those outputs in that order."""


class Bound(msgspec.Struct, frozen=True):
    """A pipeline, and for each of its steps the model that it runs."""

    pipeline: Pipeline
    members: tuple[Model, ...]


class Model(msgspec.Struct, frozen=True, weakref=True):
    """One loaded version of a model. `run` raises `Refused` FS205 or FS210 when the model fails."""

    name: str
    version: int
    signature: Signature
    run: Run
    settings: ModelSettings = ModelSettings()
    bound: Bound | None = None
    """Of a pipeline."""

    @property
    def platform(self) -> str:
        """What Triton calls that which runs it."""
        return "ensemble" if self.bound else "onnxruntime_onnx"

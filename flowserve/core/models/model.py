"""A model in memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from flowserve.core.models.pipeline import Pipeline
from flowserve.core.models.seat import Seat
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature

Run = Callable[[Mapping[str, Any], Sequence[str]], list[Any]]
"""From a numpy array for every input, and the names of outputs, to those outputs in that order."""


_T = TypeVar("_T")


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
    seat: Seat = Seat()

    @property
    def platform(self) -> str:
        """What Triton calls that which runs it."""
        return "ensemble" if self.bound else "onnxruntime_onnx"


class ByModel(Generic[_T]):
    """Something for each model that is asked about, as long as that model lives.

    By identity: hashing a model would hash all of its signature.
    """

    def __init__(self, make: Callable[[Model], _T]) -> None:
        self._make = make
        self._made: dict[int, _T] = {}
        self._watched: dict[int, weakref.ref[Model]] = {}

    def __iter__(self) -> Iterator[_T]:
        """What is kept for the models that live."""
        return iter(self._made.values())

    def of(self, model: Model) -> _T:
        """Return what is kept for a model, made now if need be."""
        made = self._made.get(id(model))
        if made is None:
            made = self._make(model)
            self.set(model, made)
        return made

    def set(self, model: Model, value: _T) -> None:
        """Keep something for a model."""
        key, made, watched = id(model), self._made, self._watched

        def forget(_: object) -> None:
            made.pop(key, None)
            watched.pop(key, None)

        made[key] = value
        watched[key] = weakref.ref(model, forget)

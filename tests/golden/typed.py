"""Types with a meaning: columns, bounds, tensors, settings, secrets, and operators for any type."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from flowc import operator, workflow
from flowc.types import (
    ColumnOf,
    Dataset,
    Date,
    HyperparameterSet,
    Length,
    Metrics,
    Model,
    Path,
    Range,
    Schema,
    Secret,
    Tensor,
    Unit,
    float32,
    int64,
)

C = TypeVar("C", bound=Schema)
T = TypeVar("T")


class Visits(Schema):
    age: float
    kind: Literal["new", "old"]
    label: int64


class Labelled(Schema):
    label: int64


class Boosting(HyperparameterSet):
    trees: Annotated[int, Range(1, 1000)] = 100
    rate: Annotated[float, Range(0, 1), Unit("per step")] = 0.1


@operator
def load(path: Path, day: Date, token: Secret) -> Dataset[Visits]: ...


@operator
def shuffled(data: Dataset[C], seed: int = 0) -> Dataset[C]: ...


@operator
def train(
    data: Dataset[Labelled], how: Boosting, target: Annotated[str, ColumnOf("data", int64)] = "label"
) -> Model[Labelled, Any]: ...


@operator
def images() -> Tensor[float32, "rows", 8, 8]: ...


@operator
def scaled(x: Tensor[float32, "rows", ...]) -> Tensor[float32, "rows", ...]: ...


@operator
def first(items: Annotated[list[T], Length(1)]) -> T: ...


@operator
def measure(model: Model[Labelled, Any], data: Dataset[Labelled]) -> Metrics: ...


@workflow
def main(path: Path, day: Date, token: Secret = Secret("env:TOKEN"), how: Boosting = Boosting(trees=50)):
    """Predict who
    comes back.

    The rest of the docstring stays out of the plan.
    """
    data = shuffled(load(path, day, token))
    models = [train(data, how), train(data, Boosting(rate=0.5)), train(data, {"trees": 7})]
    return measure(first(models), data), scaled(first([images()]))

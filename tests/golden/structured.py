"""Results with named fields: of a dataclass, a NamedTuple, a TypedDict and a msgspec Struct."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypedDict, TypeVar

import msgspec
from flowc import Array, operator, workflow

T = TypeVar("T")


class Data(msgspec.Struct):
    features: Array
    names: list[str]


@dataclass
class Parts:
    train: Data
    test: Data


class Shape(NamedTuple):
    rows: int
    columns: int


class Labels(TypedDict, total=False):
    main: str
    other: str | None


class Model:
    pass


class Tree(Model, Generic[T]):
    pass


@operator
def split() -> Parts: ...


@operator
def shape(of: Array) -> Shape: ...


@operator
def labels(names: list[str]) -> Labels: ...


@operator
def tree(data: Data, rows: int, label: str | None = None) -> Tree[int]: ...


@operator
def publish(model: Model) -> Shape: ...


@workflow
def main():
    parts = split()
    size = shape(parts.train.features)
    names = labels(parts.test.names)
    model = tree(parts.train, size.rows, names.other)
    return publish(model).columns

"""Types with a meaning for machine learning, for the annotations of operators and workflows.

    class Flowers(Schema):
        petal_length: float32
        species: Literal["setosa", "virginica"]

    @operator
    def load() -> Dataset[Flowers]: ...

    @operator
    def train(
        data: Dataset[C], target: Annotated[str, ColumnOf("data")], depth: Annotated[int, Range(1, 20)] = 3
    ) -> Model[C, Any]: ...

Values are plain: named numpy arrays and numbers, which are stored without pickle. To type checkers a tensor
is a numpy array with its dtype.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, TypeVar, dataclass_transform

import msgspec

from flowc.hints import Array as _Array
from flowc.hints import Shape as _Shape
from flowc.hints import column_type as _column_type
from flowc.plan.diagnostics import refuse
from flowc.plan.registry import TypeDefinition
from flowc.plan.types.values import SECRET_PATTERN

if TYPE_CHECKING:
    from typing import Annotated as Tensor

    import numpy as np
    from numpy.typing import NDArray

    Array = np.ndarray[Any, np.dtype[Any]]
    float16: TypeAlias = NDArray[np.float16]
    float32: TypeAlias = NDArray[np.float32]
    float64: TypeAlias = NDArray[np.float64]
    int8: TypeAlias = NDArray[np.int8]
    int16: TypeAlias = NDArray[np.int16]
    int32: TypeAlias = NDArray[np.int32]
    int64: TypeAlias = NDArray[np.int64]
    uint8: TypeAlias = NDArray[np.uint8]
    uint16: TypeAlias = NDArray[np.uint16]
    uint32: TypeAlias = NDArray[np.uint32]
    uint64: TypeAlias = NDArray[np.uint64]
else:
    Array = _Array

    class Tensor(metaclass=type(_Array)):
        """A numpy array of a dtype and a shape: `Tensor[float32, "batch", 4]`.

        A name stands for the same size wherever it occurs in the types of one call; `...` for any dimensions.
        """

        __flow_type__ = "Tensor"

        def __class_getitem__(cls, params: Any) -> Any:
            dtype, *dims = params if isinstance(params, tuple) else (params,)
            return Annotated[_Array, _Shape(dtype, tuple(dims))]

    def _dtype(name: str) -> type:
        return type(name, (), {"__flow_type__": name, "__doc__": f"Elements of numpy's `{name}`."})

    float16, float32, float64 = _dtype("float16"), _dtype("float32"), _dtype("float64")
    int8, int16, int32, int64 = _dtype("int8"), _dtype("int16"), _dtype("int32"), _dtype("int64")
    uint8, uint16 = _dtype("uint8"), _dtype("uint16")
    uint32, uint64 = _dtype("uint32"), _dtype("uint64")

__all__ = [
    "Array",
    "ColumnOf",
    "Component",
    "Dataset",
    "Date",
    "Description",
    "FeatureSet",
    "HyperparameterSet",
    "Length",
    "Metrics",
    "Model",
    "Path",
    "Pattern",
    "Predictions",
    "Range",
    "Schema",
    "Secret",
    "Tensor",
    "Title",
    "TypeDefinition",
    "Unit",
    *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
]

Date = datetime.date


class Schema:
    """Columns or named values, as annotations: `class Flowers(Schema): petal_length: float32`."""

    __flow_record__ = True


Columns = TypeVar("Columns", bound=Schema, covariant=True)
Inputs = TypeVar("Inputs", bound=Schema, contravariant=True)
Outputs = TypeVar("Outputs", bound=Schema, covariant=True)
Label = TypeVar("Label", covariant=True)


# `eq=False`: numpy arrays have no single truth value to compare by.
@dataclasses.dataclass(frozen=True, eq=False)
class Dataset(Generic[Columns]):
    """Columns of as many rows. `ValueError` if they are not."""

    __flow_type__ = "Dataset"

    columns: dict[str, Array]
    """An array [rows] for each name"""

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns must have as many rows: {lengths}")

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return next((len(column) for column in self.columns.values()), 0)

    def __getitem__(self, name: str) -> Array:
        """A column."""
        return self.columns[name]

    def __flow_columns__(self) -> dict[str, str]:
        """What the worker compares with the declared columns."""
        return {name: column.dtype.name for name, column in self.columns.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSet(Dataset[Columns], Generic[Columns]):
    """Columns of features, with the columns that tell which entity a row is of."""

    __flow_type__ = "FeatureSet"

    keys: tuple[str, ...] = ()
    """The columns that together name an entity"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if missing := [key for key in self.keys if key not in self.columns]:
            raise ValueError(f"`keys` must be columns; not there: {', '.join(missing)}")


@dataclasses.dataclass(frozen=True, eq=False)
class Model(Generic[Inputs, Outputs]):
    """A trained model: `Model[Flowers, Species]` takes columns of flowers and gives columns of species."""

    __flow_type__ = "Model"

    format: str
    """What `content` or `state` is: "onnx", "linear", ..."""
    content: bytes = b""
    """The model as a file"""
    state: dict[str, Array] = dataclasses.field(default_factory=dict)
    """The model as named arrays"""


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions(Generic[Label]):
    """A label for each row, `Predictions[int64]`, and the probability of each class."""

    __flow_type__ = "Predictions"

    labels: Array
    """[rows]"""
    probabilities: Array | None = None
    """[rows, classes], if the model gives them"""
    classes: list[str] = dataclasses.field(default_factory=list)
    """The name of each class, in the order of `probabilities`"""


class Metrics(dict[str, float]):
    """Measures of quality by name: `Metrics(accuracy=0.97)`."""

    __flow_type__ = "Metrics"

    @classmethod
    def __flow_make__(cls, parts: Any) -> Metrics:
        """From what is stored."""
        return cls(msgspec.convert(parts, dict[str, float]))


@dataclass_transform(frozen_default=True, kw_only_default=True)
class HyperparameterSet:
    """Settings with ranges. A subclass is a frozen dataclass:

    class Boosting(HyperparameterSet):
        trees: Annotated[int, Range(1, 1000)] = 100
        rate: Annotated[float, Range(0, 1)] = 0.1
    """

    __flow_type__ = "HyperparameterSet"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)


class Secret:
    """Where a secret lies: `env:NAME`, a variable of the environment, or `file:PATH`.

    Plans, logs and the store hold this and never the secret itself, which an operator asks for when it runs.
    """

    __flow_type__ = "Secret"
    __slots__ = ("reference",)

    def __init__(self, reference: str) -> None:
        # The text is not repeated: it may well be the secret itself.
        if not re.match(SECRET_PATTERN, reference):
            raise ValueError("a secret is given as `env:NAME` or `file:PATH`, never as its value")
        self.reference = reference

    def __flow_parts__(self) -> str:
        """What is stored: where it lies."""
        return self.reference

    @classmethod
    def __flow_make__(cls, parts: Any) -> Secret:
        """From what is stored."""
        return cls(parts)

    def reveal(self) -> str:
        """The secret, from where it lies on this machine; `Refused` (FR107) if it is not there."""
        kind, _, at = self.reference.partition(":")
        if kind == "env":
            found = os.environ.get(at)
            if found is None:
                refuse("FR107", f"the environment variable `{at}`, which holds a secret, is not set")
            return found
        try:
            return Path(at).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            refuse("FR107", f"the file `{at}`, which holds a secret, cannot be read: {error.strerror}")

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)


def Range(  # noqa: N802 - it reads as a type
    low: float | None = None,
    high: float | None = None,
    *,
    step: float | None = None,
    open: bool = False,  # noqa: A002
) -> msgspec.Meta:
    """A number from `low` to `high`, a multiple of `step`; `open` leaves `low` and `high` themselves out."""
    if open:
        return msgspec.Meta(gt=low, lt=high, multiple_of=step)
    return msgspec.Meta(ge=low, le=high, multiple_of=step)


def Length(low: int | None = None, high: int | None = None) -> msgspec.Meta:  # noqa: N802
    """Text, a list or a mapping of `low` to `high` characters or items."""
    return msgspec.Meta(min_length=low, max_length=high)


def Pattern(pattern: str) -> msgspec.Meta:  # noqa: N802
    """Text in which a regular expression is found; `^` and `$` tie it to the ends."""
    return msgspec.Meta(pattern=pattern)


def ColumnOf(parameter: str, dtype: Any = None) -> msgspec.Meta:  # noqa: N802
    """The name of a column of the data set in another parameter, of a dtype if one is given."""
    extra = {"column_of": parameter}
    if dtype is not None:
        extra["column_type"] = str(_column_type(dtype))
    return msgspec.Meta(extra=extra)


def Unit(unit: str) -> msgspec.Meta:  # noqa: N802
    """The unit that a form shows beside a value."""
    return msgspec.Meta(extra={"unit": unit})


def Title(title: str) -> msgspec.Meta:  # noqa: N802
    """The name that a form shows."""
    return msgspec.Meta(title=title)


def Description(description: str) -> msgspec.Meta:  # noqa: N802
    """The sentence that a form shows."""
    return msgspec.Meta(description=description)


def Component(component: str) -> msgspec.Meta:  # noqa: N802
    """The form component, if not the one that the type has: see `flowc types`."""
    return msgspec.Meta(extra={"component": component})

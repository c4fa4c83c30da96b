"""The values that pass between operators: plain data and numpy arrays, which can be stored without pickle.

Arrays may be read-only (the artifact store maps them from files): operators never change their inputs.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from flowc import Array
from flowc.types import Schema

Columns = TypeVar("Columns", bound=Schema, covariant=True)
# A model that needs few columns will do where one that needs more is expected.
Needs = TypeVar("Needs", bound=Schema, contravariant=True)


# `eq=False`: numpy arrays have no single truth value to compare by.
@dataclass(frozen=True, eq=False)
class Dataset(Generic[Columns]):
    """Labelled rows of a table with named columns of features.

    `ValueError` if the parts do not fit together or a feature is not finite.
    """

    features: Array
    """float32 [rows, columns]"""
    target: Array
    """int64 [rows]: for each row, the index of its class in `classes`"""
    feature_names: list[str]
    """One name a column"""
    classes: list[str]
    """One label a class"""

    def __post_init__(self) -> None:
        import numpy as np

        features, target = self.features, self.target
        if features.ndim != 2 or features.dtype != np.float32:
            raise ValueError(f"`features` must be float32 [rows, columns], got {_shown(features)}")
        if target.ndim != 1 or target.dtype != np.int64:
            raise ValueError(f"`target` must be int64 [rows], got {_shown(target)}")
        if len(features) != len(target):
            raise ValueError(f"`features` has {len(features)} rows, but `target` has {len(target)}")
        if features.shape[1] != len(self.feature_names):
            raise ValueError(f"{features.shape[1]} columns, but {len(self.feature_names)} `feature_names`")
        if len(target) and not (target.min() >= 0 and target.max() < len(self.classes)):
            raise ValueError(f"`target` must hold indices of the {len(self.classes)} `classes`")
        if not np.isfinite(features).all():
            row, column = np.argwhere(~np.isfinite(features))[0]
            value = features[row, column]
            raise ValueError(
                f"`features` must be finite: row {row} has {value} for `{self.feature_names[column]}`"
            )

    def __flow_columns__(self) -> dict[str, str]:
        """What a worker compares with the columns that an operator declares."""
        return dict.fromkeys(self.feature_names, self.features.dtype.name)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.target)


@dataclass(frozen=True, eq=False)
class Split(Generic[Columns]):
    """A data set cut in two: rows to learn from, and rows kept aside to measure with."""

    train: Dataset[Columns]
    test: Dataset[Columns]


@dataclass(frozen=True, eq=False)
class Model(Generic[Needs]):
    """A trained classifier as named arrays. What they mean is known to its family, see `stdlib.models`."""

    family: str
    """A key of `stdlib.models.FAMILIES`"""
    state: dict[str, Array]
    """Everything that the family needs to rebuild the model"""
    feature_names: list[str]
    """The columns it was trained on, in order"""
    classes: list[str]
    """The labels that it tells apart, in order"""


@dataclass(frozen=True)
class Scores:
    """How well a model does on some rows."""

    rows: int
    accuracy: float
    """Share of rows whose most probable class is the right one"""
    macro_f1: float
    """Mean over the classes of the harmonic mean of precision and recall"""
    log_loss: float
    """Mean negative log-likelihood of the right class, in nats"""
    confusion: list[list[int]]
    """[right class][predicted class]: how many rows"""


@dataclass(frozen=True)
class Ranked:
    """A line of a leaderboard; the best has rank 1."""

    rank: int
    name: str
    accuracy: float
    macro_f1: float
    log_loss: float


@dataclass(frozen=True)
class OnnxModel:
    """An exported model whose outputs were compared with the trained model's."""

    family: str
    onnx: bytes
    """The file: input `input`, outputs `label` and `probabilities`, see `stdlib.models.signature`"""
    feature_names: list[str]
    classes: list[str]
    compared_rows: int
    """How many rows both models were run on"""
    largest_difference: float
    """The largest absolute difference of a probability on those rows"""


@dataclass(frozen=True)
class Published:
    """A version of a model in a repository that `flowserve` and Triton serve from."""

    name: str
    version: int
    path: str
    """The version's folder, relative to where the run was started if the repository was given so"""


def _shown(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"

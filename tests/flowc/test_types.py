"""The types of `flowc.types` as annotations and as values."""

from typing import Annotated, Any, TypeVar, get_origin

import numpy as np
import pytest

from flowc import types as ft
from flowc.hints import Meaningless, structures_of, type_of
from flowc.plan.diagnostics import Refused
from flowc.types import (
    Dataset,
    FeatureSet,
    HyperparameterSet,
    Metrics,
    Model,
    Predictions,
    Schema,
    Secret,
    Tensor,
)
from flowrun.shell.store.artifacts import Store

C = TypeVar("C", bound=Schema)
N = TypeVar("N", int, float)


class Flowers(Schema):
    length: ft.float32
    width: float
    count: int
    kind: np.uint8
    name: str


class Settings(HyperparameterSet):
    rate: Annotated[float, ft.Range(0, 1)]
    trees: Annotated[int, ft.Range(1, 9)] = 3


FLOWERS = "{length: float32, width: float64, count: int64, kind: uint8, name: str}"


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Dataset[Flowers], f"Dataset[{FLOWERS}]"),
        (Dataset, "Dataset"),
        (Dataset[Any], "Dataset[Any]"),
        (Dataset[C], "Dataset['C]"),
        (list[N], "list['N[int | float]]"),
        (FeatureSet[Flowers], f"FeatureSet[{FLOWERS}]"),
        (Model[Flowers, Any], f"Model[{FLOWERS}, Any]"),
        (Predictions[ft.int64], "Predictions[int64]"),
        (Metrics, "Metrics"),
        (Secret | None, "Secret | None"),
        (ft.Path, "Path"),
        (ft.Date, "date"),
        (Tensor, "Tensor"),
        (Tensor[ft.float32, "rows", 4], "Tensor[float32, 'rows, 4]"),
        (Tensor[np.float32, ..., 3], "Tensor[float32, ..., 3]"),
        (Tensor["int8"], "Tensor[int8]"),
        (Annotated[int, ft.Range(1, 100)], "int(ge=1, le=100)"),
        (Annotated[int, ft.Range(1), ft.Range(high=9)], "int(ge=1, le=9)"),
        (Annotated[float, ft.Range(0, 1, open=True), ft.Unit("m")], 'float(gt=0, lt=1, unit="m")'),
        (Annotated[str | None, ft.Length(1, 9)], "str(max_length=9, min_length=1) | None"),
        (Annotated[str, ft.ColumnOf("data", float)], 'str(column_of="data", column_type="float64")'),
        (Annotated[list[int], ft.Length(2), ft.Title("Sizes")], 'list[int](min_length=2, title="Sizes")'),
    ],
)
def test_annotations(annotation, text):
    assert str(type_of(annotation)) == text


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[str, ft.Range(1, 2)],
        Annotated[int, ft.Pattern("a")],
        Tensor["float32", 1.5],
        Tensor["float32", "a b"],
    ],
)
def test_annotations_without_meaning(annotation):
    with pytest.raises(Meaningless):
        type_of(annotation)


def test_settings_are_a_structure_with_ranges_and_defaults():
    (found,) = structures_of([Settings]).values()
    assert found.fields == {"rate": "float(ge=0, le=1)", "trees": "int(ge=1, le=9)"}
    assert (found.bases, found.defaults) == (("HyperparameterSet",), {"trees": 3})
    assert Settings(rate=0.5) == Settings(rate=0.5, trees=3)


def test_columns_have_as_many_rows():
    data = Dataset({"a": np.zeros(2), "b": np.zeros(2)})
    assert (data.rows, data["a"].shape) == (2, (2,))
    with pytest.raises(ValueError, match="as many rows"):
        Dataset({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(ValueError, match="not there: c"):
        FeatureSet({"a": np.zeros(2)}, keys=("c",))


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (Dataset({"a": np.arange(3)}), Dataset[Flowers]),
        (FeatureSet({"a": np.arange(3)}, ("a",)), Dataset[Any]),
        (Metrics(accuracy=0.5), Metrics),
        (Predictions(np.arange(2), classes=["a"]), Predictions[int]),
        (Model("linear", state={"w": np.ones(2)}), Model[Any, Any]),
        (Secret("env:KEY"), Secret),
        ([Settings(rate=0.5)], list[Settings]),
    ],
)
def test_values_come_back_from_the_store(tmp_path, value, of):
    store = Store(tmp_path)
    found = store.get(store.put(value).source, (), of)
    assert type(found) is (get_origin(of) or of)
    if isinstance(value, Dataset):
        assert found["a"].tolist() == [0, 1, 2]
    elif isinstance(value, (Metrics, Secret, list)):
        assert found == value


def test_a_secret_is_revealed_where_it_lies_and_shown_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY", "hunter2")
    (tmp_path / "key").write_text("hunter2\n")
    for secret in (Secret("env:KEY"), Secret(f"file:{tmp_path / 'key'}")):
        assert secret.reveal() == "hunter2"
        assert "hunter2" not in repr(secret)
    for gone in ("env:NO_SUCH_KEY", "file:no/such"):
        with pytest.raises(Refused, match="FR107"):
            Secret(gone).reveal()
    with pytest.raises(ValueError, match="never as its value") as refused:
        Secret("hunter2")
    assert "hunter2" not in str(refused.value)

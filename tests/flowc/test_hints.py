"""Annotations as type expressions, and classes as structures."""

import collections.abc
import dataclasses
import datetime
import enum
import pathlib
import typing
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import msgspec
import numpy as np
import pytest

from flowc import Array
from flowc.hints import Meaningless, fields_of, hints_of, name_of, structures_of, type_of
from flowc.plan.types import parse

T = TypeVar("T")
Grams = NewType("Grams", float)
HERE = __name__


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: "float | None" = None


class Child(Point):
    pass


class Pair(NamedTuple):
    left: Point
    right: list[Point]


class Options(TypedDict, total=False):
    depth: int


class Record(msgspec.Struct):
    name: str
    next: "Record | None" = None


class Plain:
    inner: int = 3

    class Nested:
        pass


class Box(Generic[T]):
    pass


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (Any, "Any"),
        (datetime.date, "date"),
        (datetime.datetime, "datetime"),
        (bytes, "bytes"),
        (Optional[int], "int | None"),  # noqa: UP045
        (Union[int, str], "int | str"),  # noqa: UP007
        (None | int | str, "int | str | None"),
        (int | (str | int), "int | str"),
        (list, "list"),
        (list[int], "list[int]"),
        (typing.List[int], "list[int]"),  # noqa: UP006
        (dict[str, list[float]], "dict[str, list[float]]"),
        (tuple[int, str], "tuple[int, str]"),
        (tuple[int, ...], "list[int]"),
        (set[int], "set[int]"),
        (frozenset[int], "set[int]"),
        (collections.abc.Sequence[int], "list[int]"),
        (collections.abc.Mapping[str, Any], "dict[str, Any]"),
        (typing.Iterable[str], "list[str]"),
        (Literal["a", 1, True, None], 'Literal["a", 1, true, null]'),
        (Literal[Color.RED], 'Literal["red"]'),
        (Annotated[int, "positive"], "int"),
        (Annotated[Annotated[int, msgspec.Meta(ge=1, le=9)], msgspec.Meta(gt=2)], "int(gt=2, le=9)"),
        (Grams, "float"),
        (T, "'T"),
        (list[T], "list['T]"),
        (Box[int], f"{HERE}:Box[int]"),
        (Point, f"{HERE}:Point"),
        (Plain.Nested, f"{HERE}:Plain.Nested"),
        (Color, f"{HERE}:Color"),
        (pathlib.Path, "Path"),
        (Array, "Array"),
        (np.ndarray, "Array"),
        (np.ndarray[Any, np.dtype[np.float64]], "Array"),
        (collections.abc.Callable[[int], int], "collections.abc:Callable"),
        (type[int], "builtins:type"),
        (complex, "builtins:complex"),
        (object, "builtins:object"),
    ],
)
def test_the_type_of_an_annotation(annotation, text):
    assert str(type_of(annotation)) == text
    assert parse(text) == type_of(annotation)


class _Local:
    @staticmethod
    def make():
        class Inside:
            pass

        return Inside


@pytest.mark.parametrize(
    "annotation", [3, "text", [int], ..., Literal[b"x"], Literal[0.5], list[3], _Local.make(), print]
)
def test_an_annotation_without_meaning(annotation):
    with pytest.raises(Meaningless):
        type_of(annotation)


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (Point, ["x", "y"]),
        (Child, ["x", "y"]),
        (Pair, ["left", "right"]),
        (Options, ["depth"]),
        (Record, ["name", "next"]),
        (Plain, []),
        (Color, []),
        (int, []),
    ],
)
def test_the_fields_of_a_class(cls, fields):
    assert list(fields_of(cls)) == fields


def test_structures_are_found_through_containers_and_fields():
    found = structures_of([list[Pair | None], dict[str, Options], Literal["Point"], Record, Color, Plain])
    assert {name.partition(":")[2]: (s.fields, s.bases, s.positional) for name, s in found.items()} == {
        "Pair": ({"left": f"{HERE}:Point", "right": f"list[{HERE}:Point]"}, (), ("left", "right")),
        "Point": ({"x": "int", "y": "float | None"}, (), ()),
        "Options": ({"depth": "int"}, (), ()),
        "Record": ({"name": "str", "next": f"{HERE}:Record | None"}, (), ()),
        "Color": ({}, ("enum:Enum",), ()),
    }


def test_bases_are_those_that_can_be_annotations():
    found = structures_of([Child, type("Sub", (Record, Plain), {})])
    assert {name.partition(":")[2]: s.bases for name, s in found.items()} == {
        "Child": (f"{HERE}:Point",),
        "Sub": (f"{HERE}:Record", f"{HERE}:Plain"),
        "Record": (),
    }


def test_a_field_whose_annotation_means_nothing_is_anything():
    cls = dataclasses.make_dataclass("Odd", [("a", 3), ("b", int)])
    (found,) = structures_of([cls]).values()
    assert found.fields == {"a": "Any", "b": "int"}


def test_a_class_that_a_private_module_defines_has_its_public_name():
    assert name_of(pathlib.Path) == "pathlib:Path"
    assert name_of(Point) == f"{HERE}:Point"


def test_string_annotations_are_resolved():
    def fn(a: "int | None", b: "list[Point]" = ()) -> "Pair":
        pass

    assert hints_of(fn) == {"a": int | None, "b": list[Point], "return": Pair}


def test_annotations_that_cannot_be_resolved_are_anything():
    def fn(a: "OnlyForTypeCheckers", b: int) -> "numpy.ndarray":  # noqa: F821
        pass

    assert hints_of(fn) == {"a": Any, "b": int, "return": Any}


@pytest.mark.parametrize("annotation", ["int[", "missing.attribute.of[", "'np.no_such_thing'"])
def test_annotations_that_raise_when_they_are_resolved_are_anything(annotation):
    def fn(a, b: int):
        pass

    fn.__annotations__["a"] = annotation
    assert hints_of(fn)["b"] is int


def test_an_unresolvable_annotation_costs_only_itself():
    def fn(a: "OnlyForTypeCheckers", b: "int", c: "list[Point]"):  # noqa: F821
        pass

    assert hints_of(fn) == {"a": Any, "b": int, "c": list[Point]}

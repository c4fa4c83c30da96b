"""Records, bounds, tensors and variables: their text, what may go where, and what a run checks."""

# ruff: noqa: E501 - a case a line

import msgspec
import numpy as np
import pytest

from flowc.plan.model import Structure
from flowc.plan.types import (
    Type,
    TypeSyntaxError,
    assignable,
    convert,
    parse,
    requirement,
    solve,
    substitute,
    violation,
)

CLASSES = {
    s.type: s
    for s in (
        Structure("m:Table", {"rows": "int"}, parameters=("C",)),
        Structure("m:Model", {"state": "Any"}, parameters=("-C",)),
        Structure("m:Colour", values=("red", "green")),
        Structure("m:Params", {"rate": "float(ge=0, le=1)", "trees": "int"}, defaults={"trees": 5}),
        Structure("m:Nested", {"inner": "m:Params", "again": "m:Nested | None"}, optional=("again",)),
    )
}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("{}", "{}"),
        ("{ a: int,b: str }", "{a: int, b: str}"),
        ('{"sepal length (cm)": float32, "a": int}', '{"sepal length (cm)": float32, a: int}'),
        ("Dataset[{a: float64}]", "Dataset[{a: float64}]"),
        ("Tensor[float32, 'n, 4, ...]", "Tensor[float32, 'n, 4, ...]"),
        ("int(le=100,ge=1)", "int(ge=1, le=100)"),
        ("float(gt=-0.5)", "float(gt=-0.5)"),
        ('str(pattern="^(a|b)$") | None', 'str(pattern="^(a|b)$") | None'),
        ("list['T]", "list['T]"),
        ("'T[int | str]", "'T[int | str]"),
        ("{a: int, a: str}", None),
        ("{a int}", None),
        ("{a: int", None),
        ("{3: int}", None),
        ("int(ge=1", None),
        ("int(pattern=1)", None),
        ("int(ge)", None),
        ("int(what=1)", None),
        ("int(ge=1, ge=2)", None),
        ("int(ge=1, gt=0)", None),
        ('int(ge="a")', None),
        ("int(le=true)", None),
        ("float(multiple_of=0)", None),
        ("str(min_length=-1)", None),
        ("list(max_length=1.0)", None),
        ('str(pattern="(")', None),
        ('str(pattern="a{99999999999}")', None),
        ("str(column_of=1)", None),
        ('str(column_type="in")', None),
        ('str(column_type="int64")', 'str(column_type="int64")'),
        ("Tensor[float32, 01]", None),
        ("Tensor[float32, " + "1" * 19 + "]", None),
        ("list[4]", None),
        ("list[...]", None),
        ("Literal[0.5]", None),
        ("'", None),
    ],
)
def test_parse(text, canonical):
    if canonical is None:
        with pytest.raises(TypeSyntaxError, match="is not a type"):
            parse(text)
    else:
        assert str(parse(text)) == canonical
        assert parse(canonical) == parse(text)


def test_a_type_has_ten_thousand_parts_at_most():
    def record(fields, last=""):  # of 4 * fields + 1 parts, and those of the last
        return "{" + ", ".join(f"a{i}: int" for i in range(fields)) + "}" + last

    assert len(parse(record(2499, " | " + "'T")).args) == 2
    with pytest.raises(TypeSyntaxError) as refused:
        parse(record(2500))
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("int(ge=1, le=100)", "int(1..100)"),
        ('float(gt=0, unit="cm")', "float(>0)"),
        ("list['T]", "list[T]"),
        ("Tensor[float32, 'n, 4]", "Tensor[float32, n, 4]"),
    ],
)
def test_short(text, short):
    assert parse(text).short() == short


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        ("Dataset[{a: int64, b: str}]", "Dataset[{a: int64}]", True),
        ("Dataset[{b: str, a: int64}]", "Dataset[{a: int64, b: str}]", True),
        ("Dataset[{a: int64}]", "Dataset[{a: int64, b: str}]", False),
        ("Dataset[{a: int32}]", "Dataset[{a: int64}]", False),
        ("Dataset[{a: int32}]", "Dataset[{a: int32 | int64}]", True),
        ("Dataset", "Dataset[{a: int64}]", True),
        ("Dataset[{a: int64}]", "Dataset", True),
        ("FeatureSet[{a: int64}]", "Dataset[{a: int64}]", True),
        ("FeatureSet[{b: int64}]", "Dataset[{a: int64}]", False),
        ("Dataset[{a: int64}]", "FeatureSet[{a: int64}]", False),
        ("Model[{a: int64}, {y: str}]", "Model[{a: int64, b: str}, {}]", True),
        ("Model[{a: int64, b: str}, {y: str}]", "Model[{a: int64}, {}]", False),
        ("m:Model[{a: int64}]", "m:Model[{a: int64, b: str}]", True),
        ("m:Model[{a: int64, b: str}]", "m:Model[{a: int64}]", False),
        ("m:Table[{a: int64, b: str}]", "m:Table[{a: int64}]", True),
        ("m:Table[{a: int64}]", "m:Table[{b: int64}]", False),
        ("Metrics", "dict[str, float]", True),
        ("Metrics", "dict[str, int]", False),
        ("int(ge=1, le=5)", "int(ge=5)", True),
        ("int(ge=1, le=5)", "int(ge=6)", False),
        ("int", "int(ge=6)", True),
        ("int(le=3)", "float(gt=5)", False),
        ("Path", "str", False),
        ("str", "Secret", False),
        ("Tensor[float32, 3, 4]", "Tensor[float32, 3, 4]", True),
        ("Tensor[float32, 3, 4]", "Tensor[float64, 3, 4]", False),
        ("Tensor[float32, 3, 4]", "Tensor[float32, 3]", False),
        ("Tensor[float32, 3, 4]", "Tensor[float32, ..., 4]", True),
        ("Tensor[float32, 4]", "Tensor[float32, ..., 4]", True),
        ("Tensor[float32, 3, 4]", "Tensor[float32, ..., 5]", False),
        ("Tensor[float32, 3, 4]", "Tensor[float32, 3, ..., 9, 4]", False),
        ("Tensor[float32, ...]", "Tensor[float32, 3, 4]", True),
        ("Tensor[float32, Any, 4]", "Tensor[float32, 3, 4]", True),
        ("Tensor[float32]", "Tensor[float32, 3, 4]", True),
    ],
)
def test_assignable(source, target, fits):
    assert assignable(parse(source), parse(target), CLASSES) is fits


@pytest.mark.parametrize(
    ("takes", "given", "bound"),
    [
        (["list['T]"], ["list[int]"], {"'T": "int"}),
        (["'T", "'T"], ["int", "float"], {"'T": "float"}),
        (["'T", "'T"], ["float", "int"], {"'T": "float"}),
        (["'T", "'T"], ["Any", "int"], {"'T": "int"}),
        (["'T | None"], ["int | None"], {"'T": "int"}),
        (["dict[str, 'T]"], ["Metrics"], {}),
        (["m:Table['C]"], ["m:Table[{a: int64}]"], {"'C": "{a: int64}"}),
        (["Dataset['C]"], ["FeatureSet[{a: int64}]"], {"'C": "{a: int64}"}),
        (["Dataset['C]"], ["Dataset"], {}),
        (["list[m:Model['C]]"], ["list[m:Model[{a: str}] | m:Model[{b: str, a: str}]]"], {"'C": "{b: str, a: str}"}),
        (["m:Model['C]", "m:Table['C]"], ["m:Model[{a: str, b: str}]", "m:Table[{a: str}]"], {"'C": "{a: str}"}),
        (["Tensor['D, 'n, 4]"], ["Tensor[float32, 3, 4]"], {"'D": "float32", "'n": 3}),
        (["Tensor[float32, ..., 'n]"], ["Tensor[float32, 3, 4]"], {"'n": 4}),
        (["'T", "'T"], ["int", "str"], "T"),
        (["Tensor[float32, 'n]", "Tensor[float32, 'n]"], ["Tensor[float32, 3]", "Tensor[float32, 4]"], "n"),
        (["Dataset['C]", "Dataset['C]"], ["Dataset[{a: str}]", "Dataset[{b: str}]"], "C"),
    ],
)  # fmt: skip
def test_variables_are_bound_by_arguments(takes, given, bound):
    names = "ab"[: len(takes)]
    bindings, conflicts = solve(
        dict(zip(names, map(parse, takes), strict=True)),
        dict(zip(names, map(parse, given), strict=True)),
        CLASSES,
    )
    if isinstance(bound, str):
        (conflict,) = conflicts
        assert (conflict.variable, conflict.first, conflict.second) == (bound, "a", "b")
    else:
        assert not conflicts
        assert {name: of if isinstance(of, int) else str(of) for name, of in bindings.items()} == bound


def test_bindings_are_written_into_types():
    bindings = {"'T": parse("int"), "'n": 3}
    assert str(substitute(parse("list['T | None]"), bindings)) == "list[int | None]"
    assert str(substitute(parse("Tensor[float32, 'n, 'other]"), bindings)) == "Tensor[float32, 3, Any]"
    assert str(substitute(parse("'U"), bindings)) == "Any"
    assert str(substitute(parse("'T[str]"), bindings)) == "str", "beyond its bound"
    assert str(substitute(parse("'T[float]"), bindings)) == "int"


@pytest.mark.parametrize(
    ("value", "text", "converted"),
    [
        ("red", "m:Colour", "red"),
        ("blue", "m:Colour", None),
        ({"rate": 0.5}, "m:Params", {"rate": 0.5, "trees": 5}),
        ({"rate": 2}, "m:Params", None),
        ({"trees": 2}, "m:Params", None),
        ({"rate": 0.5, "tree": 2}, "m:Params", None),
        ({"inner": {"rate": 1}}, "m:Nested", {"inner": {"rate": 1.0, "trees": 5}}),
        ([3], "list[int(ge=1, le=3)](max_length=1)", [3]),
        ([4], "list[int(ge=1, le=3)](max_length=1)", None),
        ([1, 1], "list[int(ge=1, le=3)](max_length=1)", None),
        (5, "int(ge=1e30)", None),  # no bound that msgspec can check
        (5, "int(ge=1e30) | m:Colour", None),
        ("env:HOME", "Secret", "env:HOME"),
        ("hunter2", "Secret", None),
        ("a/b", "Path", "a/b"),
    ],
)
def test_convert_by_what_the_plan_says_of_classes(value, text, converted):
    if converted is None:
        with pytest.raises(msgspec.ValidationError):
            convert(value, parse(text), CLASSES)
    else:
        assert msgspec.to_builtins(convert(value, parse(text), CLASSES)) == converted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int", ""),
        ("int(ge=1, le=100)", "from 1 to 100"),
        ("float(gt=0, lt=1)", "more than 0 and less than 1"),
        ("str(min_length=2)", "at least 2 characters long"),
        ("list(max_length=2)", "at most 2 items long"),
        ('str(pattern="^a")', "text that matches `^a`"),
    ],
)
def test_bounds_in_words(text, words):
    assert requirement(parse(text)) == words


class Columns:
    def __init__(self, **columns):
        self.columns = columns

    def __flow_columns__(self):
        return self.columns


@pytest.mark.parametrize(
    ("value", "text", "wrong"),
    [
        (np.zeros((3, 4), np.float32), "Tensor[float32, 'n, 4]", ""),
        (np.zeros((3, 4)), "Tensor[float32, 'n, 4]", "must be `Tensor[float32, n, 4]`, and is `float64` [3, 4]"),
        (np.zeros((3, 5)), "Tensor['D, 'n, 4]", "must be `Tensor[D, n, 4]`, and is `float64` [3, 5]"),
        (np.zeros((3, 5)), "Tensor[float64, 5]", "must be `Tensor[float64, 5]`, and is `float64` [3, 5]"),
        (np.zeros((3, 4)), "Tensor[float64, 'n, 'n]", "must be `Tensor[float64, n, n]` with 3 where it has 4, and is `float64` [3, 4]"),
        ([np.zeros(2), np.zeros(3)], "list[Tensor[float64, 'n]]", "in item 1 must be `Tensor[float64, n]` with 2 where it has 3, and is `float64` [3]"),
        (None, "Tensor[float64, 4] | None", ""),
        (Columns(a="float64", b="str"), "Dataset[{a: float64}]", ""),
        (Columns(a="float32"), "Dataset[{a: float64}]", "must have the column `a: float64`, and has `float32` there"),
        (Columns(), "Dataset[{a: float64}]", "must have the column `a: float64`, and does not have it"),
        ("b", 'str(column_of="data")', "must be a column of `data`, which has no `b`"),
        ("a", 'str(column_of="data")', ""),
        (["a", "b"], 'list[str(column_of="data")]', "in item 1 must be a column of `data`, which has no `b`"),
        (3, "int", ""),
    ],
)  # fmt: skip
def test_what_only_a_run_can_tell(value, text, wrong):
    assert violation(value, parse(text), {}, {"data": Columns(a="float64")}) == wrong


def test_a_dimension_is_one_size_in_all_of_a_call():
    sizes = {}
    assert violation(np.zeros(3), parse("Tensor[float64, 'n]"), sizes, {}) == ""
    assert sizes == {"'n": 3}
    assert violation(np.zeros(4), parse("Tensor[float64, 'n]"), sizes, {}) != ""


def test_a_type_is_made_of_hashable_parts():
    assert len({parse("{a: int}"), Type("{}", (Type("int"),), ("a",)), parse("int(ge=1)")}) == 2

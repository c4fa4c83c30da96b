"""What is said of wrong columns, bounds, secrets, variables and shapes."""

# ruff: noqa: E501 - a case a line

import pytest

HEAD = """
from typing import Annotated, Any, TypeVar
from flowc import operator, workflow
from flowc.types import *

T = TypeVar("T")
C = TypeVar("C", bound=Schema)
N = TypeVar("N", bound=float)

class People(Schema):
    age: float
    label: int64

class Labelled(Schema):
    label: int64

class Params(HyperparameterSet):
    rate: Annotated[float, Range(0, 1)]
    trees: Annotated[int, Range(1, 9)] = 3

@operator
def load(path: str = "") -> Dataset[People]: ...
@operator
def load_any() -> Dataset: ...
@operator
def halves(data: Dataset[C]) -> list[Dataset[C]]: ...
@operator
def shuffled(data: Dataset[C]) -> Dataset[C]: ...
@operator
def without(data: Dataset, names: list[Annotated[str, ColumnOf("data")]]) -> Dataset[Labelled]: ...
@operator
def train(data: Dataset[Labelled], target: Annotated[str, ColumnOf("data", int64)] = "label") -> float: ...
@operator
def fit(params: Params, depth: Annotated[int, Range(1, 9)] = 3, key: Secret | None = None) -> float: ...
@operator
def first(items: list[T]) -> T: ...
@operator
def same(one: T, other: T) -> T: ...
@operator
def most(of: list[N]) -> N: ...
@operator
def text() -> str: ...
@operator
def number(of: int) -> int: ...
@operator
def x(rows: int) -> Tensor[float32, 8, 4]: ...
@operator
def y() -> Tensor[int64, 9]: ...
@operator
def learn(x: Tensor[float32, "n", 4], y: Tensor[int64, "n"]) -> Tensor[float32, "n"]: ...
@operator
def nine(x: Tensor[Any, 9]) -> int: ...
"""


def compiled(project, body, parameters=""):
    return project.compile(f"{HEAD}\n@workflow\ndef main({parameters}):\n    return {body}\n")


@pytest.mark.parametrize(
    "body",
    [
        "train(shuffled(load()))",
        "train(load_any(), target='anything')",
        "train(without(load(), ['age']))",
        "train(first(halves(load())))",
        "[train(d) for d in (load(), load_any())]",
        "fit(Params(rate=0.5), key=Secret('env:KEY'))",
        "fit({'rate': 0.5})",
        "number(first([1, 2]))",
        "number(same(1, 2))",
        "most([1, 2.5])",
        "fit(Params(rate=1), depth=first([number(3)]))",
        "learn(x(1), y()) if False else x(2)",
    ],
)
def test_what_fits(project, body):
    assert compiled(project, body).nodes


@pytest.mark.parametrize(
    ("body", "code", "underlined", "message"),
    [
        ("train(load(), target='lable')", "FC106", "'lable'", "`train` takes the column `lable` of `data`, which has no column of that name"),
        ("train(load(), target='age')", "FC106", "'age'", "`train` expects a column of type `int64` for `target`; `age` is `float64`"),
        ("train(without(load(), []), target='age')", "FC106", "'age'", "`train` takes the column `age` of `data`, which has no column of that name"),
        ("without(load(), ['age', 'size'])", "FC106", "'size'", "`without` takes the column `size` of `data`, which has no column of that name"),
        ("fit(Params(rate=0.5), depth=10)", "FC105", "10", "`fit` expects `depth` to be from 1 to 9, got `10`"),
        ("fit({'rate': 2})", "FC105", "2", "`fit` expects `params['rate']` to be from 0 to 1, got `2`"),
        ("fit({'rate': 'x'})", "FC101", "'x'", "`fit` expects `float(0..1)` for `params['rate']`, got `str`"),
        ("fit({'rat': 1})", "FC101", "{'rat': 1}", "`fit` expects `Params` for `params`, got `dict[str, int]`"),
        ("same(1, 'a')", "FC104", "'a'", "`same` expects the same `T` in `one` and `other`, got `int` and `str`"),
        ("learn(x(1), y())", "FC104", "y()", "`learn` expects the same `n` in `x` and `y`, got 8 and 9"),
        ("most([1, text()])", "FC101", "text()", "`most` expects `float` for `of[1]`, got `str`"),
        ("number(first([text()]))", "FC101", "first([text()])", "`number` expects `int` for `of`, got `str`"),
        ("nine(x(1))", "FC108", "x(1)", "`nine` expects `Tensor[Any, 9]` for `x`, got `Tensor[float32, 8, 4]`"),
        ("learn(x(1), load_any())", "FC101", "load_any()", "`learn` expects `Tensor[int64, 8]` for `y`, got `Dataset`"),
    ],
)  # fmt: skip
def test_what_does_not_fit(project, body, code, underlined, message):
    found = project.refused(f"{HEAD}\n@workflow\ndef main():\n    return {body}\n")
    place = found[0].labels[0].place
    line = (project.folder / "flow.py").read_text().splitlines()[place.line - 1]
    assert (found[0].code, found[0].message) == (code, message)
    assert line[place.column - 1 : place.end_column - 1] == underlined


def test_a_result_shapes_what_comes_after(project):
    source = f"{HEAD}\n@workflow\ndef main(z):\n    return nine(learn(x(1), z))\n"
    (diagnostic,) = project.refused(source)
    assert diagnostic.message == "`nine` expects `Tensor[Any, 9]` for `x`, got `Tensor[float32, 8]`"


def test_the_operator_that_gives_other_columns_is_named(project):
    source = f"{HEAD}\nclass Ages(Schema):\n    age: float\n    lable: int\n@operator\ndef ages() -> Dataset[Ages]: ...\n@workflow\ndef main():\n    data = ages()\n    return train(data)\n"
    (diagnostic,) = project.refused(source)
    assert diagnostic.message == (
        "`train` expects the column `label: int64` in `data`; `ages` gives `age: float64`, `lable: int64`"
    )
    assert diagnostic.hint == "did you mean `lable` for `label`?"
    assert [label.text for label in diagnostic.labels] == [
        "this is `Dataset[{age: float64, lable: int64}]`",
        "made here",
    ]


@pytest.mark.parametrize("parameters", ["key: Secret = 'hunter2'", "rate: int = 3"])
def test_a_secret_is_never_shown(project, parameters):
    from flowc.plan.diagnostics import render

    source = f"{HEAD}\n@workflow\ndef main({parameters}):\n    return fit(Params(rate=1), key='hunter2')\n"
    for diagnostic in project.refused(source):
        assert diagnostic.code == "FC107"
        assert "hunter2" not in render(diagnostic)


def test_defaults_of_inputs_are_within_bounds(project):
    source = f"{HEAD}\n@workflow\ndef main(depth: Annotated[int, Range(1, 9)] = 10):\n    return fit(Params(rate=1), depth=depth)\n"
    (diagnostic,) = project.refused(source)
    assert diagnostic.code == "FC105"
    assert diagnostic.message == "the default of input `depth` must be from 1 to 9, got `10`"


def test_a_bound_that_makes_no_sense_is_no_annotation(project):
    (diagnostic,) = project.refused(
        "from typing import Annotated\nfrom flowc import *\nfrom flowc.types import *\n@operator\ndef f(a: Annotated[str, Range(1, 2)]) -> int: ...\n@workflow\ndef main():\n    return f('a')\n"
    )
    assert diagnostic.code == "FC102"


def test_nodes_of_one_site_may_differ(project):
    plan = compiled(project, "[first([v]) for v in (1, 'a')]")
    assert [site.gives for site in plan.sites] == ["'T"]
    source = f"{HEAD}\n@workflow\ndef main():\n    return [number(first([v])) for v in (1, 'a')]\n"
    (diagnostic,) = project.refused(source)
    assert diagnostic.message == "`number` expects `int` for `of`, got `str`"


def test_a_default_column_is_written_into_the_plan(project):
    plan = compiled(project, "train(load())")
    assert plan.nodes[-1].args == {"data": {"from": "load"}, "target": "label"}

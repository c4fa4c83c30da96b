"""Binding what a user gives to a workflow's inputs."""

# ruff: noqa: E501 - a case a line

import pytest
from graphs import plan

from flowc.plan.diagnostics import Refused
from flowc.plan.model import Structure
from flowrun.core.inputs import bind

HEADER = plan("", inputs={"epochs": ("int", 30), "name": "str", "share": ("float | None", None)}).header


def bind_in(types, *given, earlier=None):
    return bind(plan("", inputs=types).header, given, earlier)


def refusal(*given, header=HEADER, earlier=None):
    """The diagnostics: code, message, hint."""
    with pytest.raises(Refused) as caught:
        bind(header, given, earlier)
    return [(d.code, d.message, d.hint) for d in caught.value.diagnostics]


def test_given_values_and_defaults():
    assert bind(HEADER, ["name=iris"]) == {"name": "iris", "epochs": 30, "share": None}
    assert bind(HEADER, ["epochs=5", "name=a=b", "share=0.5"]) == {"epochs": 5, "name": "a=b", "share": 0.5}


def test_a_default_is_the_value_of_its_tree():
    tree = [{"map": {"a": {"map": {}}, "b": [1]}}, None]
    assert bind_in({"x": ("Any", tree)}) == {"x": [{"a": {}, "b": [1]}, None]}


@pytest.mark.parametrize(
    ("expression", "text", "value"),
    [
        ("int", "3", 3),
        ("float", "3", 3.0),
        ("bool", "true", True),
        ("str", "3", "3"),
        ("str", "", ""),
        ("str | None", "null", None),
        ("list[int]", "[1, 2]", [1, 2]),
        ("dict[str, float]", '{"a": 1}', {"a": 1.0}),
        ('Literal["fast", "slow"]', "fast", "fast"),
    ],
)
def test_values_are_read_by_the_type(expression, text, value):
    found = bind_in({"x": expression}, f"x={text}")["x"]
    assert found == value
    assert type(found) is type(value)


def test_values_of_the_run_before_stay_unless_given_anew():
    earlier = {"name": "iris", "epochs": 7, "gone": 1}
    assert bind(HEADER, ["epochs=9"], earlier) == {"name": "iris", "epochs": 9, "share": None}


def test_missing_fr101():
    assert refusal() == [
        ("FR101", "input `name` of `main` is missing", "give it with `-i name=...`, of type `str`"),
    ]


def test_unknown_fr102():
    assert refusal("nam=x", "name=y") == [("FR102", "`main` has no input `nam`", "did you mean `name`?")]
    assert refusal("zzz=x", "name=y") == [
        (
            "FR102",
            "`main` has no input `zzz`",
            "its inputs are `epochs: int`, `name: str`, `share: float | None`",
        )
    ]
    assert refusal("x=1", header=plan("").header)[0][2] == "its inputs are none"


def test_of_the_wrong_type_fr103():
    ((code, message, _),) = refusal("epochs=many", "name=x")
    assert (code, message) == ("FR103", "input `epochs` must be of type `int`, got `many`")


def test_of_the_wrong_type_somewhere_inside_fr103():
    with pytest.raises(Refused) as caught:
        bind_in({"x": "list[int]"}, 'x=[1, "two"]')
    (problem,) = caught.value.diagnostics
    assert problem.message == 'input `x` must be of type `list[int]`, got `[1, "two"]`'
    assert problem.notes == ("Expected `int`, got `str` - at `$[1]`",)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_fr103(text):
    assert [code for code, *_ in refusal(f"share={text}", "name=x")] == ["FR103"]


def test_not_name_and_value_fr104():
    assert refusal("epochs", "name=x") == [
        ("FR104", "`-i epochs` is not NAME=VALUE", "for example `-i epochs=...`")
    ]
    assert refusal("5", "name=x")[0][2] == "for example `-i epochs=5`"


def test_everything_that_is_wrong_is_told_at_once():
    assert [code for code, *_ in refusal("epochs", "epochs=x", "other=1")] == [
        "FR104",
        "FR103",
        "FR102",
        "FR101",
    ]


def test_a_value_of_the_run_before_must_be_of_the_type_that_is_wanted_now():
    """The workflow changed between a run and its resume."""
    ((code, message, _),) = refusal("name=x", earlier={"epochs": "many"})
    assert (code, message) == ("FR103", "input `epochs` must be of type `int`, got `many`")
    assert bind(HEADER, ["epochs=3", "name=x"], {"epochs": "many"})["epochs"] == 3


def test_values_are_what_the_log_gives_back():
    """So that a resumed run has the same keys: plain JSON, and sets in one order."""
    found = bind_in({"day": "date", "tags": "set[str]"}, "day=2024-01-31", 'tags=["c", "a", "b", "d"]')
    assert found == {"day": "2024-01-31", "tags": ["a", "b", "c", "d"]}
    assert bind_in({"day": "date", "tags": "set[str]"}, earlier=found) == found
    with pytest.raises(Refused):
        bind_in({"day": "date"}, "day=tomorrow")


CLASSES = {
    "m:Mode": Structure("m:Mode", values=("fast", "good")),
    "m:Params": Structure("m:Params", {"rate": "float(ge=0, le=1)", "trees": "int"}, defaults={"trees": 3}),
}


@pytest.mark.parametrize(
    ("expression", "given", "value"),
    [
        ("int(ge=1, le=20)", "20", 20),
        ("m:Mode", "fast", "fast"),
        ("m:Params", '{"rate": 1}', {"rate": 1.0, "trees": 3}),
        ("date", "2024-02-29", "2024-02-29"),
        ("Path", "a b.csv", "a b.csv"),
        ("Secret", "env:KEY", "env:KEY"),
        ("Secret | None", "null", None),
    ],
)
def test_types_with_a_meaning(expression, given, value):
    header = plan("", inputs={"x": expression}).header
    assert bind(header, [f"x={given}"], None, CLASSES) == {"x": value}


@pytest.mark.parametrize(
    ("expression", "given", "code", "message", "notes"),
    [
        ("int(ge=1, le=20)", "50", "FR105", "input `x` must be from 1 to 20, got `50`", ()),
        ("int(ge=1, le=20)", "a", "FR103", "input `x` must be of type `int(1..20)`, got `a`", ()),
        ("m:Mode", "slow", "FR103", "input `x` must be one of `fast`, `good`, got `slow`", ()),
        ("m:Params", '{"rate": 2}', "FR103", 'input `x` must be of type `Params`, got `{"rate": 2}`', ("Expected `float` <= 1.0 - at `$.rate`",)),
        ("m:Params", '{"rat": 1}', "FR103", 'input `x` must be of type `Params`, got `{"rat": 1}`', ("Object contains unknown field `rat`",)),
        ("Secret", "hunter2", "FR106", "input `x` takes the place of a secret, not its value", ()),
        ("Secret | None", "hunter2", "FR106", "input `x` takes the place of a secret, not its value", ()),
    ],
)  # fmt: skip
def test_values_that_mean_something_else(expression, given, code, message, notes):
    header = plan("", inputs={"x": expression}).header
    with pytest.raises(Refused) as caught:
        bind(header, [f"x={given}"], None, CLASSES)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.notes) == (code, message, notes)


def test_what_only_a_class_can_tell_is_asked_of_it():
    def examine(value, of, classes):
        raise ValueError(f"{value} is no {of}")

    with pytest.raises(Refused) as caught:
        bind(plan("", inputs={"x": "m:Track"}).header, ["x=3"], None, {}, examine)
    assert caught.value.diagnostics[0].notes == ("3 is no m:Track",)

"""Binding what a user gives to a workflow's inputs."""

import pytest
from graphs import plan

from flowc.plan.diagnostics import Refused
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

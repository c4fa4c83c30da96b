"""The JSON Schema of a workflow's inputs."""

# ruff: noqa: E501 - a case a line

import pytest

from flowc.plan.model import Header, Input, Plan, Structure
from flowc.plan.schema import DRAFT, Schema, inputs_schema
from flowc.plan.types import parse

CLASSES = {
    s.type: s
    for s in (
        Structure("m:Mode", bases=("enum:Enum",), values=("fast", "good")),
        Structure("m:Params", {"rate": "float(ge=0)"}, ("HyperparameterSet",), defaults={"rate": 0.5}),
        Structure("m:Tree", {"next": "m:Tree | None", "value": "int"}, optional=("next",)),
        Structure("m:Pair", {"left": "int", "right": "str"}, positional=("left", "right")),
        Structure("m:Box", {"item": "'T"}, parameters=("T",)),
    )
}


def shown(text):
    """The schema of a type, without our annotations of what is inside."""
    found = Schema(CLASSES).of(parse(text))
    del found["x-flow-type"]
    return found


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("int(ge=1, le=9)", {"type": "integer", "x-flow-component": "number", "minimum": 1, "maximum": 9}),
        ("float(gt=0, multiple_of=0.5)", {"type": "number", "x-flow-component": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}),
        ('str(min_length=1, pattern="^a")', {"type": "string", "x-flow-component": "text", "minLength": 1, "pattern": "^a"}),
        ('Literal["a", 1]', {"x-flow-component": "select", "enum": ["a", 1]}),
        ("date", {"type": "string", "format": "date", "x-flow-component": "date-picker"}),
        ('float(component="slider", unit="cm")', {"type": "number", "x-flow-component": "slider", "x-flow-unit": "cm"}),
        ('str(column_of="data")', {"type": "string", "x-flow-component": "text", "x-flow-column-of": "data"}),
    ],
)  # fmt: skip
def test_plain_types(text, schema):
    assert shown(text) == schema


def test_containers():
    found = shown("list[int](min_length=1, max_length=2)")
    assert (found["minItems"], found["maxItems"], found["items"]["type"]) == (1, 2, "integer")
    assert shown("dict[str, date](max_length=2)")["additionalProperties"]["format"] == "date"
    assert shown("dict[str, date](max_length=2)")["maxProperties"] == 2
    assert [part["type"] for part in shown("tuple[int, str]")["prefixItems"]] == ["integer", "string"]
    assert shown("Dataset[{a: float64}]")["x-flow-columns"] == {"a": "float64"}


def test_an_optional_value_has_the_component_of_the_value():
    found = shown("date | None")
    assert found["x-flow-component"] == "date-picker"
    assert [member["type"] for member in found["anyOf"]] == ["string", "null"]
    assert shown("int | str")["x-flow-component"] == "one-of"


@pytest.mark.parametrize(
    ("text", "key", "component", "part"),
    [
        ("m:Mode", "m:Mode", "select", {"enum": ["fast", "good"]}),
        ("m:Params", "m:Params", "hyperparameter-form", {"required": [], "additionalProperties": False}),
        ("m:Pair", "m:Pair", "nested-form", {"type": "array", "items": False}),
        ("m:Tree", "m:Tree", "nested-form", {"required": ["value"]}),
        ("m:Box[int]", "m:Box[int]", "nested-form", {"required": ["item"]}),
    ],
)
def test_classes_are_definitions(text, key, component, part):
    schema = Schema(CLASSES)
    found = schema.of(parse(text))
    assert found["$ref"] == f"#/$defs/{key}"
    assert found["x-flow-component"] == component
    assert schema.definitions[key].items() >= part.items()


def test_the_inputs_of_a_plan():
    inputs = {
        "n": Input("int(ge=1)"),
        "mode": Input("m:Mode", "fast"),
        "how": Input("m:Params", {"map": {"rate": 0.1}}),
    }
    found = inputs_schema(Plan(Header(1, "m:train", inputs=inputs, about="Train."), tuple(CLASSES.values())))
    assert (found["$schema"], found["title"], found["description"]) == (DRAFT, "train", "Train.")
    assert found["required"] == ["n"]
    assert found["properties"]["mode"]["default"] == "fast"
    assert found["properties"]["how"]["default"] == {"rate": 0.1}
    assert sorted(found["$defs"]) == ["m:Mode", "m:Params"]

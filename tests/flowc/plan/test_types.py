"""Type expressions: their text, what may go where, and the values they admit."""

# ruff: noqa: E501 - a case a line

import contextlib
import datetime
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.plan.model import Structure
from flowc.plan.types import (
    ANY,
    BUILTIN,
    NONE,
    Type,
    TypeSyntaxError,
    assignable,
    convert,
    parse,
    parse_text,
    type_of_scalar,
    union,
)

IDENTIFIER = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
CLASSES = st.builds("{}:{}".format, st.lists(IDENTIFIER, min_size=1, max_size=3).map(".".join), IDENTIFIER)
PLAIN = st.sampled_from([Type(name) for name in BUILTIN if name != "Literal"]) | CLASSES.map(Type)
SCALARS = st.text(max_size=5) | st.integers() | st.booleans() | st.none()
LITERALS = st.lists(SCALARS, min_size=1, max_size=3).map(lambda args: Type("Literal", tuple(args)))


def _compound(inner):
    many = st.lists(inner, min_size=1, max_size=3)
    return (
        inner.map(lambda t: Type("list", (t,)))
        | st.tuples(inner, inner).map(lambda ts: Type("dict", ts))
        | inner.map(lambda t: Type("set", (t,)))
        | many.map(lambda ts: Type("tuple", tuple(ts)))
        | many.map(union)
    )


TYPES = st.recursive(PLAIN | LITERALS, _compound, max_leaves=8)


@given(TYPES)
def test_printing_and_parsing_are_inverse(of):
    assert parse(str(of)) == of


@given(TYPES)
def test_a_type_is_assignable_to_itself_to_any_and_to_its_optional(of):
    assert assignable(of, of)
    assert assignable(of, ANY)
    assert assignable(ANY, of)
    assert assignable(of, union([of, NONE]))


@given(TYPES, TYPES, TYPES)
def test_a_union_takes_what_a_member_takes(source, one, two):
    both = union([one, two])
    if assignable(source, one) or assignable(source, two):
        assert assignable(source, both)
    assert assignable(both, source) == (assignable(one, source) and assignable(two, source))


@given(
    st.text(alphabet='abLit[]|,:."1- ñ\\', max_size=30)
    | st.text(alphabet="{}()[]:=,|'. \"aTensorint04ge", max_size=40)
)
def test_any_text_is_a_type_or_is_refused(text):
    try:
        of = parse(text)
    except TypeSyntaxError:
        return
    assert parse(str(of)) == of


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" int ", "int"),
        ("list[ int ]", "list[int]"),
        ("None|int", "int | None"),
        ("int | str | int", "int | str"),
        ("int | (str)", None),
        ('Literal["a",1,true,null,-2]', 'Literal["a", 1, true, null, -2]'),
        ('Literal["]","\\"", "é"]', 'Literal["]", "\\"", "é"]'),
        ("a.b:C", "a.b:C"),
        ("01-my.flow:C", "01-my.flow:C"),
        ("m:Outer.Inner", "m:Outer.Inner"),
        ("größe:Länge", "größe:Länge"),
        ("unknown", None),
        ("", None),
        ("|", None),
        ("int |", None),
        ("list[int", None),
        ("list[int]]", None),
        ("list[int,,str]", None),
        ("list int", None),
        ("Literal[int]", None),
        ("Literal[", None),
        ('"text"', None),
        ("3", None),
        ("a:b:c", None),
        ("[int]", None),
        ("list[" * 60 + "int" + "]" * 60, None),
        ("list[" * 60, None),
        ("|".join(["int"] * 6000), None),
    ],
)
def test_parse(text, canonical):
    if canonical is None:
        with pytest.raises(TypeSyntaxError, match="is not a type"):
            parse(text)
    else:
        assert str(parse(text)) == canonical


def test_a_short_type_leaves_the_modules_out():
    assert parse("dict[str, a.b:C | None]").short() == "dict[str, C | None]"


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        ("int", "int", True),
        ("int", "float", True),
        ("float", "int", False),
        ("bool", "int", False),
        ("int", "bool", False),
        ("None", "int", False),
        ("None", "int | None", True),
        ("int | None", "int", False),
        ("int | None", "float | None", True),
        ("int | str", "str | int", True),
        ("int | str", "str | float", True),
        ("list[int]", "list[float]", True),
        ("list[float]", "list[int]", False),
        ("list[int]", "list", True),
        ("list", "list[int]", True),
        ("list[int]", "tuple[int]", False),
        ("list[int | str]", "list[int] | list[str]", False),
        ("list[int] | list[str]", "list[int | str]", True),
        ("tuple[int, str]", "tuple[float, str]", True),
        ("tuple[int, str]", "tuple[int]", False),
        ("dict[str, int]", "dict[str, Any]", True),
        ("dict[str, int]", "dict[str, str]", False),
        ('Literal["a"]', "str", True),
        ('Literal["a", 1]', "str", False),
        ('Literal["a", 1]', "str | int", True),
        ('Literal["a"]', 'Literal["a", "b"]', True),
        ('Literal["a", "b"]', 'Literal["a"]', False),
        ("Literal[1]", "Literal[true]", False),
        ("Literal[1]", "float", True),
        ("str", 'Literal["a"]', False),
        ("date", "datetime", False),
        ("m:A", "m:A", True),
        ("m:B", "m:A", True),
        ("m:C", "m:A", True),
        ("m:A", "m:B", False),
        ("m:X", "m:A", False),
        ("list[m:C]", "list[m:A]", True),
        ("m:Loop", "m:A", False),
        ("Any", "m:A", True),
        ("m:A", "Any", True),
        ("m:A", "Array", False),
    ],
)
def test_assignable(source, target, fits):
    bases = {"m:C": ("m:B",), "m:B": ("m:A",), "m:Loop": ("m:Pool",), "m:Pool": ("m:Loop", "m:Pool")}
    classes = {name: Structure(name, bases=above) for name, above in bases.items()}
    assert assignable(parse(source), parse(target), classes) is fits


@given(st.lists(TYPES, min_size=1, max_size=5))
def test_a_union_is_flat_without_repetition_with_none_last(members):
    found = union([*members, NONE])
    shown = [str(arg) for arg in found.args] if found.name == "|" else [str(found)]
    assert shown[-1] == "None"
    assert len(set(shown)) == len(shown)
    assert not any(isinstance(arg, Type) and arg.name == "|" for arg in found.args)


@pytest.mark.parametrize(
    ("value", "name"), [(None, "None"), (True, "bool"), (1, "int"), (0.5, "float"), ("", "str")]
)
def test_type_of_scalar(value, name):
    assert type_of_scalar(value) == Type(name)


@pytest.mark.parametrize(
    ("value", "text", "converted"),
    [
        (3, "int", 3),
        (3, "float", 3.0),
        (True, "int", None),
        (3.0, "int", None),
        (3.5, "int", None),
        ("3", "int", None),
        (None, "int | None", "NONE"),
        ([1, 2], "list[float]", [1.0, 2.0]),
        ([1, "a"], "list[int]", None),
        ([1, "a"], "tuple[int, str]", (1, "a")),
        ([1], "tuple[int, str]", None),
        ([1, 1], "set[int]", {1}),
        ({"a": 1}, "dict[str, int]", {"a": 1}),
        ("2024-02-29", "date", datetime.date(2024, 2, 29)),
        ("2023-02-29", "date", None),
        ("a", 'Literal["a", "b"]', "a"),
        ("c", 'Literal["a", "b"]', None),
        ("a", 'Literal["a"] | None', "a"),
        ({"x": 1}, "m:A", {"x": 1}),
        ({"x": 1}, "m:A | None", {"x": 1}),
        ([[1]], "Array", [[1]]),
        ("a", "list[int] | set[int]", None),
        ([1], "list[int] | set[int]", [1]),
        ("a", "Literal[true]", None),
        (True, "Literal[true]", True),
        (True, "Literal[true, 1]", True),
        (1, "Literal[true]", None),
        ({"a": 1}, "dict[Any, int]", {"a": 1}),
        ([1], "dict", None),
        ("YQ==", "bytes", b"a"),
    ],
)
def test_convert(value, text, converted):
    if converted is None:
        with pytest.raises(msgspec.ValidationError):
            convert(value, parse(text))
    else:
        found = convert(value, parse(text))
        assert found == (None if converted == "NONE" else converted)
        assert type(found) is type(None if converted == "NONE" else converted)


@given(
    TYPES,
    st.recursive(
        SCALARS, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=3), v, max_size=2)
    ),
)
def test_converting_any_value_to_any_type_gives_a_value_or_a_validation_error(of, value):
    with contextlib.suppress(msgspec.ValidationError):
        convert(value, of)


@pytest.mark.parametrize(
    ("typed", "text", "value"),
    [
        ("3", "int", 3),
        ("3", "str", "3"),
        ('"3"', "str", '"3"'),
        ("3", "float", 3.0),
        ("1e-3", "float", 0.001),
        ("[1, 2]", "list[int]", [1, 2]),
        ("a", 'Literal["a"]', "a"),
        ("a", "str | None", "a"),
        ("null", "str | None", None),
        ("true", "bool", True),
        ("2024-02-29", "date", datetime.date(2024, 2, 29)),
        ("abc", "Any", "abc"),
        ("", "str", ""),
    ],
)
def test_what_a_person_types(typed, text, value):
    assert parse_text(typed, parse(text)) == value


@pytest.mark.parametrize(
    ("typed", "text"),
    [("x", "int"), ("True", "bool"), ("NaN", "float"), ("Infinity", "float"), ("[1", "list[int]"), ("", "int"), ("1.5", "int"),
     ("[" * 100_000, "list[int]"), ("9" * 5000, "int")],
)  # fmt: skip
def test_what_a_person_types_wrongly(typed, text):
    with pytest.raises(msgspec.ValidationError):
        parse_text(typed, parse(text))


def test_every_builtin_has_a_text_and_a_meaning():
    for name in BUILTIN:
        if name != "Literal":
            assert str(parse(name)) == name
            assert json.dumps(name)
            convert(None, union([Type(name), NONE]))

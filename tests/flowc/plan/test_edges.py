"""Whether argument trees fit, and the parts that do not."""

import pytest

from flowc.plan.edges import Mismatch, mismatches, positions, select, type_of_tree
from flowc.plan.model import InputRef, Ref, Structure
from flowc.plan.types import Type, parse

STRUCTURES = {
    s.type: s
    for s in (
        Structure("m:Parts", {"train": "m:Data", "rest": "Any"}),
        Structure("m:Data", {"rows": "int", "names": "list[str]"}, positional=("rows", "names")),
        Structure("m:Child", {"train": "m:Data"}, ("m:Parts",)),
    )
}
NODES = {"n": "int", "f": "float", "s": "str", "data": "m:Data", "child": "m:Child", "maybe": "int | None"}


def type_of(ref):
    return select(parse(NODES[ref.source] if isinstance(ref, Ref) else "str"), ref.at, STRUCTURES)


@pytest.mark.parametrize(
    ("of", "path", "found"),
    [
        ("m:Parts", (), "m:Parts"),
        ("m:Parts", ("train", "names"), "list[str]"),
        ("m:Parts", ("rest", "what", "ever"), "Any"),
        ("Any", ("x",), "Any"),
        ("m:Parts", ("tset",), "tset"),
        ("m:Parts", ("train", "rows", "x"), "x"),
        ("m:Parts | None", ("train",), "train"),
        ("m:Unknown", ("x",), "x"),
    ],
)
def test_select(of, path, found):
    if path and found == path[-1]:
        with pytest.raises(KeyError) as missing:
            select(parse(of), path, STRUCTURES)
        assert missing.value.args == (found,)
    else:
        assert select(parse(of), path, STRUCTURES) == parse(found)


def test_positions_are_numbers_in_a_named_tuple():
    assert positions(parse("m:Parts"), ("train", "names"), STRUCTURES) == ("train", 1)
    assert positions(parse("m:Data"), ("rows",), STRUCTURES) == (0,)
    assert positions(parse("m:Parts"), ("rest", "x", "y"), STRUCTURES) == ("rest", "x", "y")


@pytest.mark.parametrize(
    ("tree", "of"),
    [
        (3, "int"),
        (None, "None"),
        ([], "list"),
        ([1, 2], "list[int]"),
        ([1, "a", None], "list[int | str | None]"),
        ({"map": {}}, "dict"),
        ({"map": {"a": {"from": "f"}, "b": 1}}, "dict[str, float | int]"),
        ({"from": "data", "at": ["names"]}, "list[str]"),
        ({"input": "x"}, "str"),
        ([[{"from": "n"}]], "list[list[int]]"),
    ],
)
def test_type_of_tree(tree, of):
    assert type_of_tree(tree, type_of) == parse(of)


@pytest.mark.parametrize(
    ("tree", "want", "wrong"),
    [
        (3, "int", {}),
        (3, "float", {}),
        (3.5, "int", {"": "float"}),
        (True, "int", {"": "bool"}),
        ("2024-01-01", "date", {}),
        ("x", "date", {"": "str"}),
        ("x", "str | date", {}),
        (3, "str | date", {"": "int"}),
        ("a", 'Literal["a"] | int', {}),
        ("b", 'Literal["a"] | str', {}),
        (None, "m:Parts", {"": "None"}),
        (3, "m:Parts", {"": "int"}),
        ("x", "m:Parts | None", {"": "str"}),
        (None, "m:Parts | None", {}),
        ("red", "m:Color", {}),
        ("red", "m:Color | None", {}),
        (["red"], "m:Color", {}),
        ([{"from": "n"}], "m:Color", {"": "list[int]"}),
        ({"from": "n"}, "float", {}),
        ({"from": "f"}, "int", {"": "float"}),
        ({"from": "maybe"}, "int", {"": "int | None"}),
        ({"from": "child"}, "m:Parts", {}),
        ({"from": "data"}, "m:Parts", {"": "m:Data"}),
        ({"input": "x"}, "int", {"": "str"}),
        ([1, "a", {"from": "f"}, {"from": "n"}], "list[int]", {"[1]": "str", "[2]": "float"}),
        ([], "list[int]", {}),
        ([], "str", {"": "list"}),
        ([1, "a"], "tuple[int, str]", {}),
        ([1, 2], "tuple[int, str]", {"[1]": "int"}),
        ([1], "tuple[int, str]", {"": "list[int]"}),
        ([1], "list[int] | None", {}),
        (["a"], "list[int] | None", {"": "list[str]"}),
        ([1], "Any", {}),
        ({"map": {"a": [1, "b"], "c'": 2}}, "dict[str, list[int]]", {"['a'][1]": "str", '["c\'"]': "int"}),
        ({"map": {"a": 1}}, "list[int]", {"": "dict[str, int]"}),
        ({"map": {"a": 1}}, "dict", {}),
        ([1, 1], "set[int]", {}),
        ([], "set[int]", {}),
        ([], "tuple[int, str]", {"": "list"}),
        ([1], "set", {}),
        ([1], "tuple", {}),
        (["2024-01-01"], "list[date] | None", {}),
        (["x"], "list[date] | None", {"": "list[str]"}),
        ({"map": {"k": "a"}}, 'None | dict[str, Literal["a"]]', {}),
        ({"from": "n"}, "int | None", {}),
        # a class with fields, written out: a NamedTuple as a list, all others as a map
        ([1, ["a"]], "m:Data", {}),
        ([{"from": "n"}, [1, {"from": "s"}]], "m:Data", {"[1][0]": "int"}),
        ([1], "m:Data", {"": "list[int]"}),
        ({"map": {"rows": 1, "names": []}}, "m:Data", {"": "dict[str, int | list]"}),
        ({"map": {"train": {"from": "data"}, "rest": 5}}, "m:Parts", {}),
        (
            {"map": {"train": [1.5, []], "rest": 5}},
            "m:Parts | None",
            {"": "dict[str, list[float | list] | int]"},
        ),
        ({"map": {"train": [1.5, []], "rest": 5}}, "m:Parts", {"['train'][0]": "float"}),
        ({"map": {"train": [1, []]}}, "m:Parts", {"": "dict[str, list[int | list]]"}),
        ({"map": {"train": 1, "rest": 1, "more": 1}}, "m:Parts", {"": "dict[str, int]"}),
    ],
)
def test_mismatches(tree, want, wrong):
    found = mismatches(tree, parse(want), type_of, STRUCTURES)
    assert {m.where: str(m.got) for m in found} == wrong


def test_a_mismatch_carries_the_part_and_the_path_to_it():
    tree = [1, {"map": {"k": {"from": "f"}}}]
    (found,) = mismatches(tree, parse("list[int | dict[str, int]]"), type_of, STRUCTURES)
    assert found == Mismatch((1,), parse("dict[str, float]"), parse("int | dict[str, int]"), tree[1])
    (found,) = mismatches([tree[1]], parse("list[dict[str, int]]"), type_of, STRUCTURES)
    assert found == Mismatch((0, "k"), Type("float"), Type("int"), {"from": "f"})
    assert found.where == "[0]['k']"


def test_a_reference_to_an_input():
    assert type_of(InputRef("x")) == Type("str")

"""`docs/formats/plan.md` and its JSON Schema are true: of our own plans, of mutated ones, and of the code."""

# ruff: noqa: E501 - values in a line

import functools
import importlib.util
import json
import re
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.plan import codec, types
from flowc.plan.codec import decode
from flowc.plan.diagnostics import Refused
from flowc.plan.graph import dependencies, depths
from flowc.plan.model import Header, Input, InputRef, Level, Node, Ref, Resources, Site, Span, Structure

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PAGE = (ROOT / "docs" / "formats" / "plan.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "docs" / "formats" / "plan.schema.json").read_text(encoding="utf-8"))
PLANS = sorted([*(ROOT / "plans").glob("*.jsonl"), *(ROOT / "tests" / "golden").glob("*.jsonl")])
# Each definition of the schema that is an object with members, and what the codec reads it into.
STRUCTS = {
    "plan": Header,
    "type": Structure,
    "site": Site,
    "node": Node,
    "level": Level,
    "span": Span,
    "input": Input,
    "needs": Resources,
    "from": Ref,
    "of-input": InputRef,
}

_spec = importlib.util.spec_from_file_location("second_reader", HERE / "second_reader.py")
second_reader = sys.modules["second_reader"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(second_reader)


@pytest.fixture(params=PLANS, ids=lambda path: path.name.partition(".")[0])
def plan_file(request):
    return request.param


@functools.cache
def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is installed with the dev extra")
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("flowc-type")(lambda text: not isinstance(text, str) or second_reader.is_type(text))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA, format_checker=formats)


def test_a_reader_written_from_the_page_reads_our_plans(plan_file):
    text = plan_file.read_text(encoding="utf-8")
    plan = decode(text.encode(), "p")
    graph, levels = second_reader.read(text)
    ids = [node.id for node in plan.nodes]
    depends_on = dependencies(plan.nodes)
    assert list(graph.sites.items()) == [(node.id, node.site) for node in plan.nodes]
    assert list(graph.depends_on.values()) == [{ids[s] for s in sources} for sources in depends_on]
    assert list(graph.level.values()) == depths(depends_on)
    assert levels == second_reader.level_rows(graph)
    used = {e for site in plan.sites for e in (*site.takes.values(), site.gives)}
    assert all(second_reader.is_type(text) for text in used)


def test_the_second_reader_knows_nothing_of_flowc():
    source = (HERE / "second_reader.py").read_text()
    assert re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE) == ["json", "re", "typing"]


def test_the_program_on_the_page_runs(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    program = PAGE.split("```python\n")[1].split("```")[0]
    exec(program, {})
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    graph, _ = second_reader.read((ROOT / "plans" / "iris.plan.jsonl").read_text())
    assert printed == [[str(graph.level[node]), site, node] for node, site in graph.sites.items()]


WORDS = ["int", "Any", "Literal", "list", "dict", "None", "m:C", "a-b.c:D.E", "[", "]", ",", "|", " ", '"a"', '"\\""', "1", "-2", "true", "x", "01", '"']  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=9).map("".join) | st.text(max_size=9))
def test_the_grammar_of_types_on_the_page_is_the_parsers(text):
    try:
        types.parse(text)
    except types.TypeSyntaxError:
        assert not second_reader.is_type(text)
    else:
        assert second_reader.is_type(text)


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_our_plans_validate_against_the_schema(plan_file):
    for number, row in enumerate(rows_of(plan_file), 1):
        assert not [f"{number}: {e.message}" for e in validator().iter_errors(row)]


def is_read(row):
    """Whether the codec takes the row for well formed; rows that do not belong together are well formed."""
    line = json.dumps(row).encode()
    place = codec.Place("p", 1 if row.get("kind") == "plan" else 2)
    try:
        codec._decode_row(line, place)
    except Refused:
        return False
    return True


VALUES = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 2**63 - 1, "", "a", "m:a", "m:a:b", "int", "list[int] | None", "..", "/x", "a.py:1:2", "a:0"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["from", "input", "map", "at", "type", "default", "cpus", "gpus", "a"]), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip
ROWS = [row for path in PLANS for row in rows_of(path)]
MEMBERS = sorted({member for row in ROWS for member in row} | {"root", "retries", "after", "x"})


@given(st.sampled_from(ROWS), st.sampled_from(MEMBERS), st.just(KeyError) | VALUES)
def test_the_schema_refuses_mutated_rows_as_the_codec_does(row, member, value):
    row = {name: old for name, old in row.items() if name != member}
    if value is not KeyError:
        row[member] = value
    if row.get("kind") == "type" and isinstance(row.get("fields", {}), dict):
        row.pop("positional", None)  # that it fits the fields concerns two members, which no schema says
    assert validator().is_valid(row) is is_read(row), row


@pytest.mark.parametrize("name", STRUCTS)
def test_the_schema_has_exactly_the_members_that_the_codec_reads(name):
    """What is added to a row in `model.py` is to be added to the schema, and to the page."""
    definition, fields = SCHEMA["$defs"][name], msgspec.structs.fields(STRUCTS[name])
    tag = STRUCTS[name].__struct_config__.tag
    members = [field.encode_name for field in fields]
    assert list(definition["properties"]) == (["kind", *members] if tag else members)
    assert tag is None or definition["properties"]["kind"] == {"const": tag} == {"const": name}
    assert definition["additionalProperties"] is False
    required = [field.encode_name for field in fields if field.required]
    assert definition.get("required", []) == (["kind", *required] if tag else required)
    for field in fields:
        if field.required or field.default is msgspec.UNSET:
            assert "default" not in definition["properties"][field.encode_name]
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            shown = definition["properties"][field.encode_name]["default"]
            assert shown == json.loads(msgspec.json.encode(default)), field.encode_name


def test_the_schema_and_the_page_know_every_kind_of_row():
    rows = codec._decoder.type.__args__
    kinds = [row.__struct_config__.tag for row in rows]
    assert SCHEMA["oneOf"] == [{"$ref": f"#/$defs/{kind}"} for kind in kinds]
    assert re.findall(r"^\*\*`(\w+)`\*\*:", PAGE, re.MULTILINE) == kinds
    for row in rows:
        section = PAGE.split(f"**`{row.__struct_config__.tag}`**:")[1].split("\n\n**`")[0].split("\n## ")[0]
        members = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert members == [field.encode_name for field in msgspec.structs.fields(row)]


def test_the_page_tells_the_built_in_types():
    told = re.findall(r'"(\w+)"', PAGE.split("\nname      = ")[1].split("; a class")[0])
    assert set(told) | {"Literal"} == set(types.BUILTIN)

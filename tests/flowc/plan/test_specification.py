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
from flowc.plan.graph import dependencies, depths
from flowc.plan.model import (
    FORMAT,
    Code,
    Estimate,
    Header,
    Input,
    InputRef,
    Level,
    Node,
    Package,
    Ref,
    Resources,
    Site,
    Span,
    Structure,
)

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
    "code": Code,
    "node": Node,
    "level": Level,
    "package": Package,
    "span": Span,
    "input": Input,
    "needs": Resources,
    "estimate": Estimate,
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
    used |= {e for structure in plan.structures for e in structure.fields.values()}
    used |= {declared.type for declared in plan.header.inputs.values()}
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


WORDS = ["int", "Any", "Literal", "list", "dict", "None", "m:C", "a-b.c:D.E", "[", "]", ",", "|", " ", '"a"', '"\\""', "1", "-2", "true", "x", "01", '"', "'T", "{", "}", ": ", ":", "(", ")", "ge", "=", "pattern=", "column_type=", "unit=", "1.5", "Tensor", "...", "str", "float32"]  # fmt: skip
# Texts that are nearly types, so that both readers are asked about more than the first wrong part.
TYPES = st.recursive(
    st.sampled_from(["int", "float64", "'T", "m:C", "Literal[1, \"a\"]", "Tensor[float32, 'n, 4, ...]", "int(ge=1, le=9)", "int(gt=1, ge=1)", "str(pattern=\"(\")", "str(column_of=\"d\", column_type=\"in\")", "bool(unit=1e3)", "str(max_length=1.5)", "list(min_length=-1)", "float(multiple_of=0)", "{}", "Model", "Tensor[01]", "Literal[2.0]"]),
    lambda inner: st.tuples(inner, inner, st.sampled_from(["list[{}]", "dict[{}, {}]", "{} | {}", "{{a: {}, \"b c\": {}}}", "{{a: {}, a: {}}}", "{{a:{}}}", "set[ {} ](max_length=3)", "Dataset[{}]", "m:C[{}](title=\"t\")", "{}[{}]", "{},{}"])).map(lambda t: t[2].format(*t[:2])),
    max_leaves=4,
)  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=9).map("".join) | st.text(max_size=9) | TYPES)
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
    """Whether the codec takes each member of the row for well formed; whether they agree no schema says."""
    try:
        codec._check_insides(codec._decoder.decode(json.dumps(row)))
    except ValueError:
        return False
    return row.get("kind") != "plan" or row["format"] == FORMAT


VALUES = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 2**63 - 1, 2**63, "", "a", "m:a", "m:a:b", "int", "list['T] | None", "{a: int}", "..", "/x", "a.py:1:2", "a:0", "map", "always"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["from", "input", "map", "at", "type", "default", "cpus", "gpus_max", "ms", "a"]), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip
ROWS = [row for path in PLANS for row in rows_of(path)]
MEMBERS = sorted(
    {member for row in ROWS for member in row}
    | {field.encode_name for kind in codec._decoder.type.__args__ for field in msgspec.structs.fields(kind)}
    | {"x"}
)


@given(st.sampled_from(ROWS), st.sampled_from(MEMBERS), st.just(KeyError) | VALUES)
def test_the_schema_refuses_mutated_rows_as_the_codec_does(row, member, value):
    row = {name: old for name, old in row.items() if name != member}
    if value is not KeyError:
        row[member] = value
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


def test_the_page_tells_the_built_in_types_and_notes():
    def told(rule):
        return re.findall(r'"(\w+)"', PAGE.split(f"\n{rule}")[1].split("\n\n")[0].split(" = ")[1])

    assert set(told("builtin ")[: len(types.BUILTIN)]) == set(types.BUILTIN)
    assert set(told("noted ")[: len(types.NOTES)]) == set(types.NOTES)

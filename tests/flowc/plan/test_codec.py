"""The plan file: canonical bytes, and whatever else is in a file is refused with a diagnostic."""

# ruff: noqa: E501 - a case a line

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.plan.codec import decode, encode, read
from flowc.plan.diagnostics import Refused
from flowc.plan.graph import dependencies, levels
from flowc.plan.model import Code, Header, Input, Level, Node, Package, Plan, Resources, Site, Span, Structure
from flowc.plan.parts import combined

PLAN = Plan(
    Header(1, "flows.x:main", "src", {"rate": Input("float", 0.5), "name": Input("str | None")}, [{"from": "fit[a]"}, 1]),
    (Structure("m:Data", {"rows": "int", "next": "m:Data | None"}), Structure("m:Parts", {"train": "m:Data"}, ("m:Base",))),
    (
        Site("load", "m:load", "0123456789abcdef", {"name": "str | None"}, "m:Parts", Resources(memory_mb=512), retries=2),
        Site("fit", "m:fit", "fedcba9876543210", {"data": "m:Data", "rates": "list[float]"}, "Any", imports=("numpy",)),
        Site("prep/all", "m:all", "0000000000000000", {"of": "dict[str, Any]"}),
    ),
    (
        Node("load", {"name": {"input": "name"}}),
        Node("fit[a]", {"data": {"from": "load", "at": ["train"]}, "rates": [1, {"input": "rate"}]}),
        Node("fit[b]", {"data": {"from": "load", "at": ["train"]}, "rates": []}, ("fit[a]",)),
        Node("prep[1]/all", {"of": {"map": {"a": {"from": "fit[a]"}, "b": [{"from": "fit[b]"}, None]}}}),
    ),
    (Level(0, 1, ("load",)), Level(1, 1, ("fit",)), Level(2, 1, ("fit",)), Level(3, 1, ("prep/all",))),
    (Span("load", "flows/x.py:3:5"), Span("fit", "flows/x.py:4:9"), Span("prep/all", "flows/x.py:9:1")),
)  # fmt: skip
DATA = encode(PLAN)
LINES = DATA.decode().splitlines()
ROW = {name: i for i, name in enumerate([
    "header", "Data", "Parts", "site load", "site fit", "site all", "load", "fit[a]", "fit[b]", "all",
    "level 0", "level 1", "level 2", "level 3", "span load", "span fit", "span all",
])}  # fmt: skip


def edited(name, **changes):
    """The plan's bytes with some members of one row changed; `None` removes a member."""
    row = {**json.loads(LINES[ROW[name]]), **changes}
    line = json.dumps({key: value for key, value in row.items() if value is not None})
    return as_bytes([*LINES[: ROW[name]], line, *LINES[ROW[name] + 1 :]])


def as_bytes(lines):
    return "".join(f"{line}\n" for line in lines).encode()


def without(name):
    return as_bytes([line for i, line in enumerate(LINES) if i != ROW[name]])


def refusals(data):
    """`CODE:line` of every diagnostic."""
    with pytest.raises(Refused) as refusal:
        decode(data, "p")
    assert all(d.message and d.labels[0].place.file == "p" for d in refusal.value.diagnostics)
    return [f"{d.code}:{d.labels[0].place.line}" for d in refusal.value.diagnostics]


def test_a_plan_and_its_bytes_are_inverse():
    assert decode(DATA, "p") == PLAN
    assert encode(decode(DATA, "p")) == DATA


def test_defaults_are_left_out_and_mappings_sorted():
    assert LINES[0] == (
        '{"kind":"plan","format":1,"workflow":"flows.x:main","root":"src","inputs":'
        '{"name":{"type":"str | None"},"rate":{"type":"float","default":0.5}},"result":[{"from":"fit[a]"},1]}'
    )
    assert LINES[ROW["site load"]] == (
        '{"kind":"site","site":"load","op":"m:load","code":"0123456789abcdef","takes":{"name":"str | None"},'
        '"gives":"m:Parts","needs":{"memory_mb":512},"retries":2}'
    )
    assert LINES[ROW["fit[b]"]] == (
        '{"kind":"node","id":"fit[b]","args":{"data":{"at":["train"],"from":"load"},"rates":[]},"after":["fit[a]"]}'
    )
    assert LINES[ROW["level 3"]] == '{"kind":"level","level":3,"nodes":1,"sites":["prep/all"]}'
    assert LINES[ROW["span all"]] == '{"kind":"span","site":"prep/all","at":"flows/x.py:9:1"}'


def test_defaults_that_are_written_out_mean_the_same():
    needs, estimate = {"cpus": 1.0, "memory_mb": 512, "gpus": 0}, {"ms": 0, "source": "default"}
    data = edited("site load", timeout_ms=0, needs=needs, imports=[], estimate=estimate)
    assert encode(decode(data, "p")) == DATA


@pytest.mark.parametrize("cpus", [0, 0.5, 1, 2])
def test_whole_numbers_are_written_as_such(cpus):
    site = msgspec.structs.replace(PLAN.sites[0], needs=Resources(cpus=cpus))
    row = encode(Plan(PLAN.header, sites=(site,))).splitlines()[1]
    assert json.loads(row).get("needs", {}).get("cpus", 1) == cpus


@given(st.integers(0, len(DATA) - 1))
def test_a_plan_that_is_cut_off_is_refused(at):
    assert refusals(DATA[:at])


@pytest.mark.parametrize("lines", range(len(LINES)))
def test_a_plan_that_is_cut_off_between_lines_is_refused(lines):
    (code, *_) = refusals(as_bytes(LINES[:lines]))
    assert code.partition(":")[0] == (
        "FC202" if lines == 0 else "FC204" if lines >= ROW["span load"] else code[:5]
    )


# That a class has fields shows only where one is taken.
@pytest.mark.parametrize("name", [name for name in ROW if name != "Data"])
def test_a_plan_without_one_of_its_rows_is_refused(name):
    assert refusals(without(name))


@pytest.mark.parametrize("name", ROW)
def test_a_row_twice_is_refused(name):
    lines = LINES[: ROW[name] + 1] + LINES[ROW[name] :]
    assert refusals(as_bytes(lines)) == [f"{'FC203' if name == 'header' else 'FC204'}:{ROW[name] + 2}"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # FC202: not a plan
        (b"", "FC202:1"),
        (b"\n", "FC202:1"),
        (b"\xff\xfe\n", "FC202:1"),
        (b'{"kind":"plan","format":1,"workflow":"\xff"}\n', "FC202:1"),
        (b"[" * 100_000, "FC202:1"),
        (b"[]\n", "FC202:1"),
        (b'{"kind":"run"}\n', "FC202:1"),
        (edited("header", format=None), "FC202:1"),
        (edited("header", format="1"), "FC202:1"),
        (edited("header", format=True), "FC203:1"),
        (edited("header", format=2), "FC202:1"),
        (edited("header", format=0), "FC202:1"),
        # FC203: a malformed row
        (edited("load", kind="nod"), "FC203:7"),
        (edited("load", kind=None), "FC203:7"),
        (edited("load", colour="red"), "FC203:7"),
        (edited("load", id=3), "FC203:7"),
        (edited("load", args={"name": {"form": "load"}}), "FC203:7"),
        (edited("load", args={"name": {"from": "load", "input": "name"}}), "FC203:7"),
        (edited("load", args={"name": {"map": [1]}}), "FC203:7"),
        (edited("load", args={"name": {"map": {}, "from": "load"}}), "FC203:7"),
        (edited("header", result={"form": "load"}), "FC203:1"),
        (edited("header", inputs={"rate": {"type": "flaot"}}), "FC203:1"),
        (edited("header", inputs={"rate": {"type": "float", "default": {"from": "load"}}}), "FC203:1"),
        (edited("header", inputs={"rate": {"type": "float", "default": {"k": 1}}}), "FC203:1"),
        (edited("header", root="/etc"), "FC203:1"),
        (edited("header", root="../.."), "FC203:1"),
        (edited("header", workflow="main"), "FC203:1"),
        (edited("Data", fields={"rows": "list["}), "FC203:2"),
        (edited("site load", takes={"name": "strr"}), "FC203:4"),
        (edited("site load", gives=""), "FC203:4"),
        (edited("site load", op="load"), "FC203:4"),
        (edited("site load", needs={"cpus": -1}), "FC203:4"),
        (edited("site load", needs={"memory_mb": -1}), "FC203:4"),
        (edited("site load", needs={"gpus": 0.5}), "FC203:4"),
        (edited("site load", retries=-1), "FC203:4"),
        (edited("site load", timeout_ms=-1), "FC203:4"),
        (edited("site load", estimate={"ms": 5, "source": "guessed"}), "FC203:4"),
        (edited("span load", at="flows/x.py:three"), "FC203:15"),
        (edited("span load", at="a:b:c:d"), "FC203:15"),
        (edited("span load", at="a:-3"), "FC203:15"),
        (edited("span load", at=""), "FC203:15"),
        (edited("Parts", positional=["train", "train"]), "FC203:3"),
        (edited("fit[a]", args={"rates": [2**63]}), "FC203:8"),
        (edited("header", result={"map": {"a": -(2**63) - 1}}), "FC203:1"),
        (as_bytes([LINES[0], "", *LINES[1:]]), "FC203:2"),
        (as_bytes([LINES[0], "[" * 5000, *LINES[1:]]), "FC203:2"),
        (as_bytes([LINES[0], '{"kind":"node","id":"x","args":{"a":' + "[" * 700 + "]" * 700 + "}}", *LINES[1:]]), "FC203:2"),
        (as_bytes([LINES[0], '{"kind":"node","id":""}', *LINES[1:]]), "FC203:2"),
        (DATA.replace(b"flows/x.py:3:5", b"flows/\xff.py:3:5"), "FC203:15"),
        (as_bytes([LINES[0], LINES[0], *LINES[1:]]), "FC203:2"),
        (edited("level 0", level=-1), "FC203:11"),
        (edited("site load", priority=2**63), "FC203:4"),
        (edited("fit[a]", args={"data": {"from": "load", "at": [-1]}}), "FC203:8"),
        (edited("site load", gives='str(pattern="(")'), "FC203:4"),
        # FC204: rows that do not belong together
        (DATA[:-1], "FC204:17"),
        (edited("level 1", nodes=2), "FC204:11"),
        (edited("level 1", sites=["load"]), "FC204:11"),
        (edited("level 3", level=7), "FC204:11"),
        (as_bytes([*LINES[:6], LINES[7], LINES[6], *LINES[8:]]), "FC204:7"),
        # FC205: something that is not there
        (edited("fit[a]", args={"data": {"from": "laod"}}), "FC205:8"),
        (edited("fit[a]", args={"data": {"from": "load", "at": ["tset"]}}), "FC205:8"),
        (edited("fit[b]", after=["fit[c]"]), "FC205:9"),
        (edited("load", args={"name": {"input": "nmae"}}), "FC205:7"),
        (edited("header", result={"from": "fit"}), "FC205:1"),
        (edited("header", result={"from": "load", "at": ["tset"]}), "FC205:1"),
        (edited("header", result={"input": "rate", "at": ["x"]}), "FC205:1"),
        # FC206: a circle
        (edited("load", args={"name": {"from": "load"}}), "FC206:7"),
        (edited("load", after=["all"]), "FC205:7"),
        (edited("load", after=["prep[1]/all"]), "FC206:7"),
        # FC207: an edge of the wrong type
        (edited("fit[a]", args={"data": 3}, after=["load"]), "FC207:8"),
        (edited("load", args={"nmae": "x"}), "FC207:7"),
        (edited("fit[a]", args={"dta": {"from": "load", "at": ["train"]}}), "FC207:8"),
        (edited("fit[a]", args={"data": {"from": "load"}}), "FC207:8"),
        (edited("header", inputs={"rate": {"type": "str"}, "name": {"type": "str | None"}}), "FC207:8"),
        (edited("header", inputs={"rate": {"type": "float", "default": "x"}, "name": {}}), "FC207:1"),
    ],
)  # fmt: skip
def test_an_edited_plan_is_refused_at_the_row(data, expected):
    assert refusals(data)[0] == expected


def test_every_inconsistency_is_told():
    data = edited("fit[a]", args={"data": {"from": "x"}, "rates": {"input": "y"}})
    assert refusals(data) == ["FC205:8", "FC205:8"]
    data = edited("fit[a]", args={"data": 3, "rates": ["x", 1]}, after=["load"])
    assert refusals(data) == ["FC207:8", "FC207:8"]


def circles_in(data):
    """Of every circle that a file is refused for, the path and the lines; and the notes on them."""
    with pytest.raises(Refused) as refusal:
        decode(data, "p")
    assert {d.code for d in refusal.value.diagnostics} == {"FC206"}
    prefix = "nodes wait for each other in a circle: "
    paths = [
        (d.message.removeprefix(prefix).replace("`", ""), [label.place.line for label in d.labels])
        for d in refusal.value.diagnostics
    ]
    return paths, [note for d in refusal.value.diagnostics for note in d.notes]


def test_a_circle_is_told_with_its_whole_path():
    paths, notes = circles_in(edited("fit[a]", after=["fit[b]"]))
    assert paths == [("fit[a] -> fit[b] -> fit[a]", [8, 9])]
    assert notes == []


def test_every_node_that_waits_in_a_circle_is_on_one_that_is_told():
    paths, notes = circles_in(edited("load", after=["prep[1]/all"]))
    assert paths == [
        ("load -> prep[1]/all -> fit[a] -> load", [7, 10, 8]),
        ("fit[b] -> load -> prep[1]/all -> fit[b]", [9, 7, 10]),
    ]
    assert notes == ["these 2 circles hold all 4 nodes that wait in circles, which form 1 group to mend"]


def test_circles_of_a_plan_that_was_merged_from_two():
    """Each side is a plan. One has `b` wait for `a` and `d` for `c`, the other turned both round."""
    sides = [{"b": "a", "d": "c"}, {"a": "b", "c": "d"}]
    nodes = [
        f'{{"kind":"node","id":"x[{name}]","after":["x[{side[name]}]"]}}'
        for side in sides
        for name in sorted(side)
    ]
    head = ['{"kind":"plan","format":1,"workflow":"m:w"}', '{"kind":"site","site":"x","op":"m:x","code":"0"}']
    paths, notes = circles_in(as_bytes([*head, *nodes, '{"kind":"span","site":"x","at":"m.py:1"}']))
    assert paths == [("x[b] -> x[a] -> x[b]", [3, 5]), ("x[d] -> x[c] -> x[d]", [4, 6])]
    assert "all 4 nodes" in notes[0]
    assert "2 groups" in notes[0]


def test_of_very_many_circles_some_are_told():
    names = [f"x[{i}]" for i in range(2000)]
    nodes = [f'{{"kind":"node","id":"{name}","after":["{name}"]}}' for name in names]
    head = ['{"kind":"plan","format":1,"workflow":"m:w"}', '{"kind":"site","site":"x","op":"m:x","code":"0"}']
    paths, notes = circles_in(as_bytes([*head, *nodes, '{"kind":"span","site":"x","at":"m.py:1"}']))
    assert [path for path, _ in paths] == [f"{name} -> {name}" for name in names[:20]]
    assert "20 of the 2000 nodes" in notes[0]


def test_a_node_without_a_site_and_a_site_without_nodes():
    assert refusals(without("site load")) == ["FC205:6", "FC205:14"]
    assert refusals(without("all"))[0] == "FC204:16"


def chain(size):
    nodes = tuple(
        Node(f"a#{i + 1}" if i else "a", {"x": {"from": f"a#{i}" if i > 1 else "a"}} if i else {})
        for i in range(size)
    )
    plan = Plan(
        Header(1, "m:w"),
        sites=(Site("a", "m:a", "0", {"x": "Any"}),),
        nodes=nodes,
        spans=(Span("a", "m.py:1"),),
    )
    return msgspec.structs.replace(plan, levels=levels(nodes, dependencies(nodes)))


def test_a_deep_plan_does_not_recurse():
    plan = chain(30_000)
    data = encode(plan)
    assert decode(data, "p") == plan
    with pytest.raises(Refused) as refusal:
        decode(
            data.replace(b'{"kind":"node","id":"a"}', b'{"kind":"node","id":"a","after":["a#30000"]}'), "p"
        )
    (diagnostic,) = refusal.value.diagnostics
    assert diagnostic.code == "FC206"
    assert len(diagnostic.message) < 2000
    assert len(diagnostic.labels) < 20


def test_a_deep_circle_of_bases_does_not_recurse():
    lines = [
        *LINES[:2],
        *(f'{{"kind":"type","type":"m:B{i}","bases":["m:B{(i + 1) % 5000}"]}}' for i in range(5000)),
    ]
    data = as_bytes([*lines, LINES[2].replace("m:Base", "m:B7"), *LINES[3:]]).replace(
        b'"data":"m:Data"', b'"data":"m:B5001"'
    )
    assert refusals(data)[0].startswith("FC207")


def test_reading_what_is_not_a_file(tmp_path):
    for path in (tmp_path, tmp_path / "none", tmp_path / "file" / "below"):
        (tmp_path / "file").touch()
        with pytest.raises(Refused) as refusal:
            read(path)
        assert refusal.value.diagnostics[0].code == "FC201"
    (tmp_path / "plan").write_bytes(DATA)
    assert read(tmp_path / "plan") == PLAN


def test_the_example_of_the_specification_is_a_plan_in_canonical_form():
    page = Path(__file__).parents[3] / "docs" / "formats" / "plan.md"
    example = page.read_text(encoding="utf-8").split("```\n")[1].encode()
    assert encode(decode(example, "p")) == example


PARTS = {"m:load": "0123456789abcdef", "m:RATE": "fedcba9876543210", "default name": "0" * 16}
TOLD = msgspec.structs.replace(
    PLAN,
    sites=(msgspec.structs.replace(PLAN.sites[0], code=combined(PARTS)), *PLAN.sites[1:]),
    codes=(Code("m:load", PARTS, ("numpy", "sklearn")),),
    packages=(Package("numpy", "2.4.1"),),
)


def test_what_code_is_made_of_stands_after_the_sites_and_versions_before_the_spans():
    data = encode(TOLD)
    assert decode(data, "p") == TOLD
    assert [json.loads(line)["kind"] for line in data.splitlines()] == [
        *["plan", "type", "type", "site", "site", "site", "code"],
        *["node"] * 4, *["level"] * 4, "package", *["span"] * 3,
    ]  # fmt: skip
    assert data.splitlines()[6].decode() == (
        '{"kind":"code","op":"m:load","parts":{"default name":"0000000000000000","m:RATE":"fedcba9876543210",'
        '"m:load":"0123456789abcdef"},"packages":["numpy","sklearn"]}'
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"codes": (*TOLD.codes, Code("m:other"))}, ["FC205:8"]),
        ({"codes": TOLD.codes * 2}, ["FC204:8"]),
        ({"codes": (Code("m:load", {"m:load": "0"}, ("numpy",)),)}, ["FC204:4"]),
        ({"codes": ()}, ["FC205:15"]),
        ({"packages": (*TOLD.packages, Package("torch", "1"))}, ["FC205:17"]),
        ({"packages": TOLD.packages * 2}, ["FC204:17"]),
    ],
)
def test_rows_about_code_that_do_not_belong_to_the_plan(changes, expected):
    assert refusals(encode(msgspec.structs.replace(TOLD, **changes))) == expected


def test_parts_are_combined_as_the_format_says():
    import hashlib

    lines = "default name 0000000000000000\nm:RATE fedcba9876543210\nm:load 0123456789abcdef\n"
    assert combined(PARTS) == hashlib.sha256(lines.encode()).hexdigest()[:16]


TYPED = [
    '{"kind":"plan","format":1,"workflow":"m:w"}',
    '{"kind":"site","site":"load","op":"m:load","code":"0","gives":"Dataset[{a: int64}]"}',
    """{"kind":"site","site":"mixed","op":"m:mixed","code":"0","takes":{"data":"Dataset['C]","other":"Dataset['C]"},"gives":"Dataset['C]"}""",
    r"""{"kind":"site","site":"fit","op":"m:fit","code":"0","takes":{"data":"Dataset[{a: int64}]","target":"str(column_of=\"data\")"},"gives":"float"}""",
    '{"kind":"node","id":"load"}',
    '{"kind":"node","id":"mixed","args":{"data":{"from":"load"},"other":{"from":"load"}}}',
    '{"kind":"node","id":"fit","args":{"data":{"from":"mixed"},"target":"a"}}',
    '{"kind":"level","level":0,"nodes":1,"sites":["load"]}',
    '{"kind":"level","level":1,"nodes":1,"sites":["mixed"]}',
    '{"kind":"level","level":2,"nodes":1,"sites":["fit"]}',
    *(f'{{"kind":"span","site":"{site}","at":"m.py:1"}}' for site in ("load", "mixed", "fit")),
]


def test_a_reader_binds_variables_as_the_compiler_does():
    assert encode(decode(as_bytes(TYPED), "p")) == as_bytes(TYPED)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"target":"a"',
            '"target":"b"',
            "`target` of `fit` names the column `b`, which `data` does not have",
        ),
        (
            '"gives":"Dataset[{a: int64}]"',
            '"gives":"Dataset[{b: int64}]"',
            "`data` of `fit` must be `Dataset[{a: int64}]`, but is `Dataset[{b: int64}]`",
        ),
        (
            '"other":{"from":"load"}',
            '"other":3',
            "`other` of `mixed` must be `Dataset[{a: int64}]`, but is `int`",
        ),
    ],
)
def test_generic_calls_are_checked_when_a_plan_is_read(old, new, message):
    changed = as_bytes(TYPED).replace(old.encode(), new.encode())
    with pytest.raises(Refused) as refusal:
        decode(changed, "p")
    assert [(d.code, d.message) for d in refusal.value.diagnostics] == [("FC207", message)]

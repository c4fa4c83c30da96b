"""Real plans, damaged in every way that a file can be: the reader gives a plan or diagnostics, never else.

`pytest -m slow` looks at very many; `--hypothesis-profile=search` at new ones.
"""

# ruff: noqa: E501 - values in a line

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowc.plan.codec import decode, encode
from flowc.plan.diagnostics import Refused, render
from flowc.plan.graph import bottom_levels, dependencies, dependents
from flowc.show import show

ROOT = Path(__file__).parents[3]
FILES = sorted([*(ROOT / "plans").glob("*.jsonl"), *(ROOT / "tests" / "golden").glob("*.jsonl")])
DATA = [path.read_bytes() for path in FILES]
ROWS = [data.splitlines() for data in DATA]
KNOWN = {"FC202", "FC203", "FC204", "FC205", "FC206", "FC207"}
LONGEST_S = 20.0  # no measure of speed: what hangs takes longer


def read(data):
    """Read and use a damaged plan as commands would."""
    began = time.monotonic()
    try:
        plan = decode(data, "p")
    except Refused as refusal:
        refused(refusal.diagnostics)
    else:
        used(plan)
    assert time.monotonic() - began < LONGEST_S


def refused(diagnostics):
    assert diagnostics
    assert {d.code for d in diagnostics} <= KNOWN
    for diagnostic in diagnostics[:20]:
        assert diagnostic.labels[0].place.file == "p"
        assert render(diagnostic, lambda file, line: "")


def used(plan):
    again = encode(plan)
    assert decode(again, "p") == plan
    assert encode(decode(again, "p")) == again
    depends_on = dependencies(plan.nodes)
    assert len(dependents(depends_on)) == len(bottom_levels(depends_on, [1.0] * len(depends_on)))
    assert show(plan)


def damaged_bytes():
    """A real plan with a few stretches of bytes overwritten, taken out, doubled or put in."""

    def damage(data, cuts):
        for at, length, new in cuts:
            at %= len(data) + 1
            data = data[:at] + (data[at : at + length] * 2 if new is None else new) + data[at + length :]
        return data

    telling = [b"\n", b'"', b"{", b"]", b"\\u0000", b"\xff", b"\xed\xa0\x80", b"1e999"]
    new = st.none() | st.binary(max_size=4) | st.sampled_from(telling)
    cut = st.tuples(st.integers(0, 10**5), st.integers(0, 40), new)
    return st.builds(damage, st.sampled_from(DATA), st.lists(cut, min_size=1, max_size=4))


def damaged_rows():
    """A real plan with rows left out, doubled, swapped, or taken from another plan."""

    def damage(rows, others, steps):
        rows = list(rows)
        for kind, i, j in steps:
            if not rows:
                break
            i, j = i % len(rows), j % len(rows)
            match kind:
                case "leave out":
                    del rows[i]
                case "double":
                    rows.insert(j, rows[i])
                case "swap":
                    rows[i], rows[j] = rows[j], rows[i]
                case "take":
                    rows.insert(i, others[j % len(others)])
                case "cut":
                    rows = rows[: i + 1]
        return b"".join(row + b"\n" for row in rows)

    kinds = st.sampled_from(["leave out", "double", "swap", "take", "cut"])
    step = st.tuples(kinds, st.integers(0, 200), st.integers(0, 200))
    plans = st.sampled_from(ROWS)
    return st.builds(damage, plans, plans, st.lists(step, min_size=1, max_size=5))


_TEXTS = [
    *("", "int", "list[int]", "list[" * 60, "Literal[" + "1" * 5000 + "]", "| int", "m:a", "m:a\n", "a:1:1", "..", "/"),
    *(row.get("id", row.get("site", "")) for rows in ROWS for row in map(json.loads, rows)),
]  # fmt: skip
_NUMBERS = [0, -1, 1.5, 1e308, -0.0, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, True]
_SCALARS = st.none() | st.sampled_from(_NUMBERS) | st.sampled_from(_TEXTS) | st.text(max_size=3)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["from", "input", "map", "at", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)


def _places(value, path=()):
    """The path of every part of a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def damaged_values():
    """A real plan in which parts of rows, however deep, are replaced, taken out or renamed."""

    def damage(rows, steps):
        rows = [json.loads(row) for row in rows]
        for i, at, action, value, name in steps:
            row = rows[i % len(rows)]
            paths = list(_places(row))[1:]
            if not paths:
                continue
            *way, key = paths[at % len(paths)]
            part = row
            for step in way:
                part = part[step]
            if action == "replace":
                part[key] = value
            elif action == "take out":
                del part[key]
            elif isinstance(part, dict):
                part[name] = part.pop(key)
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)

    actions = st.sampled_from(["replace", "replace", "take out", "rename"])
    names = st.sampled_from(["kind", "id", "site", "from", "input", "map", "at", "args", "default", "x"])
    step = st.tuples(st.integers(0, 200), st.integers(0, 10**4), actions, VALUES, names)
    return st.builds(damage, st.sampled_from(ROWS), st.lists(step, min_size=1, max_size=3))


DAMAGED = damaged_bytes() | damaged_rows() | damaged_values()


@given(damaged_bytes())
def test_bytes_anywhere(data):
    read(data)


@given(damaged_rows())
def test_rows_missing_doubled_swapped_and_of_other_plans(data):
    read(data)


@given(damaged_values())
def test_values_of_any_kind_at_any_depth(data):
    read(data)


@given(st.binary(max_size=200))
def test_any_bytes(data):
    with pytest.raises(Refused) as refusal:
        decode(data, "p")
    refused(refusal.value.diagnostics)


@pytest.mark.slow
@settings(max_examples=20_000)
@given(DAMAGED)
def test_very_many(data):
    read(data)


HEAD = '{"kind":"plan","format":1,"workflow":"m:w"}\n{"kind":"site","site":"x","op":"m:x","code":"","takes":{"a":"Any"}}\n'
TAIL = '{"kind":"level","level":0,"nodes":1,"sites":["x"]}\n{"kind":"span","site":"x","at":"m.py"}\n'


@pytest.mark.parametrize(
    "argument",
    [
        "[" * 100_000,
        "[" * 249 + "1" + "]" * 249,
        "[" * 2000 + "1" + "]" * 2000,
        '{"map":{"a":' * 124 + "1" + "}}" * 124,
        '{"map":{"a":' * 900 + "1" + "}}" * 900,
        '{"from":' * 400 + "1" + "}" * 400,
        "9" * 100_000,
        "1e400",
        "-1e-400",
        '"\\ud800"',
        '"' + "x" * 10**6 + '"',
        '{"map":{"' + "k" * 10**6 + '":1}}',
        "[" + ",".join(["[]"] * 10**5) + "]",
        "[" + ",".join(['{"from":"y"}'] * 10**4) + "]",
        "NaN",
        "Infinity",
        "01",
        "+1",
        "'x'",
        "{}",
        '{"from":"x","from":"x"}',
    ],
    ids=lambda text: text[:12],
)
def test_arguments_that_are_too_much(argument):
    read(f'{HEAD}{{"kind":"node","id":"x","args":{{"a":{argument}}}}}\n{TAIL}'.encode())


@pytest.mark.parametrize("expression", ["list[" * 100 + "int" + "]" * 100, "int | " * 5000 + "int", '"' * 1000, "x" * 10**6, "m:" + "x" * 10**6, 'Literal["' + '\\"' * 10**5 + '"]', "[" * 10**5, "\u2028int", "int\x00"], ids=lambda text: repr(text[:12]))  # fmt: skip
def test_types_that_are_too_much(expression):
    site = json.dumps({"kind": "site", "site": "x", "op": "m:x", "code": "", "gives": expression})
    read(
        f'{{"kind":"plan","format":1,"workflow":"m:w"}}\n{site}\n{{"kind":"node","id":"x"}}\n{TAIL}'.encode()
    )


# The second once took time by the square of its length.
@pytest.mark.parametrize("node_id", ["[" * 10**5, "x[" * 10**5, "x" + "#1" * 10**5, "x" + "[a]" * 10**5, "x#" + "1" * 10**5, "x]["], ids=lambda text: text[:5])  # fmt: skip
def test_ids_that_are_too_much(node_id):
    read(f"{HEAD}{json.dumps({'kind': 'node', 'id': node_id})}\n{TAIL}".encode())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
def test_a_plan_that_is_read_and_written_has_the_same_bytes(path):
    assert encode(decode(path.read_bytes(), "p")) == path.read_bytes()

"""Control nodes in plans that no compiler wrote: refused, or harmless."""

# ruff: noqa: E501 - a case a line

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowc.plan.codec import decode
from flowc.plan.diagnostics import Refused

GOLDEN = (Path(__file__).parents[2] / "golden" / "control.plan.jsonl").read_text().splitlines()
ROWS = [json.loads(line) for line in GOLDEN]


def edited(of, **changes):
    """The golden plan with some members of a row changed; `None` removes one. Nodes are meant if called so."""
    kind = "node" if of.startswith("node ") else "plan" if of == "plan" else "site"
    name = of.removeprefix("node ")
    rows = []
    for row in ROWS:
        if row["kind"] == kind and name in (row.get("id"), row.get("site"), row["kind"]):
            both = {**row, **changes}
            row = {key: value for key, value in both.items() if value is not None}
        rows.append(row)
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def refusals(data):
    with pytest.raises(Refused) as refusal:
        decode(data, "p")
    return [(d.code, d.message) for d in refusal.value.diagnostics]


def test_the_golden_plan_is_sound():
    assert len(decode(edited(""), "p").nodes) == 20


@pytest.mark.parametrize(
    ("of", "changes", "code", "message"),
    [
        ("plan", {"static": {"path": 1}}, "FC203", "`path` is both a static input and one of a run"),
        ("plan", {"static": {"scales": {"input": "path"}}}, "FC203", "the static input `scales` refers to"),
        ("plan", {"static": {"scales": {"x": 1}}}, "FC203", "malformed row"),
        ("node tell", {"after": None}, "FC203", "the trigger `failure` needs nodes to wait for"),
        ("node tell", {"trigger": "sometimes"}, "FC203", "Invalid enum value"),
        ("scores", {"needs": {"gpus": 5, "gpus_max": 4}}, "FC203", "`gpus_max` is 4, less than `gpus`, which is 5"),
        ("scores", {"each": None}, "FC203", "`each` of a site with the control `map` must name 1"),
        ("scores", {"each": ["scale", "region"]}, "FC203", "must name 1"),
        ("scores", {"each": ["scale"]}, "FC203", "the control `map` needs `scale` of type `list`"),
        ("scores", {"each": ["what"]}, "FC203", "needs `what` of type `list`"),
        ("scores", {"control": None}, "FC203", "`each` of a site with the control `none` must name 0"),
        ("scores", {"control": "loop"}, "FC203", "Invalid enum value"),
        ("add", {"each": ["left"]}, "FC203", "must name 2"),
        ("add", {"each": ["left", "left"]}, "FC203", "must name 2"),
        ("add", {"takes": {"items": "float", "initial": "float"}}, "FC203", "needs `items` of type `list`"),
        ("add", {"key": "name"}, "FC203", "`key` is for sites with the control `map`"),
        ("choice.if", {"takes": {"condition": "int"}}, "FC203", "needs `condition` of type `bool`"),
        ("choice", {"takes": {"then": "str", "otherwise": "str"}}, "FC203", "needs `condition`"),
        ("node publish", {"when": ["exceeds"]}, "FC204", "`publish` depends on `exceeds`, which is no branch"),
        ("node publish", {"unless": ["choice"]}, "FC204", "depends on `choice`, which is no branch"),
        ("node publish", {"when": ["nobody"]}, "FC205", "`publish` waits for node `nobody`"),
        ("node scores[1]", {"args": {"scale": 1.0}}, "FC204", "`scores[1]` is not given `region`"),
        ("node add[1]", {"args": {}}, "FC204", "`add[1]` is not given `items`"),
        ("node choice.if", {"args": {}}, "FC204", "`choice.if` is not given `condition`"),
        ("node choice", {"args": {"condition": {"from": "exceeds"}}}, "FC204", "the condition of `choice` is no branch"),
        ("node choice", {"args": {"condition": True}}, "FC204", "the condition of `choice` is no branch"),
        ("node choice", {"args": {"condition": {"from": "choice.if"}, "else": 1}}, "FC207", "is given `else`"),
        ("node tell", {"id": "scores"}, "FC204", "`scores[2]` is called like a node of the loop `scores`"),
    ],
)  # fmt: skip
def test_what_is_refused(of, changes, code, message):
    found = refusals(edited(of, **changes))
    assert any(c == code and message in m for c, m in found), found


values = st.sampled_from(
    [
        *(
            "",
            "choice.if",
            "scores[1]",
            "found",
            "region",
            "items",
            "map",
            "choose",
            "always",
            0,
            -1,
            True,
            None,
        ),
        *([], ["choice.if"], ["found"], ["region"], {}, {"from": "when.if"}, {"input": "quick"}, {"map": {}}),
        {"condition": True},
        {"condition": {"from": "choice.if"}, "then": {"from": "scores[1]", "at": [0, "x"]}},
    ]
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, len(ROWS) - 1), st.integers(0, 20), values), min_size=1, max_size=3))
def test_whatever_else_is_written_there(changes):
    rows = [dict(row) for row in ROWS]
    known = sorted({key for row in ROWS for key in row})
    for row, member, value in changes:
        rows[row][known[member % len(known)]] = value
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert problems(data) <= {"FC201", "FC202", "FC203", "FC204", "FC205", "FC206", "FC207"}


def problems(data):
    """The codes of what is wrong with a plan, which may be nothing."""
    try:
        decode(data, "p")
    except Refused as refusal:
        return {diagnostic.code for diagnostic in refusal.diagnostics}
    return set()

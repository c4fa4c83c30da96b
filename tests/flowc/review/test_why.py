"""Why a node has to run again, between two plans compiled from sources."""

import msgspec
import pytest

from flowc.plan.diagnostics import Refused
from flowc.plan.model import Package
from flowc.review.why import Difference, as_text, why

OPS = """
from flowc import operator, workflow
import helpers

@operator
def load(n: int = 3) -> list[float]:
    return helpers.clean([float(n)])

@operator(retries=1)
def fit(data: list[float], rate: float = 0.1) -> float:
    return sum(data) * rate

@operator
def score(model: float, data: list[float]) -> float:
    import numpy as np
    return float(np.sum(data)) * model

@workflow
def main(rate: float = 0.5):
    data = load()
    model = fit(data, rate)
    result = score(model, data)
    return result
"""
HELPERS = """
SCALE = 2
def clean(x):
    return [SCALE * y for y in x]
"""


@pytest.fixture
def reasons(project):
    """Why a node has to run again after changes to the sources, each `(old text, new text)`."""

    def reasons(*changes, node="result"):
        before, after = OPS, OPS
        helpers_before, helpers_after = HELPERS, HELPERS
        for old, new in changes:
            assert old in OPS + HELPERS
            after, helpers_after = after.replace(old, new), helpers_after.replace(old, new)
        project.write("helpers.py", helpers_before)
        old_plan = project.compile(before)
        project.write("helpers.py", helpers_after)
        return why(old_plan, project.compile(after), node)

    return reasons


def said(differences):
    """`what name` of each difference, with both sides where people see them."""
    shown = []
    for one in differences:
        values = "" if len(one.before + one.after) >= 16 else f": {one.before} -> {one.after}"
        shown.append(f"{one.what} {one.name}{values}")
    return shown


OWN = [
    ("score", ("* model", "+ model"), ["own code flow:score"]),
    ("fit", ("0.1", "0.2"), ["default rate"]),
    ("load", ("SCALE = 2", "SCALE = 3"), ["code helpers:SCALE"]),
    ("load", ("load()", "load(4)"), ["argument n:  -> 4"]),
    ("load", ("load()", "load(n=5)"), ["argument n:  -> 5"]),
    ("model", ("rate: float = 0.5", "rate: float = 0.6"), ["input rate: 0.5 -> 0.6"]),
    ("model", ("fit(data, rate)", "fit(data, 0.7)"), ['argument rate: {"input":"rate"} -> 0.7']),
    ("result", ("score(model, data)", "fit(data, model)"), ["operator ", "code", "argument"]),
]


@pytest.mark.parametrize(("node", "change", "expected"), OWN[:-1])
def test_what_of_the_node_itself_changed(reasons, node, change, expected):
    node = {"load": "data", "fit": "model", "score": "result"}.get(node, node)
    found = reasons(change, node=node)
    assert [text.replace('{"input":"rate"}', "rate") for text in said(found.reasons)] == [
        text if len(text) < 30 else "argument rate" for text in expected
    ]
    assert found.runs_again
    assert found.upstream == ()


def test_another_operator(reasons):
    found = reasons(("score(model, data)", "fit(data, model)"))
    assert found.reasons[0] == Difference("operator", "", "flow:score", "flow:fit")
    assert found.runs_again


@pytest.mark.parametrize(
    "change",
    [
        ("return sum", "# why\n    return (sum)"),
        ("import helpers", "import helpers\n\nunused = 1"),
        ("sum(data) * rate", "sum(data)*rate"),
    ],
)
def test_what_changed_nothing(reasons, change):
    found = reasons(change)
    assert (found.runs_again, found.reasons, found.upstream, found.no_reasons) == (False, (), (), ())


def test_the_first_causes_upstream(reasons):
    found = reasons(("SCALE = 2", "SCALE = 3"), ("return sum", "return 2 * sum"))
    assert found.runs_again
    assert found.reasons == ()
    assert [(one.node, said(one.reasons)) for one in found.upstream] == [
        ("data", ["code helpers:SCALE"]),
        ("model", ["own code flow:fit"]),
    ]


def test_what_only_changes_how_it_runs_is_no_reason(reasons):
    found = reasons(("retries=1", "retries=2, memory='1GB'"), node="model")
    assert not found.runs_again
    assert said(found.no_reasons) == ["declared needs", "declared retries: 1 -> 2"]


def test_a_node_upstream_that_is_only_called_otherwise_is_no_reason(reasons):
    found = reasons(
        ("data = load()", "rows = load()"),
        ("fit(data, rate)", "fit(rows, rate)"),
        ("score(model, data)", "score(model, rows)"),
    )
    assert (found.runs_again, found.reasons) == (False, ())


def test_another_source_of_an_argument(reasons):
    found = reasons(("score(model, data)", "score(model, load(9))"))
    assert [one.name for one in found.reasons] == ["data"]
    assert found.runs_again


def test_the_version_of_a_package(project):
    project.write("helpers.py", HELPERS)
    plan = project.compile(OPS)
    assert [row.package for row in plan.packages] == ["numpy"]
    newer = msgspec.structs.replace(plan, packages=(Package("numpy", "99.0"),))
    found = why(plan, newer, "result")
    assert found.reasons == (Difference("package", "numpy", plan.packages[0].version, "99.0"),)
    assert found.runs_again
    assert not why(plan, newer, "model").runs_again
    assert "the package numpy:" in as_text(found)


def test_a_plan_that_does_not_tell_of_code(project):
    project.write("helpers.py", HELPERS)
    plan = msgspec.structs.replace(project.compile(OPS), codes=(), packages=())
    other = msgspec.structs.replace(
        plan, sites=tuple(msgspec.structs.replace(site, code="0" * 16) for site in plan.sites)
    )
    assert [one.what for one in why(plan, other, "data").reasons] == ["code"]


def test_the_answer_as_text(reasons):
    found = reasons(
        ("SCALE = 2", "SCALE = 3"),
        ("rate: float = 0.5", "rate: float = 0.6"),
        ("retries=1", "retries=2"),
        node="model",
    )
    assert as_text(found).splitlines() == [
        "`model` has to run again",
        "  the default of the workflow's input `rate`: 0.5 -> 0.6",
        "  1 node changed on the way to it:",
        "    `data`",
        "      its code reaches `helpers:SCALE`, which changed",
        "  changed, but no reason:",
        "    `retries`: 1 -> 2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "node", "code", "hint"),
    [
        (("* model", "+ model"), "reslt", "FC236", "did you mean `result`?"),
        (("result", "outcome"), "result", "FC237", "the other plan has `outcome`, of the same operator"),
        (("result", "outcome"), "outcome", "FC237", "the other plan has `result`, of the same operator"),
        (("def main", "def other"), "result", "FC238", "compare two plans of one workflow"),
    ],
)
def test_what_cannot_be_compared(project, change, node, code, hint):
    project.write("helpers.py", HELPERS)
    before = project.compile(OPS)
    project.write("flow.py", OPS.replace(*change))
    after = project.plan("flow.py:other" if "other" in change[1] else "flow.py:main")
    with pytest.raises(Refused) as refusal:
        why(before, after, node)
    assert [(d.code, d.hint) for d in refusal.value.diagnostics] == [(code, hint)]

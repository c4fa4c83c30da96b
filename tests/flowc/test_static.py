"""Static inputs: what they are given, what they decide, and what is wrong."""

# ruff: noqa: E501 - a case a line

import json
import subprocess
import sys

import pytest

from flowc.compiler import compile_workflow
from flowc.plan.diagnostics import Refused
from flowc.source import load
from flowc.static import texts_of

SOURCE = """
from typing import Literal
from flowc import Static
from ops import *

@workflow
def main(
    rate: float,
    folds: Static[int],
    kind: Static[Literal["a", "b"]] = "a",
    sizes: Static[dict[str, list[int]]] = {"x": [1]},
    note: Static[str | None] = None,
):
    return [fit([size], rate) for size in sizes["x"] for fold in range(folds)]
"""


@pytest.fixture
def workflow(project):
    project.write("flow.py", SOURCE)
    return load("flow.py:main").workflow


def compiled(workflow, **static):
    return compile_workflow(workflow, ".", static)


def problems(workflow, **static):
    with pytest.raises(Refused) as refusal:
        compiled(workflow, **static)
    assert {d.code for d in refusal.value.diagnostics} == {"FC025"}
    return [(d.message, d.hint) for d in refusal.value.diagnostics]


def test_they_shape_the_plan_and_stand_in_it(workflow):
    plan = compiled(workflow, folds="3", sizes='{"x": [1, 2]}')
    assert len(plan.nodes) == 6
    assert [*plan.header.inputs] == ["rate"]
    sizes = {"map": {"x": [1, 2]}}
    assert plan.header.static == {"folds": 3, "kind": "a", "sizes": sizes, "note": None}


def test_as_texts_or_as_values(workflow):
    assert compiled(workflow, folds=2) == compiled(workflow, folds="2")
    assert compiled(workflow, folds=1, kind="b").header.static["kind"] == "b"


def test_everything_that_is_wrong_at_once(workflow):
    assert problems(workflow, kind="c", rate="1", fold="2") == [
        ("input `rate` of `main` is not static", "give it when the plan is executed, or declare it `rate: Static[...]`"),
        ("`main` has no static input `fold`", "did you mean `folds`?"),
        ("static input `folds` of `main` has no value", "give it with `--static folds=...`, of type `int`"),
        ('static input `kind` must be of type `Literal["a", "b"]`, got `c`', ""),
    ]  # fmt: skip


def test_a_default_that_cannot_be_written(project):
    source = "from flowc import Static, workflow\n\n@workflow\ndef main(x: Static[int] = object()):\n    return 1\n"
    (found,) = project.refused(source)
    assert (found.code, found.labels[0].place.line) == ("FC021", 4)


def test_a_workflow_with_static_inputs_within_another(project):
    source = """
    from flowc import Static
    from ops import *

    @workflow
    def inner(folds: Static[int]):
        return [fit([fold]) for fold in range(folds)]

    @workflow
    def main(n: int):
        return inner(2), inner(folds=n)
    """
    (found,) = project.refused(source)
    assert (found.code, found.labels[0].place.line) == ("FC027", 10)


@pytest.mark.parametrize(
    ("tree", "of", "text"),
    [
        (3, "int", "3"),
        ("3", "str", "3"),
        ("3", "str | int", '"3"'),
        (None, "str | None", "null"),
        ({"map": {"x": [1, {"map": {}}]}}, "dict", '{"x":[1,{}]}'),
    ],
)
def test_a_value_of_a_plan_as_text(tree, of, text):
    from flowc.plan.types import parse

    assert texts_of({"it": tree, "gone": 1}, {"it": parse(of)}) == {"it": text}


def test_a_check_takes_those_of_the_committed_plan(project):
    project.write("flow.py", SOURCE)

    def flowc(*words):
        command = [
            sys.executable,
            "-c",
            "from flowc.cli import main; main()",
            "compile",
            "flow.py:main",
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True)

    static = ["--static", "folds=2", "--static", 'sizes={"x": [1, 2], "y": []}', "--static", 'note="1"']
    assert flowc(*static).returncode == 0
    assert flowc("--check").returncode == 0
    differs = flowc("--check", "--static", "folds=3")
    assert differs.returncode == 1
    assert "flowc compile flow.py:main --static folds=3" in differs.stderr
    # One that the source does not have any more is no mistake of who checks.
    project.write("flow.py", SOURCE.replace("    note: Static[str | None] = None,\n", ""))
    gone = flowc("--check")
    assert "FC209" in gone.stderr
    assert "FC025" not in gone.stderr
    plan = (project.folder / "plans/main.plan.jsonl").read_text().splitlines()[0]
    assert json.loads(plan)["static"]["note"] == "1"

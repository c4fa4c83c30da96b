"""Which workflow a plan file is of, and whether it is current. The diff itself: `test_cli.py`."""

from pathlib import Path

import pytest

from flowc.checks.committed import Committed, committed_plan, source_of, stale
from flowc.plan.diagnostics import Place

HEADER = '{{"kind":"plan","format":1,"workflow":"{}:main","root":"{}"}}\n'


def test_what_a_plan_says_that_it_is_of(project):
    project.write("x.plan.jsonl", HEADER.format("team.flow", "src") + "whatever follows\n")
    plan = committed_plan("x.plan.jsonl")
    assert plan == Committed("x.plan.jsonl", "src", "team.flow:main")
    assert plan.name == "main"


@pytest.mark.parametrize(
    "text",
    ["", "\n", "{}", "[]", "nonsense", "[" * 5000, '{"kind":"plan"}', HEADER.format("f", "/etc"),
     HEADER.format("f", "../other"), HEADER.format("", ".")],
)  # fmt: skip
def test_a_file_that_does_not_say(project, text):
    project.write("x.plan.jsonl", text)
    assert committed_plan("x.plan.jsonl") is None


def test_a_file_that_is_not_there(project):
    assert committed_plan("x.plan.jsonl") is None


@pytest.mark.parametrize(
    ("root", "module", "file"),
    [
        (".", "flow", "flow.py"),
        ("src", "flow", "src/flow.py"),
        (".", "team.flow", "team/flow.py"),
        (".", "team.part", "team/part/__init__.py"),
        (".", "team", "team/__init__.py"),
        (".", "loose.flow", "loose/flow.py"),
        (".", "team.gone", None),
        (".", "flow.inner", None),
        (".", "gone", None),
        (".", "gone.flow", None),
        ("gone", "gone.flow", None),
        (".", "__main__", None),
        (".", "..", None),
    ],
)
def test_the_file_of_a_plans_module(project, root, module, file):
    for name in ("flow.py", "src/flow.py", "loose/flow.py"):
        project.write(name, "raise SystemError('not to be imported')")
    for name in ("team/__init__.py", "team/flow.py", "team/part/__init__.py"):
        project.write(name, "raise SystemError('not to be imported')")
    found = source_of(Committed("p", root, f"{module}:main"))
    assert found == (project.folder / file if file else None)


def test_an_installed_module_is_found_too(project):
    import flowc.plan.model

    project.write("flowc/readme.txt", "a folder that is no package does not hide one")
    assert source_of(Committed("p", ".", "flowc.plan.model:main")) == Path(flowc.plan.model.__file__)


def test_current_stale_and_missing(project):
    project.write("x.plan.jsonl", "a\nb\n")
    path, at = Path("x.plan.jsonl"), Place("flow.py", 3)
    assert stale(path, b"a\nb\n", "make plans", at) is None
    found = stale(path, b"a\nc\n", "make plans", at)
    assert (found.code, found.labels[0].place, found.hint) == (
        "FC209",
        at,
        "`make plans` and commit the plan",
    )
    assert found.notes[-2:] == ("-b", "+c")
    assert (
        stale(Path("y.plan.jsonl"), b"", "make plans").message == "there is no plan `y.plan.jsonl` to check"
    )

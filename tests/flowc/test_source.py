"""From a reference to a workflow: modules, files, and everything that can be wrong with them."""

# ruff: noqa: E501 - a case a line

import pytest

from flowc.plan.codec import decode, encode
from flowc.plan.diagnostics import Refused
from flowc.source import load

FLOW = "from flowc import operator, workflow\n\n@operator\ndef one() -> int:\n    return 1\n\n@workflow\ndef main():\n    return one()\n"


def refused(project, reference):
    project.forget()
    with pytest.raises(Refused) as refusal:
        load(reference)
    (diagnostic,) = refusal.value.diagnostics
    return diagnostic


def where(diagnostic):
    return [str(label.place) for label in diagnostic.labels]


def test_a_module_and_its_file_compile_to_the_same_bytes(project):
    project.write("team/__init__.py", "")
    project.write("team/flows/__init__.py", "")
    project.write("team/flows/churn.py", FLOW)
    references = [
        "team.flows.churn:main",
        "team/flows/churn.py:main",
        "./team/../team/flows/churn.py:main",
        f"{project.folder}/team/flows/churn.py:main",
    ]
    one, *others = [encode(project.plan(reference)) for reference in references]
    assert others == [one] * 3
    assert b'"workflow":"team.flows.churn:main"' in one
    assert b'"at":"team/flows/churn.py:9:12"' in one


def test_a_file_outside_of_packages_is_imported_from_its_folder(project):
    project.write("src/steps.py", "from flowc import operator\n@operator\ndef two() -> int: ...\n")
    project.write("src/flow.py", FLOW.replace("return one()", "from steps import two\n    return two()"))
    plan = project.plan("src/flow.py:main")
    assert (plan.header.root, plan.header.workflow) == ("src", "flow:main")
    assert plan.sites[0].op == "steps:two"
    assert plan.spans[0].at == "src/flow.py:10:12"


def test_a_file_with_a_name_that_is_no_identifier(project):
    source = FLOW.replace("@operator", "class Out:\n    def __init__(self): ...\n\n@operator").replace(
        "int", "Out"
    )
    project.write("01-my_flow.py", source)
    plan = project.plan("01-my_flow.py:main")
    assert (plan.header.workflow, plan.sites[0].gives) == ("01-my_flow:main", "01-my_flow:Out")
    assert decode(encode(plan), "p") == plan


@pytest.mark.parametrize("name", ["my flow.py", "my.flow.py", "a+b.py"])
def test_a_file_that_no_module_can_be_called_after(project, name):
    project.write(name, FLOW)
    found = refused(project, f"{name}:main")
    assert (found.code, found.hint) == ("FC003", "rename the file")


@pytest.mark.parametrize(
    "reference", ["", "flow", "flow:", ":main", "flow.py", "flow:a.b", "flow:3", "flow:main()", "::", "a b"]
)
def test_what_is_no_reference(project, reference):
    found = refused(project, reference)
    assert found.code == "FC001"
    assert ":main`" in found.hint


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("flwo.py:main", "`flow.py`"),
        ("flow.pyy:main", ""),
        ("flwo:main", "`flow.py`"),
        ("nowhere.at.all:main", "path"),
        ("none/flow.py:main", ""),
        ("./flow:main", "`./flow.py`"),
        ("..:main", ""),
        (".:main", ""),
        (".flow:main", ""),
        ("flow..x:main", ""),
        ("flow.sub:main", ""),
        ("a-b:main", ""),
        (".py:main", ""),
    ],
)
def test_what_is_not_there(project, reference, hint):
    project.write("flow.py", FLOW)
    found = refused(project, reference)
    assert found.code == "FC002"
    assert hint in found.hint


def test_a_folder_is_not_a_file(project):
    project.write("folder.py/inner.py", FLOW)
    assert refused(project, "folder.py:main").code == "FC002"


@pytest.mark.parametrize(
    ("source", "said", "line"),
    [
        ("import json\n\nx = 1 / 0\n", "ZeroDivisionError: division by zero", "flow.py:3"),
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'", "flow.py:1"),
        ("from json import nowhere\n", "ImportError: cannot import name 'nowhere'", "flow.py:1"),
        ("def f(:\n", "SyntaxError: invalid syntax", "flow.py:1:7"),
        ("if True:\nx = 1\n", "IndentationError: expected an indented block", "flow.py:2:1"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", "flow.py:2"),
        ("import sys\nsys.exit()\n", "SystemExit", "flow.py:2"),
        ("raise KeyError\n", "KeyError", "flow.py:1"),
        ("import json\njson.loads('{')\n", "JSONDecodeError: Expecting property name", "flow.py:2"),
        ("from helper import x\n", "ZeroDivisionError: division by zero", "helper.py:2"),
        ("def f():\n    return f()\nf()\n", "RecursionError: maximum recursion depth exceeded", "flow.py:2"),
        ("x = '\0'\n", "source code string cannot contain null bytes", None),
        ("# -*- coding: no-such -*-\n", "SyntaxError", None),
    ],
)
@pytest.mark.parametrize("reference", ["flow.py:main", "flow:main"])
def test_what_does_not_import_is_shown_at_the_authors_line(project, reference, source, said, line):
    project.write("helper.py", "x = 1\ny = 1 / 0\n")
    (project.folder / "flow.py").write_text(source)
    found = refused(project, reference)
    assert found.code == "FC003"
    assert "`flow` does not import: " in found.message
    assert said in found.message
    assert not found.message.endswith(": ")
    if line:
        assert where(found) == [line]


@pytest.mark.parametrize(
    "inside",
    ["import nowhere", "raise ValueError('no')", "raise ImportError('no')", "raise SystemExit(0)", "x.y"],
)
def test_a_package_on_the_way_that_does_not_import(project, inside):
    project.write("team/__init__.py", f"# a package\n{inside}\n")
    project.write("team/flow.py", FLOW)
    for reference in ("team.flow:main", "team/flow.py:main"):
        found = refused(project, reference)
        assert found.code == "FC003"
        assert where(found) == ["team/__init__.py:2"]


def test_a_mistake_in_a_package_on_the_way_keeps_its_own_code(project):
    project.write("team/__init__.py", "from flowc import operator\noperator(cpus=-1)(lambda: 1)\n")
    project.write("team/flow.py", FLOW)
    assert refused(project, "team.flow:main").code == "FC301"


def test_a_project_folder_may_be_called_flowc(project, monkeypatch):
    project.write("flowc/flow.py", "x = 1\nx.y\n")
    monkeypatch.chdir(project.folder / "flowc")
    assert where(refused(project, "flow.py:main")) == ["flow.py:2"]


def test_circular_imports(project):
    project.write("flow.py", "from other import thing\n" + FLOW)
    project.write("other.py", "from flow import main\nthing = 1\n")
    found = refused(project, "flow:main")
    assert found.code == "FC003"
    assert "circular import" in found.message
    assert where(found) == ["other.py:1"]


def test_a_mistake_in_a_decorator_keeps_its_own_code(project):
    project.write("flow.py", "from flowc import operator\n@operator(cpus=-1)\ndef f():\n    pass\n")
    found = refused(project, "flow:main")
    assert found.code == "FC301"
    assert found.labels[0].place.file == "flow.py"


def test_a_file_that_python_already_has_a_module_for(project):
    project.write("json.py", FLOW)
    found = refused(project, "json.py:main")
    assert found.code == "FC003"
    assert found.hint == "rename the file"


def test_a_file_outside_of_the_current_folder(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "flow.py"
    elsewhere.write_text(FLOW)
    assert refused(project, f"{elsewhere}:main").code == "FC005"


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("mian", "has no workflow `mian`", "did you mean `flow.py:main`?"),
        ("churn", "has no workflow `churn`", "it has `flow.py:main`"),
        ("plain", "`plain` in `flow.py` is not a workflow", "put `@workflow` above `def plain`"),
        ("one", "`one` in `flow.py` is not a workflow", ""),
        ("number", "has no workflow `number`", "it has `flow.py:main`"),
    ],
)
def test_a_module_without_that_workflow(project, name, said, hint):
    project.write("flow.py", FLOW + "\ndef plain():\n    pass\n\nnumber = 3\n")
    found = refused(project, f"flow.py:{name}")
    assert found.code == "FC004"
    assert said in found.message
    assert hint in found.hint


def test_a_module_without_any_workflow(project):
    project.write("flow.py", "x = 1\n")
    assert refused(project, "flow:main").hint == ""


def test_a_workflow_made_elsewhere_can_be_compiled_by_either_name(project):
    project.write("inner.py", FLOW)
    project.write("flow.py", "from inner import main\n")
    assert encode(project.plan("flow:main")) == encode(project.plan("inner:main"))

"""Which files are looked at, without running any."""

import os
import shutil
import subprocess

import pytest

from flowc.checks.discover import defines_workflow, discover

FLOW = "from flowc import workflow\n\n@workflow\ndef main(): ...\n"


def found(*paths):
    result = discover(paths)
    return [*result.sources, *result.plans], [problem.message for problem in result.problems]


@pytest.mark.parametrize(
    "source",
    [
        FLOW,
        "from flowc import operator, workflow as flow\n@flow\ndef main(): ...\n",
        "import flowc\n@flowc.workflow\ndef main(): ...\n",
        "import flowc as f\n@f.workflow\ndef main(): ...\n",
        "import flowc.lang\n@flowc.lang.workflow\ndef main(): ...\n",
        "import flowc.lang\n@flowc.workflow\ndef main(): ...\n",
        "from flowc import lang\n@lang.workflow\ndef main(): ...\n",
        "from flowc import *\n@workflow\ndef main(): ...\n",
        "from flowc import workflow\ndef f(): ...\nmain = workflow(f)\n",
        "if True:\n    from flowc import workflow\n    @workflow\n    def main(): ...\n",
        # Passed on by the project's own code.
        "from ours import *\n@workflow\ndef main(): ...\n",
        "from ours.words import workflow\n@workflow\ndef main(): ...\n",
        "from . import words\n@words.workflow\ndef main(): ...\n",
        "from .words import workflow as w\n@w\ndef main(): ...\n",
        # No Python, but what it is about can be told.
        "from flowc import workflow\ndef f(:\n",
        "import flowc\n\0\nworkflow",
    ],
)
def test_a_module_that_uses_the_decorator(source):
    assert defines_workflow(source.encode(), {"ours"}.__contains__)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "from flowc import operator\n@operator\ndef step(): ...\n",
        "from flowc import workflow\n",  # passes it on
        "from flowc import workflow as w\nworkflow = 3\n",
        "'''@workflow of flowc'''\n",
        "# from flowc import workflow\n",
        "from temporalio import workflow\n@workflow.defn\nclass Main: ...\n",
        "from other import *\n@workflow\ndef main(): ...\n",
        "import prefect\n@prefect.workflow\ndef main(): ...\n",
        "def f(:\n    workflow\n",
        "import flowc\nself.workflow\n",
    ],
)
def test_a_module_that_does_not(source):
    assert not defines_workflow(source.encode(), {"ours"}.__contains__)


def test_the_encoding_of_a_source_is_honoured():
    assert defines_workflow(f"# coding: latin-1\n# é\n{FLOW}".encode("latin-1"))


def test_a_deep_expression_is_no_trouble():
    deep = "x = " + "(" * 5000 + ")" * 5000 + "\n"
    assert defines_workflow((FLOW + deep).encode())


def test_folders_are_walked_and_foreign_code_is_left_out(project):
    for name in ("flow.py", "team/deep/flow.py", "team/__init__.py", "plans/a.plan.jsonl"):
        project.write(name, FLOW)
    for name in (".hidden/flow.py", "env/lib/flow.py", "site-packages/flow.py", "node_modules/x/flow.py"):
        project.write(name, FLOW)
    project.write("env/pyvenv.cfg", "")
    project.write("notes.txt", FLOW)
    everything = ["flow.py", "team/__init__.py", "team/deep/flow.py", "plans/a.plan.jsonl"]
    assert found(".") == (everything, [])
    assert found(str(project.folder)) == (everything, [])
    assert found("team", "./team/deep/../deep/flow.py", "flow.py") == (everything[:3], [])
    assert found(".hidden") == ([".hidden/flow.py"], []), "what is named is looked at"


def test_a_named_file_without_a_workflow_is_no_problem(project):
    project.write("plain.py", "x = 1\n")
    assert found("plain.py") == ([], [])


def test_what_passes_the_decorator_on_is_looked_for_beside_the_file(project):
    project.write("src/words.py", "from flowc import workflow\n")
    project.write("src/flow.py", "from words import workflow\n@workflow\ndef main(): ...\n")
    project.write("other/flow.py", "from words import workflow\n@workflow\ndef main(): ...\n")
    assert found(".") == (["src/flow.py"], [])


def test_paths_that_cannot_be_looked_at(project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    project.write("notes.txt", "")
    _, problems = found("nothing.py", "notes.txt", str(outside))
    assert problems == [
        "there is no file or folder `nothing.py`",
        "`notes.txt` is neither Python nor a plan",
        f"`{outside}` lies outside the current folder: a plan names files relative to it",
    ]


def test_links(project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "theirs.py"
    outside.write_text(FLOW)
    project.write("flow.py", FLOW)
    os.symlink("flow.py", "again.py")
    os.symlink(outside, "theirs.py")
    os.symlink(".", "round")
    os.symlink("nowhere.py", "dangling.py")
    os.symlink("user@host.1:2", ".#flow.py")  # an editor's lock
    os.mkfifo("pipe.py")
    files, problems = found(".")
    assert files == ["flow.py"]
    assert problems == []
    assert found("again.py", "flow.py") == (["flow.py"], [])
    assert found("pipe.py") == ([], ["`pipe.py` is neither Python nor a plan"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads anything")
def test_what_may_not_be_read(project):
    project.write("flow.py", FLOW).chmod(0)
    (project.folder / "closed").mkdir(mode=0)
    assert found(".")[1] == [
        "cannot read `closed`: Permission denied",
        "cannot read `flow.py`: Permission denied",
    ]


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_what_git_ignores_is_left_out_unless_it_is_named(project):
    subprocess.run(["git", "init", "-q"], check=True)
    project.write(".gitignore", "build/\nscratch.py\nold.plan.jsonl\n")
    for name in ("build/flow.py", "scratch.py", "old.plan.jsonl", "flow.py"):
        project.write(name, FLOW)
    assert found(".") == (["flow.py"], [])
    assert found(".", "scratch.py") == (["flow.py", "scratch.py"], [])

"""`flowc check` as a whole: files in, report and exit status out."""

import json
import os
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET

import pytest

from flowc.checks.paths import check_paths
from flowc.plan.codec import read
from flowc.plan.diagnostics import in_order
from flowc.plan.history import Record, encode

FLOW = """
from flowc import operator, workflow

@operator
def step(x: int = {default}) -> int:
    return x

@workflow
def main():
    return step({argument})
"""
FINE = FLOW.format(default=1, argument="")
WRONG = FLOW.format(default=1, argument="'a'")
DOUBTFUL = FINE.replace("@operator", "@operator(deterministic=True)").replace("    return step", "    step")
COMMAND = [sys.executable, "-c", "from flowc.cli import main; main()"]


@pytest.fixture
def flowc(project):
    """Run the command in a process of its own; what it ended with, and what it wrote."""

    def flowc(*arguments, status=0, **environment):
        done = subprocess.run(
            [*COMMAND, *arguments], capture_output=True, timeout=60, env={**os.environ, **environment}
        )
        assert done.returncode == status, done.stderr.decode()
        return done.stdout.decode()

    return flowc


@pytest.fixture
def check(project):
    """The codes that are found, with what they were found in and where."""

    def check(*paths, **options):
        outcome = check_paths(paths or (".",), **options)
        return [
            f"{checked.reference} {d.code} {d.labels[0].place if d.labels else ''}".rstrip()
            for checked in outcome.checked
            for d in in_order(checked.diagnostics) or ()
        ]

    return check


def things(*paths):
    return [checked.reference for checked in check_paths(paths or (".",)).checked]


def test_files_of_one_name_do_not_meet(project, check):
    """Each imports what lies beside it, also when both import a helper of one name."""
    for folder, of in (("a", "int"), ("b", "str")):
        project.write(
            f"{folder}/steps.py", f"from flowc import operator\n@operator\ndef step() -> {of}: ...\n"
        )
        project.write(
            f"{folder}/flow.py",
            "from flowc import operator, workflow\nfrom steps import step\n"
            "@operator\ndef use(x: int): ...\n@workflow\ndef main():\n    use(step())\n",
        )
    assert check() == ["b/flow.py:main FC101 b/flow.py:7:9"]
    assert check("b/flow.py", "a") == ["b/flow.py:main FC101 b/flow.py:7:9"]
    assert things() == ["a/flow.py:main", "b/flow.py:main"]


def test_packages(project, check):
    project.write("team/__init__.py", "")
    project.write("team/steps.py", "from flowc import operator\n@operator\ndef step(): ...\n")
    source = "from flowc import workflow\nfrom {} import step\n@workflow\ndef main():\n    step(1)\n"
    project.write("team/flow.py", source.format("team.steps"))
    project.write("team/near.py", source.format(".steps"))
    assert check("team") == [
        "team/flow.py:main FC020 team/flow.py:5:5",
        "team/near.py:main FC020 team/near.py:5:5",
    ]


def test_a_module_without_workflows_is_not_run(project, check):
    project.write("a.py", "raise SystemError('workflow, flowc')\n")
    project.write("b.py", "from flowc import workflow\nraise SystemError\n")
    project.write("flow.py", FINE)
    assert check() == []
    assert things() == ["flow.py:main"]


def test_a_file_that_cannot_be_a_module(project, check):
    project.write("my flow.py", FINE)
    assert check() == ["my flow.py FC003"]


def test_a_file_named_as_a_module_of_python(project, check):
    project.write("json.py", FINE)
    assert check() == ["json.py FC003"]


def test_paths_that_are_not_there(project, check):
    project.write("flow.py", WRONG)
    assert check("nothing", "flow.py") == [" FC220", "flow.py:main FC101 flow.py:9:17"]


def test_a_committed_plan_must_be_current(project, check, flowc):
    project.write("flow.py", FINE)
    flowc("compile", "flow.py:main")
    flowc("compile", "flow.py:main", "-o", "plans/team/other.plan.jsonl")
    assert check() == []
    project.write("flow.py", FLOW.format(default=2, argument="3"))
    assert check() == check("flow.py") == ["flow.py:main FC209 flow.py:8", "flow.py:main FC209 flow.py:8"]
    assert check(with_plans=False) == []
    hints = [d.hint for checked in check_paths(["flow.py"]).checked for d in checked.diagnostics]
    assert hints == [
        "`flowc compile flow.py:main` and commit the plan",
        "`flowc compile flow.py:main -o plans/team/other.plan.jsonl` and commit the plan",
    ]


def test_a_plan_of_one_that_does_not_compile_is_not_compared(project, check, flowc):
    project.write("flow.py", FINE)
    flowc("compile", "flow.py:main")
    project.write("flow.py", WRONG)
    assert check() == ["flow.py:main FC101 flow.py:9:17"]


def test_a_plan_that_was_compiled_from_another_root(project, check, flowc):
    """As an installed module, found through the path instead of below the current folder."""
    project.write("src/team/__init__.py", "")
    project.write("src/team/flow.py", FINE)
    path = str(project.folder / "src")
    flowc("compile", "team.flow:main", PYTHONPATH=path)
    assert flowc("check", PYTHONPATH=path) == "1 workflow and 1 plan: nothing is wrong\n"
    project.write("src/team/flow.py", FLOW.format(default=2, argument="3"))
    assert "error[FC209]" in flowc("check", status=1, PYTHONPATH=path)


def test_a_plan_without_source(project, check, flowc):
    project.write("flow.py", FINE)
    project.write("gone.py", FINE)
    flowc("compile", "flow.py:main")
    flowc("compile", "gone.py:main", "-o", "plans/gone.plan.jsonl")
    os.unlink("gone.py")
    project.write("flow.py", FINE.replace("main", "renamed"))
    gone, renamed = "plans/gone.plan.jsonl FC221", "plans/main.plan.jsonl FC221"
    assert check() == [f"{gone} plans/gone.plan.jsonl:1", f"{renamed} plans/main.plan.jsonl:1"]
    assert check("flow.py") == [f"{renamed} plans/main.plan.jsonl:1"]
    assert check(with_plans=False) == []


def test_plans_elsewhere_are_read_only(project, check, flowc):
    """They may be of another project."""
    project.write("flow.py", FINE)
    flowc("compile", "flow.py:main", "-o", "other/plans/main.plan.jsonl")
    flowc("compile", "flow.py:main", "-o", "other/plans/torn.plan.jsonl")
    os.truncate("other/plans/torn.plan.jsonl", 100)
    project.write("flow.py", FLOW.format(default=2, argument="3"))
    assert check() == ["other/plans/torn.plan.jsonl FC204 other/plans/torn.plan.jsonl:2"]
    assert check("other/plans/main.plan.jsonl") == []


def test_the_exit_status_and_where_the_report_goes(project, flowc):
    project.write("flow.py", "import os\nprint('noise')\nos.system('echo noise')\n" + FINE)
    assert flowc("check") == "1 workflow: nothing is wrong\n"
    project.write("flow.py", "print('noise')\n" + WRONG)
    out = flowc("check", "flow.py", status=1)
    assert out.startswith("error[FC101]: `step` expects `int` for `x`, got `str`\n  --> flow.py:11:17\n")
    assert out.endswith("\n\n1 error; checked 1 workflow\n")
    assert flowc("check", "nothing", status=1).startswith("error[FC220]")
    assert flowc("check", "--output-format", "tap", status=2) == ""
    assert flowc("check", "--timeout", "0", status=2) == ""


def test_warnings_alone_do_not_fail_unless_they_are_taken_for_errors(project, flowc):
    project.write("flow.py", DOUBTFUL)
    out = flowc("check")
    assert out.startswith("warning[FC210]: the result of `step` is not used\n  --> flow.py:9:5\n")
    assert out.endswith("\n\n1 warning; checked 1 workflow\n")
    for output_format in ("json", "github", "sarif", "junit"):
        assert "FC210" in flowc("check", "--output-format", output_format)
        assert "FC210" in flowc("check", "--output-format", output_format, "--strict", status=1)
    out = flowc("check", "--strict", status=1)
    assert out.startswith("error[FC210]")
    assert out.endswith("\n\n1 error; checked 1 workflow\n")
    project.write("other.py", WRONG)
    assert flowc("check", status=1).endswith("\n\n1 error and 1 warning; checked 2 workflows\n")


def test_the_history_that_a_committed_plan_was_compiled_with_holds(project, flowc):
    project.write("flow.py", FINE.replace("@operator", "@operator(memory='1MB')"))
    flowc("compile", "flow.py:main")
    code = next(site.code for site in read("plans/main.plan.jsonl").sites)
    record = Record("flow:step", code, runs=3, wall_ms=1200, peak_mb=2)
    (project.folder / "history.jsonl").write_bytes(encode((record,)))
    flowc("compile", "flow.py:main", "--history", "history.jsonl")
    out = flowc("check")
    assert out.startswith("warning[FC302]: `step` declares 1 MB, and has taken 2 MB\n")
    assert out.endswith("\n\n1 warning; checked 1 workflow and 1 plan\n"), "the plan is current"


def test_the_formats(project, flowc):
    project.write("team/flow.py", WRONG)
    found = json.loads(flowc("check", "--output-format", "json", status=1))
    assert [(d["code"], d["workflow"], d["line"]) for d in found] == [("FC101", "team/flow.py:main", 9)]
    assert json.loads(flowc("check", "--output-format", "sarif", status=1))["version"] == "2.1.0"
    assert ET.fromstring(flowc("check", "--output-format", "junit", status=1)).get("failures") == "1"
    workspace = str(project.folder.parent)
    out = flowc("check", "--output-format", "github", status=1, GITHUB_WORKSPACE=workspace)
    assert out.startswith(f"::error file={project.folder.name}/team/flow.py,line=9,endLine=9,col=17,")


def test_texts_beyond_the_terminals_encoding(project, flowc):
    project.write("flow.py", FINE.replace("return step()", "raise ValueError('\u6f22\\udc80')"))
    for output_format in ("text", "json", "github", "sarif", "junit"):
        out = flowc("check", "--output-format", output_format, status=1, PYTHONIOENCODING="ascii")
        assert "\u6f22" in out


def test_a_check_leaves_nothing_behind(project, flowc):
    project.write("flow.py", FINE)
    before = sorted(project.folder.rglob("*"))
    flowc("check")
    assert sorted(project.folder.rglob("*")) == before


def test_a_caller_who_does_not_read_the_report(project, flowc):
    project.write("flow.py", FINE + "".join(WRONG.replace("main", f"main{i}") for i in range(500)))
    script = "python -c 'from flowc.cli import main; main()' check | head -1; echo ${PIPESTATUS[0]}"
    script = script.replace("python", sys.executable)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "error[FC101]: `step` expects `int` for `x`, got `str`\n1\n"
    assert done.stderr == ""
    closed = subprocess.run(
        ["bash", "-c", f"{script.partition('|')[0]} >&-"], capture_output=True, timeout=60
    )
    assert (closed.returncode, closed.stdout, closed.stderr) == (1, b"", b"")


def test_cancelling(project):
    project.write(
        "flow.py", "import os\nos.write(2, f'{os.getpid()}\\n'.encode())\nwhile True: len('')\n" + FINE
    )
    process = subprocess.Popen([*COMMAND, "check"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    hurry = threading.Timer(60, process.kill)
    hurry.start()
    try:
        looking = int(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.communicate() == (b"", b"")
        with pytest.raises(ProcessLookupError):
            os.kill(looking, 0)
    finally:
        hurry.cancel()
        process.kill()
        process.communicate()


def test_watching(project):
    def write(name, source):
        """At once: a half-written file would be a change of its own."""
        os.replace(project.write("draft", source), name)

    write("flow.py", "from steps import *\n" + FINE)
    command = [*COMMAND, "check", "flow.py", "--watch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    hurry = threading.Timer(60, process.kill)
    hurry.start()

    def next_round():
        """The last line of the next report."""
        lines = iter(process.stdout.readline, "")
        return next(line for line in lines if line.startswith(("1 workflow", "1 error", "1 warning")))

    try:
        assert next_round() == "1 error\n"
        write("steps.py", "")  # what was missing
        assert next_round() == "1 workflow: nothing is wrong\n"
        write("steps.py", "1 / 0\n")  # imported by what is named
        assert next_round() == "1 error\n"
        write("steps.py", "")
        assert next_round() == "1 workflow: nothing is wrong\n"
        write("flow.py", "from steps import *\n" + WRONG)
        assert next_round() == "1 error; checked 1 workflow\n"
        write("flow.py", DOUBTFUL)
        assert next_round() == "1 warning; checked 1 workflow\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        hurry.cancel()
        process.kill()
        process.wait()
        process.stdout.close()

"""The `flowc` command: what it writes, prints and exits with."""

import json
import os
import re
import sys

import pytest

from flowc.cli import main
from flowc.plan.codec import read
from flowc.plan.codes import CODES
from flowc.plan.history import Record, encode
from flowc.plan.model import Estimate
from flowc.show import FORMATS

FLOW = (
    "from ops import *\n\n@workflow\ndef main(n: int = 1):\n    data = load('a')\n    return fit(data, n)\n"
)
WRONG = FLOW.replace("'a'", "3")
PLAN = "plans/main.plan.jsonl"


@pytest.fixture
def flowc(project, monkeypatch, capsys):
    """Run the command; give its exit status, standard output and standard error."""

    def flowc(*arguments):
        project.forget()
        monkeypatch.setattr(sys, "argv", ["flowc", *map(str, arguments)])
        status = None
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        return (status or 0, *capsys.readouterr())

    return flowc


@pytest.fixture
def files(project):
    """All files below the project's folder, but for its sources."""
    return lambda: sorted(
        str(path.relative_to(project.folder))
        for path in project.folder.rglob("*")
        if path.is_file() and path.suffix != ".py"
    )


def test_compile_writes_a_plan_and_says_how_large_it_is(flowc, project, files):
    project.write("flow.py", FLOW)
    assert flowc("compile", "flow.py:main") == (
        0,
        f"{PLAN}: 2 nodes, 2 sites, 2 levels, at most 1 side by side\n",
        "",
    )
    assert files() == [PLAN]
    assert [node.id for node in read(PLAN).nodes] == ["data", "fit"]


def test_compile_to_another_place(flowc, project, files):
    project.write("flow.py", FLOW)
    assert flowc("compile", "flow:main", "-o", "some/where/x.jsonl")[0] == 0
    assert files() == ["some/where/x.jsonl"]
    assert flowc("compile", "flow:main", "--output", project.folder / "y.jsonl")[0] == 0
    assert read("y.jsonl") == read("some/where/x.jsonl")


def test_compiling_again_writes_over_the_plan(flowc, project, files):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    project.write("flow.py", FLOW.replace("'a'", "'b'"))
    assert flowc("compile", "flow:main")[0] == 0
    assert read(PLAN).nodes[0].args == {"path": "b"}
    assert files() == [PLAN]


EXITS = FLOW.replace("    return", "    raise SystemExit(0)\n    return")


@pytest.mark.parametrize("source", [WRONG, EXITS, "def f(:\n", "x = 1\n", "raise SystemExit(0)\n"])
def test_a_refusal_writes_nothing(flowc, project, files, source):
    project.write("flow.py", source)
    status, out, err = flowc("compile", "flow.py:main")
    assert (status, out) == (1, "")
    assert err.startswith("error[FC")
    assert files() == []


def test_a_refusal_leaves_the_old_plan(flowc, project):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    before = (project.folder / PLAN).read_bytes()
    project.write("flow.py", WRONG)
    assert flowc("compile", "flow:main")[0] == 1
    assert (project.folder / PLAN).read_bytes() == before


def test_every_diagnostic_is_printed_with_its_source(flowc, project):
    project.write("flow.py", WRONG + "\n\n@workflow\ndef other():\n    load(3)\n    load(x=1)\n")
    status, out, err = flowc("compile", "flow.py:other")
    assert (status, out) == (1, "")
    assert [line for line in err.splitlines() if line.startswith(("error", "  -->"))] == [
        "error[FC101]: `load` expects `str` for `path`, got `int`",
        "  --> flow.py:11:10",
        "error[FC020]: this call does not match `load`: got an unexpected keyword argument 'x'",
        "  --> flow.py:12:5",
    ]
    assert "11 |     load(3)\n   |          ^ this is `int`\n" in err


def test_a_folder_that_cannot_be_written_to(flowc, project, files):
    project.write("flow.py", FLOW)
    project.write("plans", "a file")
    project.write("sub/.keep", "")
    os.mkdir("folder.jsonl")
    for arguments in (
        [],
        ["-o", "plans/x.jsonl"],
        ["-o", "plans/deeper/x.jsonl"],
        ["-o", "folder.jsonl"],
        ["-o", "."],
        ["-o", "/proc/x.jsonl"],
    ):
        status, out, err = flowc("compile", "flow:main", *arguments)
        assert (status, out) == (1, "")
        assert err.startswith("error[FC201]: cannot write the plan `")
    assert files() == ["plans", "sub/.keep"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_without_permission(flowc, project, files):
    project.write("flow.py", FLOW)
    (project.folder / "plans").mkdir(mode=0o500)
    assert flowc("compile", "flow:main")[2].startswith("error[FC201]: cannot write the plan `")
    assert files() == []


def test_what_is_not_a_plan_is_not_written_over(flowc, project):
    project.write("flow.py", FLOW)
    project.write("notes.txt", "important\n")
    assert flowc("compile", "flow:main", "-o", "notes.txt")[0] == 1
    assert flowc("compile", "flow:main", "-o", "flow.py")[0] == 1
    assert (project.folder / "notes.txt").read_text() == "important\n"
    assert (project.folder / "flow.py").read_text() == FLOW


def test_check_of_a_current_plan(flowc, project):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    assert flowc("compile", "--check", "flow:main") == (
        0, f"{PLAN} is current: 2 nodes, 2 sites, 2 levels, at most 1 side by side\n", ""
    )  # fmt: skip


def test_check_of_an_old_plan_shows_what_changed_and_writes_nothing(flowc, project):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    before = (project.folder / PLAN).read_bytes()
    project.write("flow.py", FLOW.replace("'a'", "'b'"))
    status, out, err = flowc("compile", "--check", "flow:main")
    assert (status, out) == (1, "")
    assert err.startswith(f"error[FC209]: `{PLAN}` does not match its source\n")
    assert '  -{"kind":"node","id":"data","args":{"path":"a"}}\n' in err
    assert '  +{"kind":"node","id":"data","args":{"path":"b"}}\n' in err
    assert "fit" not in err
    assert "hint: `flowc compile flow:main` and commit the plan\n" in err
    assert (project.folder / PLAN).read_bytes() == before


def test_check_shows_where_a_long_row_differs(flowc, project):
    long = "'" + 300 * "x" + "{}'"
    project.write("flow.py", FLOW.replace("'a'", long.format("1")))
    flowc("compile", "flow:main")
    project.write("flow.py", FLOW.replace("'a'", long.format("2")))
    err = flowc("compile", "--check", "flow:main")[2]
    changed = [line.strip() for line in err.splitlines() if line.startswith(("  -{", "  +{"))]
    assert [line.endswith(f'xx{i}"}}}}') and len(line) < 230 for i, line in enumerate(changed, 1)] == [
        True,
        True,
    ]


def test_check_of_a_large_change_is_shortened(flowc, project):
    many = "from ops import *\n@workflow\ndef main():\n    return [load('{}') for i in range(100)]\n"
    project.write("flow.py", many.format("a"))
    flowc("compile", "flow:main")
    project.write("flow.py", many.format("b"))
    err = flowc("compile", "--check", "flow:main")[2]
    assert len(err.splitlines()) < 50
    assert "more lines" in err


@pytest.mark.parametrize("committed", [None, "", "{}", "\xff", "<<<<<<< HEAD\n"])
def test_check_of_no_plan(flowc, project, files, committed):
    project.write("flow.py", FLOW)
    if committed is not None:
        project.write(PLAN, "").write_bytes(committed.encode("latin-1"))
    status, out, err = flowc("compile", "--check", "flow:main", "-o", PLAN)
    assert (status, out) == (1, "")
    assert err.startswith("error[FC209]")
    assert f"-o {PLAN}" in err
    assert files() == ([PLAN] if committed is not None else [])


def test_show(flowc, project):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    status, out, err = flowc("show", PLAN)
    assert (status, err) == (0, "")
    assert out.startswith("main(n: int = 1)  from flow:main\n2 nodes")


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (["-f", "tree"], "main(n: int = 1)"),
        (["--format", "mermaid"], "flowchart TD\n"),
        (["-f", "dot"], 'digraph "main" {'),
        (["-f", "svg"], "<svg "),
        (["-f", "html"], "<!doctype html>"),
    ],
)
def test_show_in_other_formats(flowc, project, options, start):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    status, out, err = flowc("show", PLAN, *options)
    assert (status, err) == (0, "")
    assert out.startswith(start)
    assert out.endswith("\n")


def test_show_writes_a_file_whose_name_tells_the_format(flowc, project):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    assert flowc("show", PLAN, "-o", "pictures/main.SVG")[0] == 0
    assert (project.folder / "pictures/main.SVG").read_text().startswith("<svg ")
    assert flowc("show", PLAN, "-o", "main.svg", "--format", "dot")[0] == 0
    assert (project.folder / "main.svg").read_text().startswith("digraph")


def test_show_does_not_write_over_a_plan(flowc, project):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    before = (project.folder / PLAN).read_bytes()
    status, out, err = flowc("show", PLAN, "-o", PLAN)
    assert (status, out, err[:12]) == (1, "", "error[FC225]")
    assert (project.folder / PLAN).read_bytes() == before
    assert flowc("show", PLAN, "-o", ".")[2].startswith("error[FC225]")


@pytest.mark.parametrize("most", ["0", "-3", "many"])
def test_show_draws_at_least_one_node(flowc, most):
    assert flowc("show", PLAN, "--max-nodes", most)[0] == 2


def test_show_offers_every_format(flowc):
    assert "{" + ",".join(FORMATS) + "}" in flowc("show", "--help")[1]


@pytest.mark.parametrize(
    ("content", "code"), [(None, "FC201"), ("", "FC202"), ('{"kind":"plan","format":9}\n', "FC202")]
)
def test_show_of_what_is_no_plan(flowc, project, content, code):
    if content is not None:
        project.write("x.jsonl", content)
    status, out, err = flowc("show", "x.jsonl")
    assert (status, out) == (1, "")
    assert err.startswith(f"error[{code}]")


def test_explain(flowc):
    for code in ("FC101", "fc101"):
        status, out, err = flowc("explain", code)
        assert (status, err) == (0, "")
        assert out.startswith(f"# FC101: {CODES['FC101']}\n")


def test_explain_without_a_code_lists_them_all(flowc):
    status, out, err = flowc("explain")
    assert (status, err) == (0, "")
    assert [tuple(line.split("  ", 1)) for line in out.splitlines()] == list(CODES.items())


@pytest.mark.parametrize("code", ["FC999", "nonsense", ""])
def test_explain_of_an_unknown_code(flowc, code):
    status, out, err = flowc("explain", code)
    assert (status, out) == (2, "")
    assert f"there is no code `{code}`" in err


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["compile"], ["compile", "a:b", "c:d"], ["nonsense"], ["show"]]
)
def test_wrong_usage(flowc, arguments):
    status, out, err = flowc(*arguments)
    assert (status, out) == (2, "")
    assert "usage: " in err


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["compile", "--help"], ["check", "--help"], ["show", "--help"], ["explain", "--help"]],
)
def test_help(flowc, arguments):
    status, out, err = flowc(*arguments)
    assert (status, err) == (0, "")
    assert "usage: " in out


def test_what_a_module_prints_does_not_end_up_in_the_plan(flowc, project):
    project.write("flow.py", "print('hello')\n" + FLOW)
    assert flowc("compile", "flow:main")[1].startswith("hello\n")
    assert read(PLAN).header.name == "main"


def test_check_passes_over_the_versions_of_packages(flowc, project):
    source = FLOW.replace("return fit(data, n)", "return gather(fit(data, n), other())")
    project.write("flow.py", source + "\n@operator\ndef other() -> int:\n    import numpy\n    return 1\n")
    assert flowc("compile", "flow.py:main")[0] == 0
    path = project.folder / PLAN
    plan = path.read_text()
    assert '{"kind":"package","package":"numpy","version":"' in plan
    path.write_text(re.sub('"version":"[^"]*"', '"version":"0.1"', plan))
    assert flowc("compile", "flow.py:main", "--check")[0] == 0
    path.write_text(path.read_text().replace('"default":1', '"default":2'))
    status, _, told = flowc("compile", "flow.py:main", "--check")
    assert status == 1
    assert "package" not in told


def test_why_says_it_as_text_as_json_and_by_its_exit_status(flowc, project):
    project.write("flow.py", FLOW)
    assert flowc("compile", "flow.py:main", "-o", "old.jsonl")[0] == 0
    project.write("flow.py", FLOW.replace("'a'", "'b'"))
    assert flowc("compile", "flow.py:main", "-o", "new.jsonl")[0] == 0
    assert flowc("why", "old.jsonl", "new.jsonl", "data") == (
        0,
        '`data` has to run again\n  its argument `path`: "a" -> "b"\n',
        "",
    )
    status, told, _ = flowc("why", "old.jsonl", "new.jsonl", "data", "--json", "--exit-code")
    assert status == 1
    assert json.loads(told) == {
        "node": "data",
        "runs_again": True,
        "reasons": [{"what": "argument", "name": "path", "before": '"a"', "after": '"b"'}],
        "upstream": [],
        "no_reasons": [],
    }
    assert flowc("why", "old.jsonl", "old.jsonl", "fit", "--exit-code")[0] == 0
    assert flowc("why", "old.jsonl", "new.jsonl", "dta")[0] == 1


PURE = """
from flowc import operator, workflow

@operator(deterministic=True, fold=True)
def double(n: int) -> int:
    return 2 * n

@operator(deterministic=True)
def clean(n: int) -> int:
    return n

@workflow
def main():
    unused = clean(3)
    return [clean(double(2)), clean(4)]
"""
SUMMARY = "1 node, 1 site, 1 level, at most 1 side by side"


def test_simplification_is_told(flowc, project):
    project.write("pure.py", PURE)
    status, out, err = flowc("compile", "pure:main")
    changes = "; 1 node computed, 1 node shared, 1 dead node removed"
    assert (status, out) == (0, f"{PLAN}: {SUMMARY}{changes}\n")
    assert err.startswith("warning[FC210]: the result of `clean` is not used\n  --> pure.py:13:14\n")
    assert flowc("compile", "pure:main", "-v")[1].splitlines()[1:] == [
        "  computed  double   = 4",
        "  shared    clean~2  -> clean",
        "  removed   unused",
    ]
    assert flowc("compile", "pure:main", "--check")[:2] == (0, f"{PLAN} is current: {SUMMARY}{changes}\n")


def test_no_optimisation(flowc, project):
    project.write("pure.py", PURE)
    assert flowc("compile", "pure:main", "--no-optimize", "-v")[1] == (
        f"{PLAN}: 4 nodes, 4 sites, 2 levels, at most 3 side by side\n"
    )
    assert "--no-optimize`" in flowc("compile", "pure:main", "--no-optimize", "--check", "-o", "x.jsonl")[2]


def test_strict_takes_warnings_for_errors_and_writes_nothing(flowc, project, files):
    project.write("pure.py", PURE)
    status, out, err = flowc("compile", "pure:main", "--strict")
    assert (status, out, err[:14]) == (1, "", "error[FC210]: ")
    assert files() == []
    project.write("flow.py", FLOW)
    assert flowc("compile", "flow:main", "--strict")[0] == 0


def test_timings(flowc, project):
    project.write("flow.py", FLOW)
    lines = flowc("compile", "flow:main", "--timings")[2].splitlines()
    passes = "import trace check simplify estimate levels encode write sum"
    assert [line.split()[0] for line in lines] == passes.split()


@pytest.mark.parametrize("limit", ["-1", "0", "soon", "nan"])
def test_a_time_limit_that_is_none(flowc, project, limit):
    status, _, err = flowc("compile", "flow:main", "--time-limit", limit)
    assert status == 2
    assert "--time-limit: invalid number of seconds" in err


def test_history_makes_the_plan_and_the_check_keeps_it(flowc, project):
    project.write("flow.py", FLOW)
    flowc("compile", "flow:main")
    codes = {site.op: site.code for site in read(PLAN).sites}
    project.write("h.jsonl", "").write_bytes(
        encode([Record("ops:load", codes["ops:load"], 5, 70), Record("ops:fit", "0", 1, 9000, 9000, 5)])
    )
    assert flowc("compile", "flow:main", "--history", "h.jsonl")[0] == 0
    assert [site.estimate for site in read(PLAN).sites] == [
        Estimate(70, "history", 5),
        Estimate(9000, "earlier", 1, 5),
    ]
    assert flowc("compile", "flow:main", "--check")[0] == 0
    assert flowc("compile", "flow:main", "--check", "--history", "h.jsonl")[0] == 0
    project.write("h.jsonl", "").write_bytes(encode([Record("ops:load", codes["ops:load"], 6, 80)]))
    status, _, err = flowc("compile", "flow:main", "--check", "--history", "h.jsonl")
    assert (status, "--history h.jsonl`" in err) == (1, True)
    assert flowc("compile", "flow:main", "--history", "nothing")[2].startswith("error[FC260]")

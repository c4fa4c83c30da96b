"""The formats of reports, from made-up results; no workflow is compiled."""

import json
import xml.etree.ElementTree as ET

import msgspec
import pytest

from flowc.checks.modules import Checked
from flowc.checks.reports import FORMATS, problems
from flowc.cli import OUTPUT_FORMATS
from flowc.plan.codes import CODES
from flowc.plan.diagnostics import Diagnostic, Label, Place

LINES = {("flow.py", 7): '    parts = split(data, "\U0001f600")\n', ("flow.py", 8): "    fit(parts)\n"}
TYPED = Diagnostic(
    "FC101",
    "`fit` expects `list[int]` for `data`, got `Parts`",
    (
        Label(Place("flow.py", 8, 9, 14), "this is `Parts`"),
        Label(Place("flow.py", 7, 25, 30), "made here"),
    ),
    hint="pass `parts.train`",
)
ODD = Diagnostic(
    "FC018", "100%: a,b\r\nc \x00\x1b[31m]]> & <é \ud7ff \ufffe", (), ("note 1\nline 2", "note 2")
)
UNUSED = Diagnostic(
    "FC210", "the result of `split` is not used", (Label(Place("flow.py", 7, 13, 18)),), severity="warning"
)
IMPORT = Diagnostic("FC003", "`a` does not import: x", (Label(Place("ops.py", 3)),))
RESULTS = (
    Checked("a, b/50%:é.py", "main", 5, 0.25, (ODD,)),
    Checked("flow.py", "fine", 3, 0.5),
    Checked("flow.py", "main", 6, 0.125, (TYPED,)),
    Checked("plans/main.plan.jsonl", seconds=0.001),
)
NOTHING = (Checked("flow.py", "main", 6, 0.125),)
BOTH = (Checked("flow.py", "main", 6, 0.125, (TYPED, UNUSED)), Checked("flow.py", "b", 9, 0.1, (UNUSED,)))


def report(output_format, results=RESULTS, folder="."):
    return FORMATS[output_format](results, lambda file, line: LINES.get((file, line), ""), folder)


def test_the_command_offers_every_format():
    assert tuple(FORMATS) == OUTPUT_FORMATS


def test_each_problem_once_in_order_of_place():
    later = Diagnostic("FC101", "later", (Label(Place("flow.py", 9)),))
    found = problems([Checked("flow.py", "b", 1, 0, (later, TYPED)), Checked("flow.py", "a", 1, 0, (TYPED,))])
    assert [(p.diagnostic, p.checked.workflow) for p in found] == [(TYPED, "b"), (later, "b")]


def test_one_line_that_keeps_many_modules_from_importing_is_one_problem():
    other = Diagnostic("FC003", "`b` does not import: x", IMPORT.labels)
    elsewhere = Diagnostic("FC003", "`c` does not import: x", (Label(Place("ops.py", 4)),))
    results = [Checked(f"{d.message[1]}.py", diagnostics=(d,)) for d in (other, elsewhere, IMPORT)]
    assert [p.diagnostic for p in problems(results)] == [IMPORT, elsewhere]
    nowhere = [Diagnostic("FC003", name) for name in "ab"]
    assert len(problems([Checked("x.py", diagnostics=tuple(nowhere))])) == 2


def test_text():
    results = [RESULTS[2], RESULTS[3]]
    assert report("text", results) == (
        "error[FC101]: `fit` expects `list[int]` for `data`, got `Parts`\n"
        "  --> flow.py:8:9\n"
        "8 |     fit(parts)\n"
        "  |         ^^^^^ this is `Parts`\n"
        "  --> flow.py:7:25\n"
        '7 |     parts = split(data, "\U0001f600")\n'
        "  |                         ^^^^ made here\n"
        "hint: pass `parts.train`\n"
        "      `flowc explain FC101`\n"
        "\n"
        "1 error; checked 1 workflow and 1 plan\n"
    )


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ((), "no workflows here"),
        (NOTHING, "1 workflow: nothing is wrong"),
        (RESULTS[3:], "1 plan: nothing is wrong"),
        ((RESULTS[1], RESULTS[1], RESULTS[3]), "2 workflows and 1 plan: nothing is wrong"),
    ],
)
def test_text_of_nothing(results, said):
    assert report("text", results) == f"{said}\n"


@pytest.mark.parametrize(
    ("diagnostics", "said"),
    [
        ((UNUSED,), "1 warning"),
        ((UNUSED, msgspec.structs.replace(UNUSED, code="FC213")), "2 warnings"),
        ((TYPED, UNUSED), "1 error and 1 warning"),
        ((TYPED, ODD, UNUSED), "2 errors and 1 warning"),
    ],
)
def test_the_summary_counts_errors_and_warnings_apart(diagnostics, said):
    text = report("text", [Checked("flow.py", "main", 6, 0.1, diagnostics)])
    assert text.endswith(f"\n\n{said}; checked 1 workflow\n")
    assert "warning[FC210]: the result of `split` is not used\n  --> flow.py:7:13\n" in text


def test_every_format_tells_which_is_a_warning():
    assert [(d["code"], d["severity"]) for d in json.loads(report("json", BOTH))] == [
        ("FC210", "warning"),
        ("FC101", "error"),
    ]
    unused, typed = report("github", BOTH).splitlines()
    assert unused.startswith("::warning file=flow.py,line=7,endLine=7,col=13,endColumn=18,title=FC210::")
    assert typed.startswith("::error file=flow.py,line=8,")
    log = json.loads(report("sarif", BOTH))
    assert_sarif(log)
    (run,) = log["runs"]
    assert [result["level"] for result in run["results"]] == ["warning", "error"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["defaultConfiguration"]["level"] for rule in rules] == ["error", "warning"]


def test_in_junit_a_warning_is_what_the_case_printed():
    root = ET.fromstring(report("junit", BOTH))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("2", "1", "0")
    main, b = root.iter("testcase")
    assert [child.tag for child in main] == ["failure", "system-out"]
    assert [child.tag for child in b] == ["system-out"]
    assert b[0].text.startswith("warning[FC210]: the result of `split` is not used\n")
    assert main[0].get("type") == "FC101"
    assert main[1].text == b[0].text


def test_json():
    odd, typed = json.loads(report("json"))
    at = {"file": "flow.py", "line": 8, "column": 9, "end_column": 14}
    assert typed == {
        "code": "FC101",
        "severity": "error",
        "message": TYPED.message,
        **at,
        "labels": [
            {**at, "text": "this is `Parts`"},
            {"file": "flow.py", "line": 7, "column": 25, "end_column": 30, "text": "made here"},
        ],
        "notes": [],
        "hint": "pass `parts.train`",
        "workflow": "flow.py:main",
        "doc": "docs/errors/FC101.md",
    }
    assert (odd["message"], odd["file"], odd["line"]) == (ODD.message, RESULTS[0].file, None)
    assert (odd["notes"], odd["labels"]) == (["note 1\nline 2", "note 2"], [])
    assert report("json", NOTHING) == "[]\n"
    (pathless,) = json.loads(report("json", [Checked("", diagnostics=(ODD,))]))
    assert (pathless["file"], pathless["workflow"]) == (None, None)


def test_github():
    odd, typed = report("github").splitlines()
    assert typed == (
        "::error file=flow.py,line=8,endLine=8,col=9,endColumn=14,title=FC101::"
        "`fit` expects `list[int]` for `data`, got `Parts`: this is `Parts`"
        "%0Aflow.py:7:25: made here%0Ahint: pass `parts.train`"
    )
    assert odd.startswith("::error file=a%2C b/50%25%3Aé.py,title=FC018::100%25: a,b%0D%0Ac \x00")
    assert odd.endswith("%0Anote 1%0Aline 2%0Anote 2")
    assert report("github", NOTHING) == ""


def test_github_in_a_folder_of_the_repository():
    assert "::error file=team/flow.py,line=8" in report("github", folder="team")
    assert "::error title=FC018::" in report("github", [Checked("", diagnostics=(ODD,))], folder="team")


def test_sarif():
    log = json.loads(report("sarif"))
    assert_sarif(log)
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["FC018", "FC101"]
    odd, typed = run["results"]
    assert typed["message"]["text"] == f"{TYPED.message}: this is `Parts`\nhint: pass `parts.train`"
    (location,) = typed["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "flow.py"},
        "region": {"startLine": 8, "startColumn": 9, "endColumn": 14},
    }
    (made,) = typed["relatedLocations"]
    # The line has a character that is two UTF-16 code units, before the end and after the start.
    assert made["physicalLocation"]["region"] == {"startLine": 7, "startColumn": 25, "endColumn": 31}
    assert made["message"] == {"text": "made here"}
    (whole,) = odd["locations"]
    assert whole == {"physicalLocation": {"artifactLocation": {"uri": "a%2C%20b/50%25%3A%C3%A9.py"}}}


def test_sarif_of_nothing_and_of_a_problem_without_a_file():
    assert json.loads(report("sarif", NOTHING))["runs"][0]["results"] == []
    log = json.loads(report("sarif", [Checked("", diagnostics=(ODD,))], folder="team"))
    assert_sarif(log)
    assert log["runs"][0]["results"][0]["locations"] == []


def assert_sarif(log):
    """What the schema of SARIF 2.1.0 demands of the properties that are used, and that no others are."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    for run in log["runs"]:
        assert set(run) == {"tool", "columnKind", "results"}
        assert run["columnKind"] == "utf16CodeUnits"
        assert set(run["tool"]) == {"driver"}
        driver = run["tool"]["driver"]
        assert set(driver) == {"name", "rules"}
        for rule in driver["rules"]:
            assert set(rule) == {"id", "shortDescription", "help", "defaultConfiguration"}
            assert rule["shortDescription"] == {"text": CODES[rule["id"]]}
            assert rule["help"]["text"].startswith(f"# {rule['id']}: ")
            assert set(rule["help"]) == {"text", "markdown"}
            assert rule["defaultConfiguration"] in ({"level": "error"}, {"level": "warning"})
        assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
        for result in run["results"]:
            required = {"ruleId", "ruleIndex", "level", "message", "locations"}
            assert required <= set(result) <= required | {"relatedLocations"}
            assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
            assert result["level"] in ("error", "warning")
            assert result["message"]["text"]
            for location in [*result["locations"], *result.get("relatedLocations", ())]:
                assert_location(location)


def assert_location(location):
    assert "physicalLocation" in location
    assert set(location) <= {"id", "physicalLocation", "message"}
    physical = location["physicalLocation"]
    assert set(physical) <= {"artifactLocation", "region"}
    assert set(physical["artifactLocation"]) == {"uri"}
    region = physical.get("region", {"startLine": 1})
    assert set(region) <= {"startLine", "startColumn", "endColumn"}
    assert all(type(number) is int and number >= 1 for number in region.values())


def test_junit():
    root = ET.fromstring(report("junit").encode())
    assert root.tag == "testsuites"
    assert root.attrib == {
        "name": "flowc check", "tests": "4", "failures": "2", "errors": "0", "time": "0.876"
    }  # fmt: skip
    suites = root.findall("testsuite")
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in suites] == [
        ("a, b/50%:é.py", "1", "1"),
        ("flow.py", "2", "1"),
        ("plans/main.plan.jsonl", "1", "0"),
    ]
    cases = [(c.get("classname"), c.get("name"), len(c)) for c in root.iter("testcase")]
    assert cases[1:] == [
        ("flow.py", "fine", 0), ("flow.py", "main", 1), ("plans/main.plan.jsonl", "plan", 0)
    ]  # fmt: skip
    odd, typed = root.iter("failure")
    assert (typed.get("type"), typed.get("message")) == ("FC101", TYPED.message)
    assert typed.text.startswith("error[FC101]: `fit` expects `list[int]`")
    assert "  |         ^^^^^ this is `Parts`" in typed.text
    said = ODD.message.replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\ufffe", "\ufffd")
    assert odd.get("message") == said


def test_junit_of_nothing_and_of_a_problem_without_a_file():
    assert ET.fromstring(report("junit", ())).get("tests") == "0"
    (case,) = ET.fromstring(report("junit", [Checked("", diagnostics=(IMPORT,))])).iter("testcase")
    assert (case.get("classname"), case.get("name")) == (".", "import")

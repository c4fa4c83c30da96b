"""JUnit XML that is valid against both usual schemas, Ant's (windyroad) and Jenkins': what each demands."""

import re
from xml.etree import ElementTree

import pytest

from flowc.plan.diagnostics import Diagnostic
from flowrun.core.model import Failure
from flowrun.shell.exporting.junit import as_junit
from flowrun.shell.showing.report import NodeReport, RunReport

NODES = [
    NodeReport("load", "succeeded", 1, wall_ms=1234),
    NodeReport(
        "m[a & b]", "failed", 1, wall_ms=5, failure=Failure("FR201", 'ValueError: <"no">\x00\x1b[31m\nmore')
    ),
    NodeReport("sum", "blocked", blocked_by="m[a & b]"),
    NodeReport("off", "skipped", note="`big` is false"),
    NodeReport("late", "interrupted", 1, wall_ms=7),
    NodeReport("never", "cancelled"),
]
# By element: attributes that Ant's schema demands, those that both allow beside them, children in order.
ELEMENTS = {
    "testsuites": (set(), set(), "(testsuite )*"),
    "testsuite": (
        {"name", "timestamp", "hostname", "tests", "failures", "errors", "time", "id", "package"},
        {"skipped"},
        "properties (testcase )*system-out system-err ",
    ),
    "properties": (set(), set(), "(property )*"),
    "property": ({"name", "value"}, set(), ""),
    "testcase": ({"name", "classname", "time"}, set(), "((skipped|error|failure) )?"),
    "failure": ({"type"}, {"message"}, ""),
    "error": ({"type"}, {"message"}, ""),
    "skipped": (set(), {"message"}, ""),
    "system-out": (set(), set(), ""),
    "system-err": (set(), set(), ""),
}


@pytest.fixture
def root():
    report = RunReport("main-7", "flows:main", "failed", {"n": "<3>"}, 1_700_000_000_000, 61_500, NODES, None)
    problems = {"m[a & b]": Diagnostic("FR201", "node failed", notes=("]]> \x07",))}
    text = as_junit(report, problems, {"load": "flows.load"}, "host")
    return ElementTree.fromstring(text)


def test_elements_and_attributes_are_those_of_the_schemas(root):
    for element in root.iter():
        demanded, allowed, children = ELEMENTS[element.tag]
        assert demanded <= set(element.keys()) <= demanded | allowed
        assert re.fullmatch(children, "".join(f"{child.tag} " for child in element))


def test_the_suite_counts_its_cases(root):
    suite = root[0]
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time")]
    assert counts == ["6", "1", "1", "3", "61.500"]
    assert suite.get("timestamp") == "2023-11-14T22:13:20"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))


def test_a_case_tells_what_came_of_its_node(root):
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert (len(cases["load"]), cases["load"].get("classname"), cases["load"].get("time")) == (
        0,
        "flows.load",
        "1.234",
    )
    (failure,) = cases["m[a & b]"]
    assert (failure.get("type"), failure.get("message")) == ("FR201", 'ValueError: <"no">??[31m')
    assert "error[FR201]: node failed\n  ]]> ?" in failure.text
    assert [cases[name][0].get("message") for name in ("sum", "off", "never")] == [
        "waits for m[a & b]",
        "`big` is false",
        "cancelled",
    ]
    assert cases["late"][0].tag == "error"

"""What `flowc check` found, as text for people and in the formats that other tools read.

Each format is a function of what was checked, of `read_line(file, line)`, which supplies source lines ("" if
unknown), and of the checked folder's path in the repository. Each is described in `docs/ci.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape  # `xml.sax.saxutils` loads half an HTTP client
from typing import Any, NamedTuple, get_args
from urllib.parse import quote

import msgspec

from flowc.checks.modules import Checked
from flowc.explain import explanation
from flowc.plan.codes import CODES
from flowc.plan.diagnostics import Diagnostic, Label, Place, Severity, in_order, render
from flowc.plan.text import counted

ReadLine = Callable[[str, int], str]
Format = Callable[[Sequence[Checked], ReadLine, str], str]

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
# What XML 1.0 has no way to write.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Problem(NamedTuple):
    """A diagnostic, and the first of the things in which it was found."""

    diagnostic: Diagnostic
    checked: Checked

    @property
    def place(self) -> Place:
        """Where to show it: its own place, or else the file that was checked."""
        labels = self.diagnostic.labels
        return labels[0].place if labels else Place(self.checked.file)


def problems(checked: Iterable[Checked]) -> list[Problem]:
    """Every problem once, in order of place."""
    first: dict[Diagnostic, Checked] = {}
    for one in checked:
        for diagnostic in one.diagnostics:
            first.setdefault(diagnostic, one)
    found: list[Problem] = []
    causes: set[tuple[Label, ...]] = set()
    for diagnostic in in_order(first):
        # Many modules that do not import because of one line have one problem, told of the first of them.
        if diagnostic.code == "FC003" and diagnostic.labels:
            if diagnostic.labels in causes:
                continue
            causes.add(diagnostic.labels)
        found.append(Problem(diagnostic, first[diagnostic]))
    return found


def as_text(checked: Sequence[Checked], read_line: ReadLine, folder: str) -> str:
    """As `flowc compile` prints diagnostics, and a line that sums up."""
    found = problems(checked)
    return "\n\n".join([*(render(p.diagnostic, read_line) for p in found), _summary(checked, found)]) + "\n"


def as_json(checked: Sequence[Checked], read_line: ReadLine, folder: str) -> str:
    """A JSON array with an object a line for each problem."""
    rows = [msgspec.json.encode(_as_object(problem)).decode() for problem in problems(checked)]
    return "[\n" + ",\n".join(rows) + "\n]\n" if rows else "[]\n"


def as_github(checked: Sequence[Checked], read_line: ReadLine, folder: str) -> str:
    """GitHub's workflow commands, which annotate the lines of a pull request."""
    return "".join(_as_command(problem, folder) for problem in problems(checked))


def as_sarif(checked: Sequence[Checked], read_line: ReadLine, folder: str) -> str:
    """SARIF 2.1.0, for code scanning."""
    found = problems(checked)
    codes = sorted({problem.diagnostic.code for problem in found})
    errors = {problem.diagnostic.code for problem in found if problem.diagnostic.severity == "error"}
    rules = [_as_rule(code, "error" if code in errors else "warning") for code in codes]
    results = [_as_result(problem, codes, read_line, folder) for problem in found]
    driver = {"name": "flowc", "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}
    log = {"$schema": _SARIF, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def as_junit(checked: Sequence[Checked], read_line: ReadLine, folder: str) -> str:
    """JUnit's XML: a suite for each file, in it a case for each workflow, or for the file as a whole."""
    by_file: dict[str, list[Checked]] = {}
    for one in checked:
        by_file.setdefault(one.file, []).append(one)
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f"<testsuites {_counts('flowc check', checked)}>"]
    for file, cases in by_file.items():
        lines.append(f"  <testsuite {_counts(file or '.', cases)}>")
        lines += [line for case in cases for line in _as_case(case, read_line)]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


FORMATS: dict[str, Format] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
    "junit": as_junit,
}


def _summary(checked: Sequence[Checked], found: Sequence[Problem]) -> str:
    workflows = sum(1 for one in checked if one.workflow)
    plans = len({one.file for one in checked if one.file.endswith(".jsonl")})
    counts = [counted(workflows, "workflow")] * bool(workflows) + [counted(plans, "plan")] * bool(plans)
    what = " and ".join(counts)
    severities = [problem.diagnostic.severity for problem in found]
    told = [counted(severities.count(of), of) for of in get_args(Severity) if of in severities]
    if told:
        return " and ".join(told) + (f"; checked {what}" if what else "")
    return f"{what}: nothing is wrong" if what else "no workflows here"


def _as_object(problem: Problem) -> dict[str, Any]:
    diagnostic, checked = problem
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        **_position(problem.place),
        "labels": [{**_position(label.place), "text": label.text} for label in diagnostic.labels],
        "notes": diagnostic.notes,
        "hint": diagnostic.hint,
        "workflow": checked.reference if checked.workflow else None,
        "doc": f"docs/errors/{diagnostic.code}.md",
    }


def _position(place: Place) -> dict[str, Any]:
    return {
        "file": place.file or None,
        "line": place.line or None,
        "column": place.column or None,
        "end_column": place.end_column or None,
    }


def _as_command(problem: Problem, folder: str) -> str:
    place = problem.place
    properties = {
        "file": _in_repository(place.file, folder),
        "line": place.line,
        "endLine": place.line if place.end_column else 0,
        "col": place.column,
        "endColumn": place.end_column,
        "title": problem.diagnostic.code,
    }
    shown = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value)
    command = problem.diagnostic.severity  # GitHub's have the same names
    return f"::{command} {shown}::{_data(_message(problem.diagnostic, *problem.diagnostic.labels[1:]))}\n"


def _message(diagnostic: Diagnostic, *further: Label) -> str:
    """All that is said in words, for formats that show the source themselves."""
    said = diagnostic.labels[0].text if diagnostic.labels else ""
    lines = [f"{diagnostic.message}: {said}" if said else diagnostic.message]
    lines += [f"{label.place}: {label.text}".removesuffix(": ") for label in further]
    return "\n".join([*lines, *diagnostic.notes, *([f"hint: {diagnostic.hint}"] if diagnostic.hint else [])])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _in_repository(file: str, folder: str) -> str:
    return file if not file or folder == "." or file.startswith("/") else f"{folder}/{file}"


def _as_rule(code: str, level: Severity) -> dict[str, Any]:
    page = explanation(code)
    return {
        "id": code,
        "shortDescription": {"text": CODES[code]},
        "help": {"text": page, "markdown": page},
        "defaultConfiguration": {"level": level},
    }


def _as_result(problem: Problem, codes: list[str], read_line: ReadLine, folder: str) -> dict[str, Any]:
    diagnostic = problem.diagnostic
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": codes.index(diagnostic.code),
        "level": diagnostic.severity,
        "message": {"text": _message(diagnostic)},
        "locations": [_as_location(Label(problem.place), read_line, folder)] if problem.place.file else [],
    }
    if diagnostic.labels[1:]:
        result["relatedLocations"] = [
            {"id": number, **_as_location(label, read_line, folder)}
            for number, label in enumerate(diagnostic.labels[1:], 1)
        ]
    return result


def _as_location(label: Label, read_line: ReadLine, folder: str) -> dict[str, Any]:
    place = label.place
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(_in_repository(place.file, folder))}}
    if place.line:
        line = read_line(place.file, place.line)
        ends = {"startColumn": place.column, "endColumn": place.end_column}
        columns = {name: _utf16(line, column) for name, column in ends.items() if column}
        physical["region"] = {"startLine": place.line, **columns}
    return {"physicalLocation": physical} | ({"message": {"text": label.text}} if label.text else {})


def _utf16(line: str, column: int) -> int:
    """A column in UTF-16 code units; a character beyond the Basic Multilingual Plane is two of them."""
    return column + sum(character > "\uffff" for character in line[: column - 1])


def _counts(name: str, cases: Sequence[Checked]) -> str:
    failures = sum(1 for case in cases if case.failed)
    seconds = sum(case.seconds for case in cases)
    return (
        f'name={_attribute(name)} tests="{len(cases)}" failures="{failures}" errors="0" time="{seconds:.3f}"'
    )


def _as_case(case: Checked, read_line: ReadLine) -> list[str]:
    name = case.workflow or ("plan" if case.file.endswith(".jsonl") else "import")
    names = f"classname={_attribute(case.file or '.')} name={_attribute(name)}"
    head = f'<testcase {names} time="{case.seconds:.3f}"'
    if not case.diagnostics:
        return [f"    {head}/>"]
    said = [(found, _xml(render(found, read_line))) for found in in_order(case.diagnostics)]
    failures = [
        f"      <failure type={_attribute(found.code)} message={_attribute(found.message)}>{text}</failure>"
        for found, text in said
        if found.severity == "error"
    ]
    # JUnit knows no warnings: they are what the case has printed.
    warnings = "\n\n".join(text for found, text in said if found.severity == "warning")
    output = [f"      <system-out>{warnings}</system-out>"] if warnings else []
    return [f"    {head}>", *failures, *output, "    </testcase>"]


def _attribute(text: str) -> str:
    # As it is, white space other than blanks would be read as blanks.
    whole = _xml(text).replace("\t", "&#9;").replace("\n", "&#10;")
    return f'"{whole}"'


def _xml(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text)).replace("\r", "&#13;")

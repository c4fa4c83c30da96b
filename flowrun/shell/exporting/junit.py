"""`flowrun show --junit`: a run for CI servers, valid against the schema of Ant and Jenkins.

A case for each node. What failed has the diagnostic and the end of its log; what could not run is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape

from flowc.plan.diagnostics import Diagnostic, render
from flowrun.shell.showing.report import NodeReport, RunReport

_FAILED, _ERRED, _SKIPPED = "failed", "interrupted", ("blocked", "skipped", "cancelled", "pending", "ready")


def as_junit(
    report: RunReport, problems: Mapping[str, Diagnostic], operators: Mapping[str, str], host: str
) -> str:
    """The file. `problems` has what is to be said of nodes that failed, `operators` what each node runs."""
    cases = [
        line
        for node in report.nodes
        for line in _case(node, operators.get(node.node, "node"), problems.get(node.node))
    ]
    states = [node.state for node in report.nodes]
    counts = {
        "tests": len(states),
        "failures": states.count(_FAILED),
        "errors": states.count(_ERRED),
        "skipped": sum(state in _SKIPPED for state in states),
        "time": f"{report.wall_ms / 1000:.3f}",
    }
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(report.started_ms / 1000))
    about = {"id": 0, "package": report.workflow}
    suite = {"name": report.run, "timestamp": when, "hostname": host, **counts, **about}
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<testsuites>",
        f"  <testsuite {_attributes(suite)}>",
        "    <properties>",
        f"      <property {_attributes({'name': 'workflow', 'value': report.workflow})}/>",
    ]
    lines += [
        f"      <property {_attributes({'name': f'input.{name}', 'value': value})}/>"
        for name, value in report.inputs.items()
    ]
    return "\n".join(
        [
            *lines,
            "    </properties>",
            *cases,
            "    <system-out/>",
            "    <system-err/>",
            "  </testsuite>",
            "</testsuites>",
            "",
        ]
    )


def _case(node: NodeReport, operator: str, problem: Diagnostic | None) -> list[str]:
    attributes = {"classname": operator, "name": node.node, "time": f"{node.wall_ms / 1000:.3f}"}
    head = f"    <testcase {_attributes(attributes)}"
    if node.state == "succeeded":
        return [f"{head}/>"]
    if node.state == _FAILED and node.failure is not None:
        text = render(problem) if problem else node.failure.message
        first = node.failure.message.splitlines()[0] if node.failure.message else ""
        told = (
            f"<failure {_attributes({'message': first, 'type': node.failure.code})}>{_text(text)}</failure>"
        )
    elif node.state == _ERRED:
        told = f"<error {_attributes({'message': 'the run was interrupted', 'type': 'interrupted'})}/>"
    else:
        why = f"waits for {node.blocked_by}" if node.blocked_by else node.note or node.state
        told = f"<skipped {_attributes({'message': why})}/>"
    return [f"{head}>", f"      {told}", "    </testcase>"]


def _attributes(values: Mapping[str, object]) -> str:
    return " ".join(f'{name}="{_text(str(value))}"' for name, value in values.items())


def _text(text: str) -> str:
    """As XML 1.0 may have it: other control characters cannot even be escaped there."""
    kept = "".join(
        c if c in "\t\n" or "\x20" <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff" else "?"
        for c in text
    )
    return escape(kept, quote=True)

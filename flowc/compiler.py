"""The passes in order: trace, check, annotate."""

from __future__ import annotations

from typing import Any

import msgspec

from flowc.check import check
from flowc.lang import Workflow
from flowc.plan.diagnostics import Refused
from flowc.plan.graph import dependencies, levels
from flowc.plan.model import Plan
from flowc.trace import trace


def compile_workflow(workflow: Workflow[..., Any], root: str = ".") -> Plan:
    """Compile a workflow to a plan; `Refused` carries every mistake found."""
    traced = trace(workflow, root)
    problems = [*traced.problems, *check(traced)]
    if problems:
        raise Refused(*problems)
    return annotate(traced.plan)


def annotate(plan: Plan) -> Plan:
    """Add what follows from the nodes: the levels."""
    return msgspec.structs.replace(plan, levels=levels(plan.nodes, dependencies(plan.nodes)))

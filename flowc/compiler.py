"""The passes in order: trace, check, annotate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowc.check import check
from flowc.lang import Workflow
from flowc.plan.diagnostics import Refused
from flowc.plan.graph import dependencies, levels
from flowc.plan.model import Plan
from flowc.static import bind_static
from flowc.trace import trace


def compile_workflow(
    workflow: Workflow[..., Any], root: str = ".", static: Mapping[str, Any] | None = None
) -> Plan:
    """Compile a workflow, with its static inputs as given; `Refused` carries every mistake found."""
    traced = trace(workflow, root, bind_static(workflow, static or {}))
    problems = [*traced.problems, *check(traced)]
    if problems:
        raise Refused(*problems)
    return annotate(traced.plan)


def annotate(plan: Plan) -> Plan:
    """Add what follows from the nodes: the levels."""
    return msgspec.structs.replace(plan, levels=levels(plan.nodes, dependencies(plan.nodes)))

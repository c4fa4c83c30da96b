"""The passes in order: trace, check, annotate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowc.check import check
from flowc.incremental import Kept, Partitions
from flowc.keeping import LEAST_NODES, encoded, flattened, lay_out, sum_up
from flowc.lang import Workflow
from flowc.plan import codec
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


class Compiled(msgspec.Struct, frozen=True):
    """A compiled plan as it is written, and what to keep for the next compilation.

    `plan` is without the nodes that did not have to be looked at.
    """

    data: bytes
    plan: Plan
    kept: Mapping[str, Kept]


def compile_again(
    workflow: Workflow[..., Any], root: str, static: Mapping[str, Any], known: Mapping[str, Kept]
) -> Compiled:
    """Compile a workflow with what an earlier compilation kept: the same bytes as without, sooner."""
    partitions = Partitions(known)
    traced = trace(workflow, root, bind_static(workflow, static), partitions)
    problems = [*traced.problems, *check(traced)]
    if known and (problems or partitions.spoilt):  # whatever is wrong, it is told as if nothing had been kept
        return compile_again(workflow, root, static, {})
    if problems:
        raise Refused(*problems)
    layout = lay_out(traced.trace.items)
    plan = msgspec.structs.replace(traced.plan, levels=layout.levels())
    rows = encoded(layout.items)
    large = sum(level.nodes for level in plan.levels) >= LEAST_NODES
    kept = sum_up(traced.trace, partitions, layout, rows) if large else {}
    return Compiled(codec.encode(plan, flattened(rows)), plan, kept)


def annotate(plan: Plan) -> Plan:
    """Add what follows from the nodes: the levels."""
    return msgspec.structs.replace(plan, levels=levels(plan.nodes, dependencies(plan.nodes)))

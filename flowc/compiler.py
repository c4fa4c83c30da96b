"""The passes in order: trace, check, annotate."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from flowc import keeping
from flowc.check import check
from flowc.incremental import Kept, Partitions, Slice, rests_on
from flowc.keeping import encoded, flattened, lay_out, sum_up
from flowc.lang import Workflow
from flowc.plan import codec
from flowc.plan.diagnostics import Refused
from flowc.plan.graph import dependencies, levels
from flowc.plan.model import Plan
from flowc.reach import Unknown, reach_of
from flowc.recording import Trace
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


class Spoilt(Exception):
    """What was kept does not fit, and tracing may have changed the process: another one has to compile."""


def compile_again(
    workflow: Workflow[..., Any], root: str, static: Mapping[str, Any], known: Mapping[str, Kept]
) -> Compiled:
    """Compile a workflow with what an earlier compilation kept: the same bytes as without, sooner.

    `Spoilt` if it has to be compiled without, and cannot be in this process.
    """
    partitions = Partitions(known)
    before = _state_of(workflow) if known else ""
    traced = trace(workflow, root, bind_static(workflow, static), partitions)
    problems = [*traced.problems, *check(traced)]
    if known and (problems or partitions.spoilt or _is_widened(traced.trace)):
        # Whatever is wrong, it is told as if nothing had been kept.
        if not before or _state_of(workflow) != before:
            raise Spoilt
        return compile_again(workflow, root, static, {})
    if problems:
        raise Refused(*problems)
    layout = lay_out(traced.trace.items, traced.trace.site_of)
    plan = msgspec.structs.replace(traced.plan, levels=layout.levels())
    rows = encoded(layout.items)
    large = sum(level.nodes for level in plan.levels) >= keeping.LEAST_NODES
    kept = sum_up(traced.trace, partitions, layout, rows) if large else {}
    return Compiled(codec.encode(plan, flattened(rows)), plan, kept)


def _state_of(workflow: Workflow[..., Any]) -> str:
    """A hash of all that a trace depends on, if that can be told; else ""."""
    with contextlib.suppress(Unknown):
        return reach_of(workflow).hash
    return ""


def _is_widened(trace: Trace) -> bool:
    """Whether calls that were restored have other types by now: those in a loop share one row."""
    slices = [item for item in trace.items if isinstance(item, Slice)]
    return bool(trace.widened) and any(rests_on(item, trace.widened) for item in slices)


def annotate(plan: Plan) -> Plan:
    """Add what follows from the nodes: the levels."""
    return msgspec.structs.replace(plan, levels=levels(plan.nodes, dependencies(plan.nodes)))

"""The passes in order: trace, then each function of `PASSES` on what the one before has made."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from flowc import estimates
from flowc.check import check, infeasible, pickles, unused
from flowc.folding import Folding
from flowc.incremental import Partitions, rests_on
from flowc.kept import Known, Slice
from flowc.lang import Operator, Workflow
from flowc.layout import Layout, lay_out
from flowc.optimize import Simplified, simplify
from flowc.plan.diagnostics import Diagnostic, Refused
from flowc.plan.history import Record
from flowc.plan.host import Cluster
from flowc.plan.model import Plan
from flowc.reach import reach_of
from flowc.recording import Trace
from flowc.static import bind_static
from flowc.timing import Stopwatch
from flowc.trace import Traced, trace
from flowc.walk import Unknown


class Options(msgspec.Struct, frozen=True):
    """What may be chosen of a compilation. `root` is where the workflow's modules are imported from.

    With `hosts`, calls that none could ever run are refused; the plan does not depend on them.
    """

    root: str = "."
    static: Mapping[str, Any] = {}
    optimize: bool = True
    history: Sequence[Record] = ()
    hosts: Cluster | None = None


class Spoilt(Exception):
    """What was kept does not fit, and tracing may have changed the process: another one has to compile."""


class Draft(msgspec.Struct, frozen=True):
    """A plan on its way through the passes, and what they have to tell of it.

    `partitions` are given where an earlier compilation may spare this one work: then what it had kept stands,
    in its place among the nodes, in `layout` only, which the pass `levels` makes.
    """

    traced: Traced
    plan: Plan
    options: Options
    clock: Callable[[], float]
    partitions: Partitions | None = None
    warnings: tuple[Diagnostic, ...] = ()
    simplified: Simplified = Simplified()
    layout: Layout | None = None


def compile_workflow(
    workflow: Workflow[..., Any], root: str = ".", static: Mapping[str, Any] | None = None
) -> Plan:
    """Compile a workflow, with its static inputs as given; `Refused` carries every mistake found."""
    return compiled(workflow, Options(root, static or {}), Stopwatch(time.perf_counter)).plan


def compiled(
    workflow: Workflow[..., Any],
    options: Options,
    watch: Stopwatch,
    known: Known | None = None,
) -> Draft:
    """Compile a workflow, and keep what the passes had to tell; `Refused` carries every mistake found.

    `known` is what an earlier compilation kept: the plan is the same with it. Whatever is not sure, and
    whatever is wrong, is told as if nothing had been kept. `Spoilt` if that cannot be in this process.
    """
    restores = known is not None and bool(known.partitions)
    before = _state_of(workflow) if restores else ""
    try:
        draft = _passed(workflow, options, watch, known)
    except Refused:
        if not restores:
            raise
    else:
        if draft.partitions is None or not draft.partitions.spoilt:
            return draft
    if not before or _state_of(workflow) != before:
        raise Spoilt
    return _passed(workflow, options, watch, Known())


def _state_of(workflow: Workflow[..., Any]) -> str:
    """A hash of all that a trace depends on, if that can be told; else ""."""
    with contextlib.suppress(Unknown):
        return reach_of(workflow).hash
    return ""


def _is_widened(trace: Trace) -> bool:
    """Whether calls that were restored have other types by now: those in a loop share one row."""
    slices = [item for item in trace.items if isinstance(item, Slice)]
    return bool(trace.widened) and any(rests_on(item, trace.widened) for item in slices)


def _passed(workflow: Workflow[..., Any], options: Options, watch: Stopwatch, known: Known | None) -> Draft:
    partitions = None if known is None else Partitions(known)
    with watch.lap("trace"):
        traced = trace(workflow, options.root, bind_static(workflow, options.static), partitions)
    if known is not None and known.partitions and partitions is not None:
        # To simplify a plan, all of its nodes are looked at.
        partitions.spoilt |= any(site.deterministic for site in traced.plan.sites)
        partitions.spoilt |= _is_widened(traced.trace)
    draft = Draft(traced, traced.plan, options, watch.clock, partitions)
    for name, run in PASSES if partitions is None or not partitions.spoilt else ():
        with watch.lap(name):
            draft = run(draft)
    return draft


def _check(draft: Draft) -> Draft:
    problems = [*draft.traced.problems, *check(draft.traced)]
    if draft.options.hosts is not None:
        problems += infeasible(draft.traced, draft.options.hosts)
    if problems:
        raise Refused(*problems)
    return _with(draft, warnings=(*draft.warnings, *unused(draft.traced), *pickles(draft.traced)))


def _simplify(draft: Draft) -> Draft:
    foldable = {site.op: _operator(site.op) for site in draft.plan.sites if site.deterministic}
    if not draft.options.optimize or not foldable:
        return draft
    foldable = {name: op for name, op in foldable.items() if op.declaration.fold}
    folding = Folding(foldable, {site: call.place for site, call in draft.traced.calls.items()}, draft.clock)
    plan, simplified = simplify(draft.plan, folding, foldable)
    warnings = (*draft.warnings, *folding.warnings.values())
    return _with(draft, plan=plan, simplified=simplified, warnings=warnings, partitions=None)


def _estimate(draft: Draft) -> Draft:
    history = draft.options.history
    plan = estimates.estimate(draft.plan, history)
    places = {site: call.place for site, call in draft.traced.calls.items()} if history else {}
    return _with(draft, plan=plan, warnings=(*draft.warnings, *estimates.objections(plan, history, places)))


def _levels(draft: Draft) -> Draft:
    trace = draft.traced.trace
    layout = lay_out(draft.plan.nodes if draft.partitions is None else trace.items, trace.site_of)
    plan = msgspec.structs.replace(draft.plan, levels=layout.levels())
    return _with(draft, plan=plan, layout=layout)


PASSES: tuple[tuple[str, Callable[[Draft], Draft]], ...] = (
    ("check", _check),
    ("simplify", _simplify),
    ("estimate", _estimate),
    ("levels", _levels),
)

_with = msgspec.structs.replace


def _operator(reference: str) -> Operator[..., Any]:
    """An operator that was traced, so that its module is there and has it under its name."""
    module, _, name = reference.partition(":")
    found = getattr(sys.modules[module], name)
    assert isinstance(found, Operator)
    return found

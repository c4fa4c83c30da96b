"""Tracing: run a workflow function with futures for inputs, and write down the operator calls.

The result is a plan without levels, together with what the checks need to point at the source.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from flowc import lang
from flowc.definitions import definition_of
from flowc.futures import Future
from flowc.hints import structures_of
from flowc.lang import Workflow
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused
from flowc.plan.edges import Results
from flowc.plan.model import FORMAT, Header, Input, InputRef, Node, Package, Plan, Span
from flowc.plan.packages import installed
from flowc.recording import Trace
from flowc.spans import Call, place_at
from flowc.values import Unwritable

if TYPE_CHECKING:
    from flowc.incremental import Partitions


class Traced(msgspec.Struct, frozen=True):
    """A traced workflow: the plan so far, where its sites and inputs stand, and what went wrong.

    What was restored from an earlier trace stands, in its place among the nodes, in the `trace` only.
    """

    plan: Plan
    calls: Mapping[str, Call]
    inputs: Mapping[str, Place]
    results: Results
    problems: tuple[Diagnostic, ...]
    trace: Trace


def trace(
    workflow: Workflow[..., Any],
    root: str = ".",
    static: Mapping[str, Any] | None = None,
    partitions: Partitions | None = None,
) -> Traced:
    """Trace a workflow, with values for its static inputs. Mistakes are collected in `problems`.

    With `partitions` of an earlier trace, what has not changed is not traced again.
    """
    tracing = Trace(_call.__code__, partitions)
    tracing.inputs |= _inputs(workflow, tracing)
    inputs = tracing.inputs
    given = dict(static or {})
    result = None
    lang.recorder = tracing
    try:
        futures = {name: Future(tracing, InputRef(name), of) for name, of in workflow.inputs.items()}
        result = _call(tracing, workflow, {**futures, **given})
    except Refused as refusal:
        tracing.problems += refusal.diagnostics
    except (Exception, SystemExit) as error:
        # Once something is wrong, later exceptions may well be its consequence.
        if not tracing.problems:
            tracing.problems.append(_raised(workflow, error))
    finally:
        lang.recorder = None
        tracing.close()
    tree = None
    try:
        tree = tracing.tree(result)
    except Unwritable as error:
        message = f"the result of `{workflow.name}` cannot be written into a plan: {error}"
        tracing.problems.append(Diagnostic("FC021", message, (Label(definition_of(workflow.origin)),)))
    except Refused as refusal:  # no line of the author's is being run any more: the workflow stands for it
        at = (Label(definition_of(workflow.origin)),)
        tracing.problems += [msgspec.structs.replace(d, labels=at) for d in refusal.diagnostics]
    written = _static(workflow, tracing, given)
    header = Header(FORMAT, workflow.reference, root, inputs, tree, written, _about(workflow))
    structures = tuple(tracing.structures[name] for name in sorted(tracing.structures))
    spans = tuple(Span(site, str(call.place)) for site, call in tracing.calls.items())
    nodes = tuple(item for item in tracing.items if isinstance(item, Node))
    codes = tuple(tracing.codes[op] for op in sorted(tracing.codes))
    versions = installed({package for code in codes for package in code.packages})
    plan = Plan(
        header,
        structures,
        tuple(tracing.sites.values()),
        nodes,
        spans=spans,
        codes=codes,
        packages=tuple(Package(*pair) for pair in versions.items()),
    )
    places = {name: definition_of(workflow.origin, name) for name in inputs}
    problems = tuple(dict.fromkeys(tracing.problems))
    return Traced(plan, tracing.calls, places, tracing.results, problems, tracing)


def _call(tracing: Trace, workflow: Workflow[..., Any], inputs: dict[str, Any]) -> Any:
    """Everything above this frame is the author's."""
    return tracing.enter(workflow, (), inputs)


def _about(workflow: Workflow[..., Any]) -> str:
    """The first paragraph of the workflow's docstring, on one line.

    A dataclass without one has its signature there, whose text is Python's affair.
    """
    origin = workflow.origin
    text = inspect.getdoc(origin) or ""
    made_up = isinstance(origin, type) and text.startswith(f"{origin.__name__}(")
    return "" if made_up else " ".join(text.partition("\n\n")[0].split())


def _inputs(workflow: Workflow[..., Any], tracing: Trace) -> dict[str, Input]:
    """The inputs of a workflow, and the structures that their types need."""
    hints = [hint for name, hint in workflow.hints.items() if name in workflow.inputs]
    tracing.structures |= structures_of(hints)
    found = {}
    for name, declared in workflow.inputs.items():
        of, parameter = str(declared), workflow.signature.parameters[name]
        if parameter.default is inspect.Parameter.empty:
            found[name] = Input(of)
            continue
        try:
            found[name] = Input(of, tracing.tree(parameter.default))
        except Unwritable as error:
            at = (Label(definition_of(workflow.origin, name)),)
            message = f"the default of input `{name}` cannot be written into a plan: {error}"
            tracing.problems.append(Diagnostic("FC021", message, at))
    return found


def _static(workflow: Workflow[..., Any], tracing: Trace, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of static inputs, as the plan tells them."""
    written = {}
    for name, value in given.items():
        try:
            written[name] = tracing.tree(value)
        except Unwritable as error:
            at = (Label(definition_of(workflow.origin, name)),)
            message = f"the static input `{name}` cannot be written into a plan: {error}"
            tracing.problems.append(Diagnostic("FC021", message, at))
    return written


def _raised(workflow: Workflow[..., Any], error: BaseException) -> Diagnostic:
    """The author's own exception, shown at the innermost line that is theirs, not ours or a library's."""
    place, here = definition_of(workflow.origin), inspect.getsourcefile(workflow.origin)
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == here:
            place = place_at(step.tb_frame.f_code, step.tb_lasti)
        step = step.tb_next
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    message = f"the workflow function `{workflow.name}` raised `{said}`"
    return Diagnostic("FC018", message, (Label(place),))

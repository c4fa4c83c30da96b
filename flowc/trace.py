"""Tracing: run a workflow function with futures for inputs, and write down the operator calls.

The result is a plan without levels, together with what the checks need to point at the source.
"""

from __future__ import annotations

import ast
import datetime
import enum
import inspect
import math
import numbers
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flowc import lang
from flowc.definitions import definition_of
from flowc.fingerprint import imports_of
from flowc.futures import Future, describe
from flowc.hints import hints_of, structures_of
from flowc.lang import Operator, Workflow
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused
from flowc.plan.edges import Results, select
from flowc.plan.model import (
    FORMAT,
    Header,
    Input,
    InputRef,
    Node,
    Plan,
    Ref,
    Site,
    Span,
    Structure,
)
from flowc.plan.registry import TypeDefinition, definition_of_class
from flowc.spans import Call, Frame, calls_from, innermost_place, place_at, place_of
from flowc.types import HyperparameterSet, Secret

_MAX_DEPTH = 100  # of literals: deeper than any sane argument, shallow enough never to exhaust the stack


class Traced(msgspec.Struct, frozen=True):
    """A traced workflow: the plan so far, where its sites and inputs stand, and what went wrong."""

    plan: Plan
    calls: Mapping[str, Call]
    inputs: Mapping[str, Place]
    results: Results
    problems: tuple[Diagnostic, ...]


class Unwritable(ValueError):
    """A value has no form in a plan."""


def trace(workflow: Workflow[..., Any], root: str = ".") -> Traced:
    """Trace a workflow. Mistakes are collected in `problems`, not raised."""
    tracing = Trace()
    tracing.inputs |= _inputs(workflow, tracing)
    inputs = tracing.inputs
    result = None
    lang.recorder = tracing
    try:
        result = _call(
            workflow, {name: Future(tracing, InputRef(name), of) for name, of in workflow.inputs.items()}
        )
    except Refused as refusal:
        tracing.problems += refusal.diagnostics
    except (Exception, SystemExit) as error:
        # Once something is wrong, later exceptions may well be its consequence.
        if not tracing.problems:
            tracing.problems.append(_raised(workflow, error))
    finally:
        lang.recorder = None
        tracing.open = False
    tree = None
    try:
        tree = tracing.tree(result)
    except Unwritable as error:
        message = f"the result of `{workflow.name}` cannot be written into a plan: {error}"
        tracing.problems.append(Diagnostic("FC021", message, (Label(definition_of(workflow.fn)),)))
    except Refused as refusal:  # no line of the author's is being run any more: the workflow stands for it
        at = (Label(definition_of(workflow.fn)),)
        tracing.problems += [msgspec.structs.replace(d, labels=at) for d in refusal.diagnostics]
    header = Header(FORMAT, f"{workflow.fn.__module__}:{workflow.name}", root, inputs, tree, _about(workflow))
    structures = tuple(tracing.structures[name] for name in sorted(tracing.structures))
    spans = tuple(Span(site, str(call.place)) for site, call in tracing.calls.items())
    plan = Plan(header, structures, tuple(tracing.sites.values()), tuple(tracing.nodes.values()), (), spans)
    places = {name: definition_of(workflow.fn, name) for name in inputs}
    return Traced(plan, tracing.calls, places, tracing.results, tuple(dict.fromkeys(tracing.problems)))


def _call(workflow: Workflow[..., Any], inputs: dict[str, Future]) -> Any:
    """Everything above this frame is the author's."""
    return workflow.fn(**inputs)


class Trace:
    """The calls recorded so far. One per traced workflow; implements `lang.Recorder`."""

    def __init__(self) -> None:
        self.open = True
        self.inputs: dict[str, Input] = {}
        self.sites: dict[str, Site] = {}
        self.nodes: dict[str, Node] = {}
        self.calls: dict[str, Call] = {}
        self.structures: dict[str, Structure] = {}
        self.problems: list[Diagnostic] = []
        self.results = Results(self.sites, self.inputs, self.structures)
        self._site_of_chain: dict[tuple[object, ...], str] = {}
        self._repeats: dict[str, int] = {}

    def call(self, op: Operator[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
        """Record a call of an operator."""
        try:
            return self._record(op, args, kwargs, calls_from(_call.__code__))
        except Refused as refusal:
            # Reported as well as raised: a broad `except` in the workflow must not swallow it.
            self.problems += refusal.diagnostics
            raise

    def _record(
        self, op: Operator[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], frames: list[Frame]
    ) -> Future:
        site = self._site(op, frames)
        node_id = self._node_id(site, frames)
        call = self.calls[site]
        try:
            bound = op.bind(args, kwargs)
        except TypeError as error:
            self.problems.append(_misfit(op, error, call))
            return Future(self, Ref(node_id), op.gives)
        trees = {}
        for parameter, value in bound.items():
            try:
                trees[parameter] = self.tree(value)
            except Unwritable as error:
                at = (Label(argument_place(call, tuple(op.signature.parameters), parameter)),)
                message = f"`{parameter}` of `{op.name}` cannot be written into a plan: {error}"
                self.problems.append(Diagnostic("FC021", message, at))
        node = self.nodes[node_id] = Node(node_id, trees)
        if not op.is_generic:
            return Future(self, Ref(node_id), op.gives)
        _name_columns(op, node)
        return Future(self, Ref(node_id), self.results.bind(node))

    def select(self, future: Future, name: str) -> Future:
        """The future of a field."""
        try:
            of = select(future._type, (name,), self.structures)
        except KeyError:
            structure = self.structures.get(future._type.name)
            fields = ", ".join(f"`{field}`" for field in structure.fields) if structure else ""
            diagnostic = Diagnostic(
                "FC016",
                f"{describe(future._ref)} is `{future._type.short()}`, which has no field `{name}`",
                (Label(innermost_place()),),
                hint=f"its fields are {fields}" if fields else "use its methods inside an operator",
            )
            self.report(diagnostic)
            raise Refused(diagnostic) from None
        return Future(self, msgspec.structs.replace(future._ref, at=(*future._ref.at, name)), of)

    def tree(self, value: Any, depth: int = 0) -> Any:
        """The argument tree of a value; `Unwritable` if it has none."""
        if isinstance(value, Future):
            if value._trace is not self:
                self._foreign(value)
            return value._tree
        if depth > _MAX_DEPTH:
            raise Unwritable("it is nested too deeply, or contains itself")
        if isinstance(value, enum.Enum):
            value = value.value
        match value:
            case None | bool():
                return value
            case str():
                return _text(value)
            case numbers.Integral():  # numpy's, too
                value = int(value)
                if not -(2**63) <= value < 2**63:
                    raise Unwritable("the number does not fit 64 bits")
                return value
            case numbers.Real() if not isinstance(value, numbers.Rational):
                value = float(value)
                if not math.isfinite(value):
                    raise Unwritable(f"`{value}` is no JSON number")
                return value
            case list() | tuple():
                return [self.tree(item, depth + 1) for item in value]
            case dict():
                for key in value:
                    if not isinstance(key, str):
                        raise Unwritable(f"the key `{key!r}` is not a string")
                return {"map": {_text(key): self.tree(item, depth + 1) for key, item in value.items()}}
            case datetime.date():
                return value.isoformat()
            case os.PathLike():
                return self.tree(os.fspath(value))
            case HyperparameterSet():
                return {"map": {name: self.tree(part, depth + 1) for name, part in vars(value).items()}}
            case Secret():
                return value.reference
            case _:
                definition = definition_of_class(type(value))
                if definition is not None:
                    return self._tree_of_parts(definition, value, depth)
                raise Unwritable(
                    f"it is a `{type(value).__qualname__}`: only JSON-like values and futures can be"
                )

    def _tree_of_parts(self, definition: TypeDefinition, value: Any, depth: int) -> Any:
        try:
            return self.tree(definition.parts(value), depth + 1)
        except ValueError as error:
            raise Unwritable(str(error)) from None

    def report(self, diagnostic: Diagnostic) -> None:
        """Note a mistake that is also raised."""
        self.problems.append(diagnostic)

    def origin(self, ref: Ref | InputRef) -> Place | None:
        """Where a future was made; inputs have no call."""
        call = self.calls.get(Node(ref.source).site) if isinstance(ref, Ref) else None
        return call.place if call else None

    def _site(self, op: Operator[..., Any], frames: list[Frame]) -> str:
        """The site of the call on the stack, made at its first call."""
        chain = (op.reference, *(frame.call for frame in frames))
        known = self._site_of_chain.get(chain)
        if known is not None:
            return known
        self._demand_importable(op, frames)
        names = [frame.call.name or _called(frame.call) for frame in frames[:-1]]
        innermost = frames[-1].call if frames else Call(Place("<unknown>"), "", (), None)
        path = "/".join([*names, innermost.name or op.name])
        site = path
        if site in self.sites and innermost.name:  # a variable that is assigned again: say by what
            site = f"{path}~{op.name}"
        number = 2
        while site in self.sites:
            site = f"{path}~{number}"
            number += 1
        self._site_of_chain[chain] = site
        hints = [
            hint for name, hint in op.hints.items() if name in op.signature.parameters or name == "return"
        ]
        self.structures |= structures_of(hints)
        takes = {name: str(of) for name, of in op.takes.items()}
        declared = op.declaration
        self.sites[site] = Site(
            site,
            op.reference,
            op.code,
            takes,
            str(op.gives),
            declared.needs,
            declared.retries,
            declared.backoff_ms,
            declared.timeout_ms,
            imports_of(op.fn),
        )
        self.calls[site] = innermost
        return site

    def _node_id(self, site: str, frames: list[Frame]) -> str:
        segments = site.split("/")
        keyed = [
            f"{segment}[{','.join(frame.keys)}]" if frame.keys else segment
            for segment, frame in zip(segments, frames, strict=False)
        ]
        node_id = "/".join(keyed) if frames else site
        times = self._repeats[node_id] = self._repeats.get(node_id, 0) + 1
        return node_id if times == 1 else f"{node_id}#{times}"

    def _demand_importable(self, op: Operator[..., Any], frames: list[Frame]) -> None:
        module = sys.modules.get(op.fn.__module__)
        found = getattr(module, op.fn.__qualname__, None)
        if found is not op:
            message = f"a worker could not find `{op.name}`: `{op.reference}` is not this operator"
            at = (Label(frames[-1].call.place),) if frames else ()
            hint = "define the operator with `def` at the top level of a module, under its own name"
            raise Refused(Diagnostic("FC022", message, at, hint=hint))

    def _foreign(self, future: Future) -> None:
        message = f"the future {describe(future._ref)} belongs to another workflow or another trace"
        hint = "make it in this workflow, or pass it in as an input"
        raise Refused(Diagnostic("FC017", message, (Label(innermost_place()),), hint=hint))


def _name_columns(op: Operator[..., Any], node: Node) -> None:
    """Write the names of columns that the operator's defaults give into the node, to be checked with it."""
    for name, of in op.takes.items():
        if name not in node.args and "column_of" in str(of):
            node.args[name] = op.signature.parameters[name].default


def _about(workflow: Workflow[..., Any]) -> str:
    """The first paragraph of the workflow's docstring, on one line."""
    return " ".join((inspect.getdoc(workflow.fn) or "").partition("\n\n")[0].split())


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unwritable("the text is not valid Unicode") from None
    return str.__str__(value)  # without a subclass


def argument_place(
    call: Call, parameters: Sequence[str], parameter: str, path: tuple[int | str, ...] = ()
) -> Place:
    """Where an argument, or the part of it at a path, stands in a call; the whole call if that is unknown."""
    if call.node is None:
        return call.place
    by_name: dict[str, ast.expr] = {
        keyword.arg: keyword.value for keyword in call.node.keywords if keyword.arg
    }
    if not any(isinstance(arg, ast.Starred) for arg in call.node.args):
        by_name |= dict(zip(parameters, call.node.args, strict=False))
    node = by_name.get(parameter)
    return place_of(_part(node, path), call.place.file) if node is not None else call.place


def _part(node: ast.expr, path: tuple[int | str, ...]) -> ast.expr:
    """The expression of a part, as deep as the argument is written out in lists and dicts."""
    for step in path:
        match node:
            case ast.List(elts=parts) | ast.Tuple(elts=parts) if isinstance(step, int):
                if any(isinstance(part, ast.Starred) for part in parts[: step + 1]):
                    break
                node = parts[step]
            case ast.Dict(keys=keys, values=parts):
                # The last of equal keys holds; what `**` or a computed key adds cannot be told.
                written = [key.value if isinstance(key, ast.Constant) else None for key in keys]
                if step not in written or None in written:
                    break
                node = parts[len(written) - 1 - written[::-1].index(step)]
            case _:
                break
    return node


def _inputs(workflow: Workflow[..., Any], tracing: Trace) -> dict[str, Input]:
    """The inputs of a workflow, and the structures that their types need."""
    tracing.structures |= structures_of(list(hints_of(workflow.fn).values()))
    found = {}
    for name, parameter in workflow.signature.parameters.items():
        of = str(workflow.inputs[name])
        if parameter.default is inspect.Parameter.empty:
            found[name] = Input(of)
            continue
        try:
            found[name] = Input(of, tracing.tree(parameter.default))
        except Unwritable as error:
            at = (Label(definition_of(workflow.fn, name)),)
            message = f"the default of input `{name}` cannot be written into a plan: {error}"
            tracing.problems.append(Diagnostic("FC021", message, at))
    return found


def _called(call: Call) -> str:
    """The name of the function that a call calls."""
    match call.node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
        case _:
            return "call"


def _misfit(op: Operator[..., Any], error: TypeError, call: Call) -> Diagnostic:
    parameters = ", ".join(
        f"{name}: {op.takes[name].short()}" + ("" if parameter.default is parameter.empty else " = ...")
        for name, parameter in op.signature.parameters.items()
    )
    return Diagnostic(
        "FC020",
        f"this call does not match `{op.name}`: {error}",
        (Label(call.place),),
        hint=f"it is declared as `{op.name}({parameters})`",
    )


def _raised(workflow: Workflow[..., Any], error: BaseException) -> Diagnostic:
    """The author's own exception, shown at the innermost line that is theirs, not ours or a library's."""
    place, here = definition_of(workflow.fn), workflow.fn.__code__.co_filename
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == here:
            place = place_at(step.tb_frame.f_code, step.tb_lasti)
        step = step.tb_next
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    message = f"the workflow function `{workflow.name}` raised `{said}`"
    return Diagnostic("FC018", message, (Label(place),))

"""The record of a trace: sites and nodes as the author's calls make them, each where the source has it."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec

from flowc.futures import Future, describe
from flowc.hints import structures_of
from flowc.lang import Operator, Workflow
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused
from flowc.plan.edges import Results, select
from flowc.plan.model import Code, Input, InputRef, Node, Ref, Site, Structure, Trigger
from flowc.plan.types import Type
from flowc.spans import Call, Frame, Stack, innermost_place, place_of
from flowc.values import Unwritable, tree_of

if TYPE_CHECKING:
    from flowc.incremental import Partitions
    from flowc.kept import Slice


class Circumstances(msgspec.Struct, frozen=True):
    """Under which nodes are added: fields of `Node`."""

    after: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    trigger: Trigger = "success"


_ALWAYS = Circumstances()


class Origin(msgspec.Struct, frozen=True, eq=False):
    """What a site was named by: its operator, its scopes and variable, the operator again, the calls to it.

    `operator` is "" where the call is not assigned: then the path ends in the operator's name.
    """

    reference: str
    path: str
    operator: str
    calls: tuple[Call, ...]


class Trace:
    """The calls recorded so far. One per traced workflow; implements `lang.Recorder`."""

    def __init__(self, stop: CodeType, partitions: Partitions | None = None) -> None:
        self.open = True
        self.inputs: dict[str, Input] = {}
        self.partitions = partitions
        self._stack = Stack(stop)  # the code whose frame lies between the author's and ours
        self.circumstances = _ALWAYS
        self.sites: dict[str, Site] = {}
        self.codes: dict[str, Code] = {}
        self.items: list[Node | Slice] = []
        self.calls: dict[str, Call] = {}
        self.structures: dict[str, Structure] = {}
        self.problems: list[Diagnostic] = []
        self.results = Results(self.sites, self.inputs, self.structures)
        self.origins: dict[str, Origin] = {}
        self.widened: set[str] = set()  # sites whose types depend on more than one call
        self.surveys = 0  # how often all nodes so far were looked at
        self._closures: dict[tuple[int, str], list[Structure]] = {}
        self._site_of_chain: dict[tuple[object, ...], str] = {}
        self._site_of_places: dict[tuple[object, ...], str] = {}
        self.site_of: dict[str, str] = {}  # by node
        self._repeats: dict[str, int] = {}

    def call(self, op: Operator[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
        """Record a call of an operator."""
        try:
            return self.record(op, args, kwargs, self._stack.frames())
        except Refused as refusal:
            # Reported as well as raised: a broad `except` in the workflow must not swallow it.
            self.problems += refusal.diagnostics
            raise

    def enter(self, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record the calls of a workflow, or restore what they were when nothing has changed."""
        if self.partitions is None:
            return workflow.fn(*args, **kwargs)
        return self.partitions.enter(self, workflow, args, kwargs)

    def noted(self) -> tuple[int, int]:
        """Numbers that stay the same while nothing goes wrong and only what is given is looked at."""
        return len(self.problems), self.surveys

    def structures_in(self, of: Type) -> list[Structure]:
        """The structures so far that a type leads to."""
        at = len(self.structures), str(of)
        if at not in self._closures:
            found: dict[str, Structure] = {}
            todo = _names_in(at[1])
            while todo:
                name = todo.pop()
                if name in self.structures and name not in found:
                    structure = found[name] = self.structures[name]
                    todo += [*structure.bases, *(n for f in structure.fields.values() for n in _names_in(f))]
            self._closures[at] = [found[name] for name in sorted(found)]
        return self._closures[at]

    def all_nodes(self) -> Iterator[Node]:
        """The nodes so far, those that were restored included."""
        self.surveys += 1
        for item in self.items:
            if isinstance(item, Node):
                yield item
            else:
                yield from item.nodes()

    def frames(self) -> list[Frame]:
        """The author's calls that are under way, outermost first."""
        return self._stack.frames()

    def record(
        self, op: Operator[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], frames: list[Frame]
    ) -> Future:
        """Record a call that stands where `frames` say; `Refused` if it cannot be in a plan."""
        site = self._site_of_chain.get((op.reference, *[frame.call for frame in frames]))
        if site is None:
            site = self.site(op.reference, op.name, frames, lambda site: self.plain_site(op, site, frames))
        node_id = self.node_id(site, frames)
        call = self.calls[site]
        after: tuple[str, ...] = ()
        if "after" in kwargs and "after" not in op.signature.parameters:
            place = argument_place(call, tuple(op.signature.parameters), "after")
            after = self.nodes_of(kwargs["after"], place, f"`after` of `{op.name}`")
            kwargs = {name: value for name, value in kwargs.items() if name != "after"}
        try:
            bound = op.bind(args, kwargs)
        except TypeError as error:
            self.problems.append(_misfit(op, error, call))
            return Future(self, Ref(node_id), op.gives)
        trees = self.trees(op.name, bound, call, tuple(op.signature.parameters))
        if not op.is_generic:
            self.add(node_id, trees, after)
            return Future(self, Ref(node_id), op.gives)
        node = self.add(node_id, trees | columns_by_default(op, trees), after)
        return Future(self, Ref(node_id), self.results.bind(node))

    def trees(
        self, name: str, values: Mapping[str, Any], call: Call, parameters: Sequence[str]
    ) -> dict[str, Any]:
        """The argument trees of a call; what has none is a problem (FC021)."""
        trees = {}
        for parameter, value in values.items():
            if type(value) is Future and value._trace is self:  # nearly every argument
                trees[parameter] = value._tree
                continue
            try:
                trees[parameter] = self.tree(value)
            except Unwritable as error:
                at = (Label(argument_place(call, parameters, parameter)),)
                message = f"`{parameter}` of `{name}` cannot be written into a plan: {error}"
                self.problems.append(Diagnostic("FC021", message, at))
        return trees

    def add(self, node_id: str, trees: dict[str, Any], after: tuple[str, ...] = ()) -> Node:
        """Add a node, under the circumstances of the moment."""
        of = self.circumstances
        if of is _ALWAYS and not after:  # nearly every call: a large plan is all calls
            node = Node(node_id, trees)
        else:
            after = tuple(dict.fromkeys((*after, *of.after)))
            node = Node(node_id, trees, after, of.when, of.unless, of.trigger)
        self.items.append(node)
        return node

    @contextlib.contextmanager
    def under(self, circumstances: Circumstances) -> Iterator[None]:
        """Add nodes under these circumstances."""
        before, self.circumstances = self.circumstances, circumstances
        try:
            yield
        finally:
            self.circumstances = before

    def nodes_of(self, waited_for: Any, place: Place, what: str) -> tuple[str, ...]:
        """The nodes whose futures are given; `Refused` (FC029) if it is anything else."""
        found: dict[str, None] = {}
        for future in waited_for if isinstance(waited_for, (list, tuple)) else [waited_for]:
            if not isinstance(future, Future) or not isinstance(future._ref, Ref):
                message = f"{what} must be the future of a call, or a list of such"
                raise Refused(Diagnostic("FC029", message, (Label(place),)))
            if future._trace is not self:
                self._foreign(future)
            found[future._ref.source] = None
        return tuple(found)

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

    def tree(self, value: Any) -> Any:
        """The argument tree of a value; `Unwritable` if it has none."""
        return tree_of(value, self._of_future)

    def _of_future(self, future: Future) -> Any:
        if future._trace is not self:
            self._foreign(future)
        return future._tree

    def report(self, diagnostic: Diagnostic) -> None:
        """Note a mistake that is also raised."""
        self.problems.append(diagnostic)

    def origin(self, ref: Ref | InputRef) -> Place | None:
        """Where a future was made; inputs have no call."""
        call = self.calls.get(Node(ref.source).site) if isinstance(ref, Ref) else None
        return call.place if call else None

    def site(
        self, reference: str, name: str, frames: list[Frame], make: Callable[[str], Site], suffix: str = ""
    ) -> str:
        """The site of the call on the stack, made at its first call. `name` is for what is not assigned."""
        calls = tuple([frame.call for frame in frames])
        chain = (reference, *calls)
        known = self._site_of_chain.get(chain)
        if known is None:  # a call that was restored has the same place, and is another object
            known = self._site_of_places.get((reference, *[call.place for call in calls]))
        if known is not None:
            self._site_of_chain[chain] = known
            return known
        innermost = frames[-1].call if frames else Call(Place("<unknown>"), "", (), None)
        path = "/".join([scope_of(frames[:-1]), (innermost.name or name) + suffix]).lstrip("/")
        origin = Origin(reference, path, name if innermost.name else "", calls)
        site = self.unused_site(origin)
        self.add_site(make(site), origin, innermost)
        self._site_of_chain[chain] = site
        return site

    def unused_site(self, origin: Origin) -> str:
        """The id of a new site."""
        site = origin.path
        if site in self.sites and origin.operator:  # a variable that is assigned again: say by what
            site = f"{origin.path}~{origin.operator}"
        number = 2
        while site in self.sites:
            site = f"{origin.path}~{number}"
            number += 1
        return site

    def site_at(self, reference: str, places: Sequence[Place]) -> str | None:
        """The site of the calls at some places, if there is one by now."""
        return self._site_of_places.get((reference, *places))

    def add_site(self, row: Site, origin: Origin, innermost: Call) -> None:
        """Add a site, of a new call."""
        self.sites[row.site] = row
        self.origins[row.site] = origin
        self.calls[row.site] = innermost
        self._site_of_places[(origin.reference, *[call.place for call in origin.calls])] = row.site

    def drop_site(self, site: str) -> None:
        """Take back a site that was just added."""
        origin = self.origins.pop(site)
        del self.sites[site], self.calls[site]
        del self._site_of_places[(origin.reference, *[call.place for call in origin.calls])]

    def plain_site(self, op: Operator[..., Any], site: str, frames: list[Frame]) -> Site:
        """The row for a call of an operator."""
        self._demand_importable(op, frames)
        known = (*op.signature.parameters, "return")
        self.structures |= structures_of([hint for name, hint in op.hints.items() if name in known])
        self.codes[op.reference] = Code(op.reference, op.reached.parts, op.reached.packages)
        takes = {name: str(of) for name, of in op.takes.items()}
        declared = msgspec.structs.asdict(op.declaration)
        del declared["fold"]  # of concern to the compiler alone
        gives, imports, pickles = str(op.gives), op.imports, op.pickles
        return Site(site, op.reference, op.code, takes, gives, imports=imports, pickles=pickles, **declared)

    def node_id(self, site: str, frames: list[Frame]) -> str:
        """The id of the next call of a site: its loop keys tell it from others."""
        if len(frames) == 1:
            keys = frames[0].keys
            node_id = f"{site}[{','.join(keys)}]" if keys else site
        else:
            keyed = [
                f"{segment}[{','.join(frame.keys)}]" if frame.keys else segment
                for segment, frame in zip(site.split("/"), frames, strict=False)
            ]
            node_id = "/".join(keyed) if frames else site
        if node_id in self.site_of:
            times = self._repeats[node_id] = self._repeats.get(node_id, 1) + 1
            node_id = f"{node_id}#{times}"
        self.site_of[node_id] = site
        return node_id

    def close(self) -> None:
        """No call is recorded any more."""
        self.open = False
        self._stack.forget()

    def _demand_importable(self, op: Operator[..., Any], frames: list[Frame]) -> None:
        """Refuse (FC022) an operator that a worker could not import."""
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


def columns_by_default(op: Operator[..., Any], trees: Mapping[str, Any]) -> dict[str, Any]:
    """The names of columns that the operator's defaults give: they are to be checked with the call."""
    parameters = op.signature.parameters
    return {
        name: parameters[name].default
        for name, of in op.takes.items()
        if name not in trees and "column_of" in str(of)
    }


def positions_in_call(site: Site) -> tuple[str, ...]:
    """The parameters of a site in the order in which its call takes them by position."""
    match site.control:
        case "map":
            return ("op", site.each[0])
        case "reduce":
            return ("op", "items", "initial")
        case "branch" | "choose":
            return ("condition", "then", "otherwise")
        case _:
            return tuple(site.takes)


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


def scope_of(frames: Sequence[Frame]) -> str:
    """The path of the functions that are being called: what each call is assigned to, or calls."""
    return "/".join([frame.call.name or _called(frame.call) for frame in frames])


def _names_in(of: str) -> list[str]:
    """The names of the classes in a type expression."""
    return re.findall(r"[^\s\[\],|]+:[^\s\[\],|]+", of)


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

"""What only the run knows: loops over results, branches on results, and what to do at the end.

Each of these makes nodes with a `control` (see `Site`), on which the scheduler acts when it has the values.
Outside of a workflow that is being traced they are what they say in plain Python.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import msgspec

from flowc import lang
from flowc.futures import Future
from flowc.lang import Operator
from flowc.plan.diagnostics import Diagnostic, Label, Refused
from flowc.plan.edges import select, type_of_tree
from flowc.plan.graph import waited_for
from flowc.plan.model import NOTHING, Control, InputRef, Ref, Site, site_of
from flowc.plan.types import Type, parse, union
from flowc.spans import Frame, clean, innermost_place

if TYPE_CHECKING:
    from flowc.plan.model import Trigger
    from flowc.recording import Trace

R = TypeVar("R")
_BOOL = Type("bool")


def foreach(op: Operator[..., R], items: Any, /, *, key: str = "", **shared: Any) -> list[R]:
    """Call an operator for each item of a list, and give the list of results, in the items' order.

    The item goes to the operator's first parameter that is not among `shared`, which is the same for all. The
    list may be a future: how long it is, is then known when the run gets there. Nodes are numbered, or named
    after the items' field `key`.
    """
    trace = _tracing()
    parameter = _free_parameters(op, 1, "foreach", shared)[0]
    if trace is None:
        return [op.fn(**{parameter: item}, **shared) for item in items]
    if not isinstance(items, Future):
        return [_unrolled(trace, op, name, {parameter: item, **shared}) for name, item in _named(items, key)]
    with _reporting(trace):
        takes = {**op.takes, parameter: Type("list", (op.takes[parameter],))}
        gives = Type("list", (op.gives,))
        shape = _Shape("map", takes, gives, (parameter,), key)
        return cast("list[R]", _spread(trace, op, {parameter: items, **shared}, shape))


def reduce(op: Operator[..., R], items: Any, /, initial: Any = None, **shared: Any) -> R:
    """Combine the items of a list, two at a time, with an associative operator; the last result is given.

    Neighbours are combined first, so that many pairs run side by side: log2(n) steps for n items. `initial`
    comes before the first item; without it, an empty list fails.
    """
    trace = _tracing()
    left, right = _free_parameters(op, 2, "reduce", shared)
    if trace is None:
        whole = [*([] if initial is None else [initial]), *items]
        combine: Callable[[Any, Any], R] = lambda a, b: op.fn(**{left: a, right: b}, **shared)  # noqa: E731
        return cast(R, functools.reduce(combine, whole))
    if not isinstance(items, Future):
        return _tree_of_calls(trace, op, (left, right), items, initial, shared)
    with _reporting(trace):
        rest = {name: of for name, of in op.takes.items() if name not in (left, right)}
        takes = {"items": Type("list", (op.takes[left],)), "initial": op.takes[left], **rest}
        given = {"items": items, **({} if initial is None else {"initial": initial}), **shared}
        return cast(R, _spread(trace, op, given, _Shape("reduce", takes, op.gives, (left, right))))


def when(condition: Any, then: Any, otherwise: Any = None, /) -> Any:
    """What `then` is if the condition holds, else what `otherwise` is.

    Either is a function without parameters, whose calls run only if it is taken, or simply a value. The calls
    of the branch that is not taken are skipped, and with them what needs their results.
    """
    trace = _tracing()
    if trace is None or not isinstance(condition, Future):
        return _value_of(then if condition else otherwise)
    with _reporting(trace):
        frames = trace.frames()
        branch = _control(trace, "branch", frames, {"condition": _BOOL}, _BOOL, suffix=".if")
        node = trace.node_id(branch, frames)
        trace.add(node, trace.trees("when", {"condition": condition}, trace.calls[branch], ()))
        outer = trace.circumstances
        changed = msgspec.structs.replace
        with trace.under(changed(outer, when=(*outer.when, node))):
            first = _value_of(then)
        with trace.under(changed(outer, unless=(*outer.unless, node))):
            second = _value_of(otherwise)
        values = {"condition": Future(trace, Ref(node), _BOOL), "then": first, "otherwise": second}
        trees = trace.trees("when", values, trace.calls[branch], ("condition", "then", "otherwise"))
        takes = {name: type_of_tree(tree, functools.partial(_type_of, trace)) for name, tree in trees.items()}
        gives = union([takes.get("then", parse("Any")), takes.get("otherwise", parse("Any"))])
        choice = _control(trace, "choose", frames, takes, gives)
        node = trace.node_id(choice, frames)
        trace.add(node, trees)
        return Future(trace, Ref(node), gives)


def on_failure(handler: Callable[[], object], /, of: Any = None) -> None:
    """Have the calls in `handler` run if a call did not succeed: one of `of`, or any call made so far."""
    _at_end("on_failure", "failure", handler, of)


def finally_(handler: Callable[[], object], /, of: Any = None) -> None:
    """Have the calls in `handler` run when `of`, or all calls made so far, are over, however they ended.

    They run, too, when the run is cancelled. One that needs the result of a call that gave none is skipped.
    """
    _at_end("finally_", "always", handler, of)


class _Shape(msgspec.Struct, frozen=True):
    """What makes the nodes of a map or a reduction differ from plain calls of their operator."""

    control: Control
    takes: dict[str, Type]
    gives: Type
    each: tuple[str, ...]
    key: str = ""


def _tracing() -> Trace | None:
    return cast("Trace | None", lang.recorder)


@contextlib.contextmanager
def _reporting(trace: Trace) -> Iterator[None]:
    """What is refused inside is noted as well as raised: a broad `except` of the author cannot hide it."""
    try:
        yield
    except Refused as refusal:
        for diagnostic in refusal.diagnostics:
            trace.report(diagnostic)
        raise


def _refuse(code: str, message: str, hint: str = "") -> NoReturn:
    trace = _tracing()
    if trace is None:
        raise TypeError(message)
    diagnostic = Diagnostic(code, message, (Label(innermost_place()),), hint=hint)
    trace.report(diagnostic)
    raise Refused(diagnostic)


def _free_parameters(op: Any, count: int, what: str, shared: dict[str, Any]) -> tuple[str, ...]:
    """The operator's first parameters that are not among the shared arguments."""
    if not isinstance(op, Operator):
        hint = "put the steps into one operator"
        _refuse("FC026", f"`{what}` takes an operator, not {_described(op)}", hint)
    unknown = [name for name in shared if name not in op.signature.parameters]
    free = [name for name in op.signature.parameters if name not in shared]
    if unknown or len(free) < count:
        declared = ", ".join(f"`{name}`" for name in op.signature.parameters) or "none"
        wrong = f"has no parameter `{unknown[0]}`" if unknown else f"has no parameter for {what}'s items"
        _refuse("FC026", f"`{op.name}` {wrong}", f"its parameters are {declared}")
    return tuple(free[:count])


def _described(value: Any) -> str:
    name = getattr(value, "__name__", None) if not isinstance(value, Future) else None
    return f"`{name}`" if name else f"a `{type(value).__name__}`"


def _named(items: Any, key: str) -> list[tuple[str, Any]]:
    """The items of a list that is known while tracing, each with what stands for it in an id."""
    try:
        known = list(items)
    except TypeError:
        _refuse("FC026", f"`foreach` takes a list or the future of one, not {_described(items)}")
    names = [
        clean(str(getattr(item, key))) if key and not isinstance(item, Future) else str(i)
        for i, item in enumerate(known)
    ]
    return list(zip(names, known, strict=True))


def _unrolled(trace: Trace, op: Operator[..., R], name: str, given: dict[str, Any]) -> R:
    """One call of a loop whose items are known: a node like any other."""
    with _reporting(trace):
        *outer, innermost = trace.frames()
        keyed = Frame(innermost.call, (*innermost.keys, name))
        return cast(R, trace.record(op, (), given, [*outer, keyed]))


def _tree_of_calls(
    trace: Trace,
    op: Operator[..., R],
    pair: tuple[str, str],
    items: Any,
    initial: Any,
    shared: dict[str, Any],
) -> R:
    """A reduction of a list that is known while tracing, as a balanced tree of calls."""
    level = [*([] if initial is None else [initial]), *items]
    if not level:
        _refuse("FC026", "`reduce` of an empty list needs an `initial`")
    height = 0
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [
            _unrolled(trace, op, f"{height}.{i}", dict(zip(pair, both, strict=True)) | shared)
            if len(both) == 2
            else both[0]
            for i, both in enumerate(pairs)
        ]
        height += 1
    return cast(R, level[0])


def _spread(trace: Trace, op: Operator[..., Any], given: dict[str, Any], shape: _Shape) -> Future:
    """Record a map or a reduction over a list of which only the run knows the length."""
    frames = trace.frames()
    missing = [
        name
        for name, parameter in op.signature.parameters.items()
        if parameter.default is parameter.empty and name not in given and name not in shape.each
    ]
    if missing:
        _refuse("FC026", f"`{op.name}` is not given `{missing[0]}`", f"give it: `{missing[0]}=...`")

    def make(site: str) -> Site:
        plain = trace.plain_site(op, site, frames)
        takes = {name: str(of) for name, of in shape.takes.items()}
        return msgspec.structs.replace(
            plain, takes=takes, gives=str(shape.gives), control=shape.control, each=shape.each, key=shape.key
        )

    site = trace.site(f"{shape.control} {op.reference}", op.name, frames, make)
    node = trace.node_id(site, frames)
    trace.add(node, trace.trees(op.name, given, trace.calls[site], tuple(shape.takes)))
    return Future(trace, Ref(node), shape.gives)


def _control(
    trace: Trace, control: Control, frames: list[Frame], takes: dict[str, Type], gives: Type, suffix: str = ""
) -> str:
    """The site of a branch or a choice. In a loop, its types are those of all its calls together."""
    reference = f"flowc.control:{control}"
    written = {name: str(of) for name, of in takes.items()}

    def make(site: str) -> Site:
        return Site(site, reference, "", written, str(gives), NOTHING, control=control)

    site = trace.site(reference, "when", frames, make, suffix)
    known = trace.sites[site]
    if (known.takes, known.gives) != (written, str(gives)):
        both = {name: str(union([parse(known.takes[name]), of])) for name, of in takes.items()}
        together = str(union([parse(known.gives), gives]))
        trace.sites[site] = msgspec.structs.replace(known, takes=both, gives=together)
        trace.widened.add(site)
    return site


def _type_of(trace: Trace, ref: Ref | InputRef) -> Type:
    if isinstance(ref, InputRef):
        return select(trace.input_types[ref.input], ref.at, trace.structures)
    return select(parse(trace.sites[site_of(ref.source)].gives), ref.at, trace.structures)


def _value_of(branch: Any) -> Any:
    """What a branch gives: called, if it is a function."""
    return branch() if callable(branch) and not isinstance(branch, Future) else branch


def _at_end(what: str, trigger: Trigger, handler: Any, of: Any) -> None:
    if isinstance(handler, Future) or not callable(handler):
        hint = "write `lambda: ...` around it"
        _refuse("FC028", f"`{what}` takes a function, not {_described(handler)}", hint)
    trace = _tracing()
    if trace is None:
        # In plain Python, whatever came before has succeeded, or this line would not be reached.
        if trigger == "always":
            handler()
        return
    with _reporting(trace):
        if trace.circumstances.trigger != "success":
            _refuse("FC028", f"`{what}` cannot stand inside `on_failure` or `finally_`")
        watched = _sinks(trace) if of is None else trace.nodes_of(of, innermost_place(), f"`{what}`: `of`")
        if not watched:
            _refuse("FC028", f"`{what}` has no calls to wait for", "write it after them")
        outer = trace.circumstances
        with trace.under(msgspec.structs.replace(outer, after=watched, trigger=trigger)):
            handler()


def _sinks(trace: Trace) -> tuple[str, ...]:
    """The nodes so far that no other waits for, handlers aside: when these are over, all are."""
    plain = [node for node in trace.all_nodes() if node.trigger == "success"]
    inner = {source for node in plain for source in waited_for(node)}
    return tuple(node.id for node in plain if node.id not in inner)

"""Loops: an operator for each item of a list, or for pairs of them until one is left.

A list that is known while tracing makes ordinary nodes; one that only the run knows makes a node with a
`control` (see `Site`), which the scheduler unfolds. Outside of a workflow that is being traced they are plain
Python.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from flowc.control import described, refuse_call, reporting, tracing
from flowc.futures import Future
from flowc.hints import structures_of
from flowc.lang import Operator
from flowc.plan.model import Control, Ref, Site
from flowc.plan.types import Type, assignable
from flowc.recording import argument_place, columns_by_default, positions_in_call
from flowc.spans import Frame, clean

if TYPE_CHECKING:
    from flowc.recording import Trace

R = TypeVar("R")


def foreach(op: Operator[..., R], items: Any, /, *, key: str = "", **shared: Any) -> list[R]:
    """Call an operator for each item of a list, and give the list of results, in the items' order.

    The item goes to the operator's first parameter that is not among `shared`, which is the same for all. The
    list may be a future: how long it is, is then known when the run gets there. Nodes are numbered, or named
    after the items' field `key`.
    """
    trace = tracing()
    parameter = _free_parameters(op, 1, "foreach", shared)[0]
    if trace is None:
        return [op(**{parameter: item}, **shared) for item in items]
    if not isinstance(items, Future):
        return [_unrolled(trace, op, name, {parameter: item, **shared}) for name, item in _named(items, key)]
    with reporting(trace):
        if key:
            _demand_field(trace, op, op.takes[parameter], key)
        takes = {**op.takes, parameter: Type("list", (op.takes[parameter],))}
        gives = Type("list", (op.gives,))
        shape = _Shape("map", takes, gives, (parameter,), key)
        return cast("list[R]", _spread(trace, op, {parameter: items, **shared}, shape))


def reduce(op: Operator[..., R], items: Any, /, initial: Any = None, **shared: Any) -> R:
    """Combine the items of a list, two at a time, with an associative operator; the last result is given.

    Neighbours are combined first, so that many pairs run side by side: log2(n) steps for n items. `initial`
    comes before the first item; without it, an empty list fails.
    """
    trace = tracing()
    left, right = _free_parameters(op, 2, "reduce", shared)
    if trace is None:
        whole = [*([] if initial is None else [initial]), *items]
        combine: Callable[[Any, Any], R] = lambda a, b: op(**{left: a, right: b}, **shared)  # noqa: E731
        return cast(R, functools.reduce(combine, whole))
    _demand_closed(trace, op, (left, right))
    if not isinstance(items, Future):
        return _tree_of_calls(trace, op, (left, right), items, initial, shared)
    with reporting(trace):
        rest = {name: of for name, of in op.takes.items() if name not in (left, right)}
        taken = [name for name in ("items", "initial") if name in rest]
        if taken:
            message = f"`{op.name}` has a parameter `{taken[0]}`, which `reduce` needs for itself"
            refuse_call("FC026", message, "call it something else")
        takes = {"items": Type("list", (op.takes[left],)), "initial": op.takes[left], **rest}
        given = {"items": items, **({} if initial is None else {"initial": initial}), **shared}
        return cast(R, _spread(trace, op, given, _Shape("reduce", takes, op.gives, (left, right))))


class _Shape(msgspec.Struct, frozen=True):
    """What makes the nodes of a map or a reduction differ from plain calls of their operator."""

    control: Control
    takes: dict[str, Type]
    gives: Type
    each: tuple[str, ...]
    key: str = ""


def _free_parameters(op: Any, count: int, what: str, shared: dict[str, Any]) -> tuple[str, ...]:
    """The operator's first parameters that are not among the shared arguments."""
    if not isinstance(op, Operator):
        hint = "put the steps into one operator"
        refuse_call("FC026", f"`{what}` takes an operator, not {described(op)}", hint)
    unknown = [name for name in shared if name not in (*op.signature.parameters, "after")]
    free = [name for name in op.signature.parameters if name not in shared]
    if unknown or len(free) < count:
        declared = ", ".join(f"`{name}`" for name in op.signature.parameters) or "none"
        wrong = f"has no parameter `{unknown[0]}`" if unknown else f"has no parameter for {what}'s items"
        refuse_call("FC026", f"`{op.name}` {wrong}", f"its parameters are {declared}")
    return tuple(free[:count])


def _demand_field(trace: Trace, op: Operator[..., Any], of: Type, key: str) -> None:
    """Refuse (FC026) a field to name nodes after that items of a known class do not have."""
    structures = trace.structures | structures_of([*op.hints.values()])
    structure = structures.get(of.name)
    if structure is not None and structure.fields and key not in structure.fields:
        known = ", ".join(f"`{name}`" for name in structure.fields)
        refuse_call(
            "FC026", f"`{of.short()}` has no field `{key}` to name nodes after", f"its fields are {known}"
        )


def _demand_closed(trace: Trace, op: Operator[..., Any], pair: tuple[str, str]) -> None:
    """Refuse (FC026) an operator whose results it cannot take itself."""
    classes = trace.structures | structures_of([*op.hints.values()])
    for name in pair:
        if not assignable(op.gives, op.takes[name], classes):
            message = (
                f"`reduce` gives the results of `{op.name}`, which are `{op.gives.short()}`, "
                f"to its parameter `{name}`, which is `{op.takes[name].short()}`"
            )
            refuse_call("FC026", message, "reduce with an operator that gives what it takes")


def _listed(items: Any, what: str) -> list[Any]:
    try:
        return list(items)
    except TypeError:
        refuse_call("FC026", f"`{what}` takes a list or the future of one, not {described(items)}")


def _named(items: Any, key: str) -> list[tuple[str, Any]]:
    """The items of a list that is known while tracing, each with what stands for it in an id."""
    known = _listed(items, "foreach")
    names = [str(i) for i in range(len(known))]
    for i, item in enumerate(known if key else []):
        if not isinstance(item, Future):
            value = item.get(key) if isinstance(item, dict) else getattr(item, key, None)
            if value is None:
                refuse_call("FC026", f"item {i} of `foreach` has no field `{key}` to name its node after")
            names[i] = clean(str(value))
    return list(zip(names, known, strict=True))


def _unrolled(trace: Trace, op: Operator[..., R], name: str, given: dict[str, Any]) -> R:
    """One call of a loop whose items are known: a node like any other."""
    with reporting(trace):
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
    level = [*([] if initial is None else [initial]), *_listed(items, "reduce")]
    if not level:
        refuse_call("FC026", "`reduce` of an empty list needs an `initial`")
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
        refuse_call("FC026", f"`{op.name}` is not given `{missing[0]}`", f"give it: `{missing[0]}=...`")

    def make(site: str) -> Site:
        plain = trace.plain_site(op, site, frames)
        takes = {name: str(of) for name, of in shape.takes.items()}
        return msgspec.structs.replace(
            plain, takes=takes, gives=str(shape.gives), control=shape.control, each=shape.each, key=shape.key
        )

    site = trace.site(f"{shape.control} {op.reference}", op.name, frames, make)
    node = trace.node_id(site, frames)
    call, order = trace.calls[site], positions_in_call(trace.sites[site])
    after: tuple[str, ...] = ()
    if "after" in given and "after" not in op.signature.parameters:
        place = argument_place(call, order, "after")
        after = trace.nodes_of(given.pop("after"), place, f"`after` of `{op.name}`")
    trees = trace.trees(op.name, given, call, order)
    if not op.is_generic:
        trace.add(node, trees, after)
        return Future(trace, Ref(node), shape.gives)
    added = trace.add(node, trees | columns_by_default(op, trees), after)
    return Future(trace, Ref(node), trace.results.bind(added))

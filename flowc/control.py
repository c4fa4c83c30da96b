"""What only the run knows: branches on results, and what to do at the end. Loops are in `loops.py`.

Each of these makes nodes with a `control` (see `Site`), on which the scheduler acts when it has the values.
Outside of a workflow that is being traced they are what they say in plain Python.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

import msgspec

from flowc import lang
from flowc.futures import Future
from flowc.plan.diagnostics import Diagnostic, Label, Refused
from flowc.plan.edges import type_of_tree
from flowc.plan.graph import waited_for
from flowc.plan.model import NOTHING, Control, Node, Ref, Site, sources_of
from flowc.plan.types import Type, parse, union
from flowc.spans import Frame, innermost_place

if TYPE_CHECKING:
    from flowc.plan.model import Trigger
    from flowc.recording import Trace

_BOOL = Type("bool")


def when(condition: Any, then: Any, otherwise: Any = None, /) -> Any:
    """What `then` is if the condition holds, else what `otherwise` is.

    Either is a function without parameters, whose calls run only if it is taken, or simply a value. The calls
    of the branch that is not taken are skipped, and with them what needs their results.
    """
    trace = tracing()
    if trace is None or not isinstance(condition, Future):
        return _value_of(then if condition else otherwise)
    with reporting(trace):
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
        takes = {name: type_of_tree(tree, trace.results) for name, tree in trees.items()}
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


def tracing() -> Trace | None:
    """The trace that is on, if one is."""
    return cast("Trace | None", lang.recorder)


@contextlib.contextmanager
def reporting(trace: Trace) -> Iterator[None]:
    """What is refused inside is noted as well as raised: a broad `except` of the author cannot hide it."""
    try:
        yield
    except Refused as refusal:
        for diagnostic in refusal.diagnostics:
            trace.report(diagnostic)
        raise


def refuse_call(code: str, message: str, hint: str = "") -> NoReturn:
    """Refuse what the author wrote at this moment; outside of a trace, as Python would."""
    trace = tracing()
    if trace is None:
        raise TypeError(message)
    diagnostic = Diagnostic(code, message, (Label(innermost_place()),), hint=hint)
    trace.report(diagnostic)
    raise Refused(diagnostic)


def described(value: Any) -> str:
    """How a diagnostic calls what was given in the wrong place."""
    if isinstance(value, Future):
        return "a future"
    name = getattr(value, "__name__", None)
    return f"`{name}`" if name else f"a value of type `{type(value).__name__}`"


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


def _value_of(branch: Any) -> Any:
    """What a branch gives: called, if it is a function."""
    return branch() if callable(branch) and not isinstance(branch, Future) else branch


def _at_end(what: str, trigger: Trigger, handler: Any, of: Any) -> None:
    if isinstance(handler, Future) or not callable(handler):
        hint = "write `lambda: ...` around it"
        refuse_call("FC028", f"`{what}` takes a function, not {described(handler)}", hint)
    trace = tracing()
    if trace is None:
        # In plain Python, whatever came before has succeeded, or this line would not be reached.
        if trigger == "always":
            handler()
        return
    with reporting(trace):
        if trace.circumstances.trigger != "success":
            refuse_call("FC028", f"`{what}` cannot stand inside `on_failure` or `finally_`")
        watched = _sinks(trace) if of is None else trace.nodes_of(of, innermost_place(), f"`{what}`: `of`")
        if not watched:
            refuse_call("FC028", f"`{what}` has no calls to wait for", "write it after them")
        outer = trace.circumstances
        with trace.under(msgspec.structs.replace(outer, after=watched, trigger=trigger)):
            handler()


def _sinks(trace: Trace) -> tuple[str, ...]:
    """The nodes so far, handlers aside, such that if any failed, one of these did not succeed."""
    plain = {node.id: node for node in trace.all_nodes() if node.trigger == "success"}
    needed = {source for node in plain.values() for source in waited_for(node)}
    for node in plain.values():
        if trace.sites[node.site].control == "choose":
            needed -= _spare(plain, node)
    return tuple(name for name in plain if name not in needed)


def _spare(nodes: Mapping[str, Node], choice: Node) -> set[str]:
    """The values of a choice that may fail without harm to it: those that are not made in its branches."""
    branch = choice.args["condition"]["from"]
    return {
        source
        for name, taken in (("then", "when"), ("otherwise", "unless"))
        for source in sources_of(choice.args.get(name))
        if branch not in getattr(nodes[source], taken)
    }

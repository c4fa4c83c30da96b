"""Incremental compilation: what a change did not touch is not traced again.

Each call of a workflow is a **partition**: its calls follow from the code that it reaches (`reach`), what it
is given, and where it is called from. A compilation notes under a hash of those where in the plan every
partition's rows stand, and the next one takes them over as they are. The plan comes out the same, byte for
byte: where that is not sure, the workflow is compiled from scratch. (As build systems do: keyed by content.)
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from flowc.futures import Future
from flowc.kept import Kept, KeptCall, Known, Slice
from flowc.lang import Operator, Workflow
from flowc.plan.diagnostics import Place, Refused
from flowc.plan.model import NOTHING, Ref, Site, as_reference, site_of, sources_of
from flowc.plan.types import parse
from flowc.reach import Reach, hash_of, reach_of
from flowc.recording import Origin, Trace, scope_of
from flowc.spans import Call, Frame, display_path
from flowc.walk import Function, Unknown, Walk

_PYTHON = list(sys.version_info[:3])
_UNKNOWN = "unknown"
_DEEPEST = 20  # of a result that is kept


class TracedPartition(msgspec.Struct, frozen=True, eq=False):
    """A partition of this compilation that may be kept: traced, or restored but for its place in the plan."""

    key: str
    start: int
    end: int
    outer: tuple[Call, ...]  # the calls above the partition's own
    result: Any
    sources: list[str]  # the nodes that the result refers to
    lines: Mapping[Function, int]


class Partitions:
    """The partitions of one compilation: those kept from earlier ones, and those that it traced anew.

    `spoilt`: what was restored cannot be relied on, and the workflow is to be compiled from scratch.
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self.traced: list[TracedPartition] = []
        self.spoilt = False
        # By id; the workflow is there to be kept alive.
        self._reaches: dict[int, tuple[Workflow[..., Any], Reach | None]] = {}
        self._entered: dict[tuple[Any, ...], str] = {}  # by id prefix: the key of the last partition there
        self._restored: set[tuple[Any, ...]] = set()

    def enter(self, trace: Trace, workflow: Workflow[..., Any], args: Any, kwargs: Any) -> Any:
        """Restore a workflow's calls, or have them made and remember them."""
        frames = trace.frames()
        prefix = tuple((frame.call.place, frame.keys) for frame in frames)
        try:
            reach = self._reach(workflow)
            if reach is None or self.spoilt or self._entered.get(prefix) == _UNKNOWN:
                raise Unknown
            given = _Given(trace, (args, kwargs), reach)
            before = [given.hash, reach.state()]
            key = _key(trace, workflow, reach, frames, [*before, self._entered.get(prefix, "")])
        except (Unknown, Refused):
            self._entered[prefix] = _UNKNOWN  # ids after this one may be numbered in whatever way
            return workflow.fn(*args, **kwargs)
        self._entered[prefix] = key
        start, noted = len(trace.items), trace.noted()
        outer = tuple(frame.call for frame in frames)
        lines = {**reach.lines, **given.lines}
        kept = self.known.partitions.get(key)
        if kept is not None and self._restore(
            trace, kept, frames, lines, {**reach.operators, **given.operators}
        ):
            trace.items.append(Slice(key, self.known))
            self._restored.add(prefix)
            sources = list(_sources(kept.result))
            self.traced.append(TracedPartition(key, start, start + 1, outer, kept.result, sources, lines))
            return _Revival(trace, given.futures).value(kept.result)
        if prefix in self._restored:
            self.spoilt = True  # the ids that the restored ones took are not counted
        result = workflow.fn(*args, **kwargs)
        with contextlib.suppress(Unknown, Refused):
            after = [_Given(trace, (args, kwargs), reach).hash, reach.state()]
            if after == before and reach.holds() and trace.noted() == noted:
                written = _Writing(given.futures, {*reach.numbers, *given.numbers}).value(result)
                end, sources = len(trace.items), list(_sources(written))
                self.traced.append(TracedPartition(key, start, end, outer, written, sources, lines))
        return result

    def _reach(self, workflow: Workflow[..., Any]) -> Reach | None:
        _, known = self._reaches.get(id(workflow), (workflow, None))
        if id(workflow) not in self._reaches or (known is not None and not known.holds()):
            self._reaches[id(workflow)] = workflow, None
            with contextlib.suppress(Unknown):
                self._reaches[id(workflow)] = workflow, reach_of(workflow)
        return self._reaches[id(workflow)][1]

    def _restore(
        self,
        trace: Trace,
        kept: Kept,
        frames: list[Frame],
        lines: Mapping[Function, int],
        operators: Mapping[str, Operator[..., Any]],
    ) -> bool:
        """Add a partition's sites; whether they can be what they were. If not, there is none of them."""
        outer = tuple(frame.call for frame in frames)
        scope = scope_of(frames)
        added: list[str] = []
        for site in kept.sites:
            inner = [_call_of(call, lines) for call in site.calls]
            calls = (*outer, *[call for call in inner if call is not None])
            known = trace.site_at(site.reference, [call.place for call in calls])
            origin = Origin(site.reference, "/".join(filter(None, [scope, site.path])), site.operator, calls)
            as_before = site.row.site == (known or trace.unused_site(origin))
            if known is not None:  # by a call with other types, perhaps, of which the row tells all
                as_before &= _types_in(trace.sites[known]) == _types_in(site.row)
            if len(calls) < len(outer) + len(inner) or not as_before:
                for name in added:
                    trace.drop_site(name)
                return False
            if known is None:
                trace.add_site(_renewed(trace, site.row, operators), origin, calls[-1])
                added.append(site.row.site)
        return True


def _types_in(site: Site) -> tuple[dict[str, str], str]:
    """The types of a site."""
    return site.takes, site.gives


def rests_on(slice_: Slice, sites: set[str]) -> bool:
    """Whether calls of some sites are in a slice, or are what it waits for."""
    inside = {site.row.site for site in slice_.kept.sites}
    return bool(sites & (inside | {site_of(node) for node in slice_.kept.needs}))


def _key(
    trace: Trace, workflow: Workflow[..., Any], reach: Reach, frames: list[Frame], more: list[Any]
) -> str:
    around = [[scope_of([frame]), frame.keys] for frame in frames]
    return hash_of([_PYTHON, workflow.reference, reach.hash, around, trace.circumstances, more])


class _Given:
    """Arguments, with the functions among them, as a hash that tells them apart from others."""

    def __init__(self, trace: Trace, arguments: Any, reach: Reach) -> None:
        self._trace = trace
        walk = Walk(self._future, reach.numbers)
        self.hash = hash_of([walk.shown(list(arguments)), walk.finish(reach.walk)])
        self.futures = walk.futures
        self.numbers = walk.numbers
        self.lines = walk.lines
        self.operators = walk.operators

    def _future(self, future: Future) -> Any:
        structures = self._trace.structures_in(future._type)
        return [self._trace.tree(future), str(future._type), structures]


class _Writing:
    """What a workflow gave, in a form that can be kept; `Unknown` if it has none.

    Futures are numbered, those that were given to the workflow first: they stay the objects that they are.
    `shared` are the ids of what is known outside: a list among these must stay the same list.
    """

    def __init__(self, given: Sequence[Future], shared: set[int]) -> None:
        self._numbers = {id(future): number for number, future in enumerate(given)}
        self._shared = shared

    def value(self, result: Any, depth: int = 0) -> Any:
        """The form of a value."""
        kind = type(result)
        if kind is Future:
            number = self._numbers.get(id(result))
            if number is not None:
                return {"known": number}
            self._numbers[id(result)] = len(self._numbers)
            return {"future": [result._tree, str(result._type)]}
        if result is None or kind in (bool, float) or (kind is int and abs(result) < 1 << 63):
            return result
        if kind is str and result.isprintable():
            return result
        if kind not in (list, tuple, dict) or depth > _DEEPEST or id(result) in self._shared:
            raise Unknown
        if kind is not tuple:
            self._shared.add(id(result))
        if kind is not dict:
            return {kind.__name__: [self.value(part, depth + 1) for part in result]}
        if not all(type(key) is str and key.isprintable() for key in result):
            raise Unknown
        return {"dict": {key: self.value(part, depth + 1) for key, part in result.items()}}


class _Revival:
    """The way back from that form."""

    def __init__(self, trace: Trace, given: Sequence[Future]) -> None:
        self._trace = trace
        self._futures = list(given)

    def value(self, written: Any) -> Any:
        """The value of a form."""
        match written:
            case {"known": number}:
                return self._futures[number]
            case {"future": [tree, of]}:
                ref, kind = as_reference(tree), parse(of)
                if isinstance(ref, Ref):
                    self._trace.results.note(ref, kind)
                self._futures.append(Future(self._trace, ref, kind))
                return self._futures[-1]
            case {"list": parts}:
                return [self.value(part) for part in parts]
            case {"tuple": parts}:
                return tuple(self.value(part) for part in parts)
            case {"dict": parts}:
                return {key: self.value(part) for key, part in parts.items()}
            case _:
                return written


def _sources(written: Any) -> Iterator[str]:
    match written:
        case {"future": [tree, _]}:
            yield from sources_of(tree)
        case {"list": parts} | {"tuple": parts}:
            for part in parts:
                yield from _sources(part)
        case {"dict": parts}:
            for part in parts.values():
                yield from _sources(part)


def _renewed(trace: Trace, row: Site, operators: Mapping[str, Operator[..., Any]]) -> Site:
    """A site's row with all that its operator says by now; what is decoded may have 2.0 for 2."""
    if row.control in ("branch", "choose"):
        return msgspec.structs.replace(row, needs=NOTHING)
    plain = trace.plain_site(operators[row.op], row.site, [])
    control, each, key = row.control, row.each, row.key
    return msgspec.structs.replace(
        plain, takes=row.takes, gives=row.gives, control=control, each=each, key=key
    )


def _call_of(kept: KeptCall, lines: Mapping[Function, int]) -> Call | None:
    first = lines.get((kept.file, kept.function), 0)
    if not first:
        return None
    place = Place(display_path(kept.file), first + kept.line, kept.column, kept.end_column)
    return Call(place, kept.name, kept.loops, None, (kept.file, kept.function))


def kept_call(call: Call, lines: Mapping[Function, int]) -> KeptCall:
    """A call as it is kept; `Unknown` if the function of the call is none that was found to be reached."""
    place, first = call.place, lines.get(call.function, 0)
    if not first:
        raise Unknown
    return KeptCall(*call.function, place.line - first, place.column, place.end_column, call.name, call.loops)

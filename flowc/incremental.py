"""Incremental compilation: what a change did not touch is not traced again.

Each call of a workflow is a **partition**: its calls follow from the code that it reaches (`reach`), what it
is given, and where it is called from. A compilation keeps every partition's rows under a hash of those, and
the next one takes them over as they are. The plan comes out the same, byte for byte: where that is not sure,
the workflow is compiled from scratch. (As build systems do: keyed by content.)
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from flowc.futures import Future
from flowc.lang import Workflow
from flowc.plan.diagnostics import Place, Refused
from flowc.plan.model import Node, Ref, Site, as_reference, sources_of
from flowc.plan.types import parse
from flowc.reach import Function, Reach, Unknown, Walk, hash_of, reach_of
from flowc.recording import Origin, Trace, scope_of
from flowc.spans import Call, Frame, display_path

_VERSION = 1
_PYTHON = list(sys.version_info[:3])
_UNKNOWN = "unknown"
_decode_node = msgspec.json.Decoder(Node).decode


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """Something that is kept on disk."""


class KeptCall(_Row, frozen=True):
    """A call by where it stands in its function, so that the function may move in its file."""

    file: str
    function: str
    line: int  # from the function's first
    column: int
    end_column: int
    name: str
    loops: tuple[str, ...]


class KeptSite(_Row, frozen=True):
    """A site: its row, and what it was named by, from the partition's own calls on."""

    row: Site
    reference: str
    path: str
    operator: str
    calls: tuple[KeptCall, ...]


class Part(_Row, frozen=True):
    """A part of a partition: encoded rows, and after them the partition that a key stands for, if any."""

    rows: bytes
    inner: str


class Kept(_Row, frozen=True):
    """A partition: the rows of its nodes, and what there is to know of them without reading these.

    `needs` are nodes outside that it waits for, `ends` those inside that others may refer to or wait for,
    both with their depths, which `levels` builds on: depth, count, and sites in order of appearance.
    """

    count: int
    parts: list[Part]
    sites: list[KeptSite]
    needs: dict[str, int]
    ends: dict[str, int]
    levels: list[tuple[int, int, list[str]]]
    result: Any


class Slice:
    """A partition that was restored, among the nodes of a trace."""

    def __init__(self, key: str, kept: Kept, known: Mapping[str, Kept]) -> None:
        self.key = key
        self.kept = kept
        self._known = known

    def rows(self) -> Iterator[bytes]:
        """The encoded rows, in order."""
        todo = list(reversed(self.kept.parts))
        while todo:
            part = todo.pop()
            yield part.rows
            if part.inner:
                todo += reversed(self._known[part.inner].parts)

    def nodes(self) -> Iterator[Node]:
        """The nodes themselves."""
        for rows in self.rows():
            for line in rows.splitlines():
                yield _decode_node(line)

    def keys(self) -> Iterator[str]:
        """The key of this partition, and those of the partitions within."""
        todo = [self.key]
        while todo:
            key = todo.pop()
            yield key
            todo += [part.inner for part in self._known[key].parts if part.inner]


class TracedPartition(msgspec.Struct, frozen=True, eq=False):
    """A partition that was traced in this compilation, and may be kept."""

    key: str
    start: int
    end: int
    outer: int  # calls above the partition's own
    result: Any
    sources: list[str]  # the nodes that the result refers to
    reach: Reach


class Partitions:
    """The partitions of one compilation: those kept from earlier ones, and those that it traced anew.

    `spoilt`: what was restored cannot be relied on, and the workflow is to be compiled from scratch.
    """

    def __init__(self, known: Mapping[str, Kept]) -> None:
        self.known = known
        self.traced: list[TracedPartition] = []
        self.spoilt = False
        self._reaches: dict[int, Reach | None] = {}
        self._entered: dict[tuple[Any, ...], str] = {}  # by id prefix: the key of the last partition there
        self._restored: set[tuple[Any, ...]] = set()

    def enter(self, trace: Trace, workflow: Workflow[..., Any], args: Any, kwargs: Any) -> Any:
        """Restore a workflow's calls, or have them made and remember them."""
        reach = self._reach(workflow)
        frames = trace.frames()
        prefix = tuple((frame.call.place, frame.keys) for frame in frames)
        try:
            if reach is None or self.spoilt or self._entered.get(prefix) == _UNKNOWN:
                raise Unknown
            given, reach = _given(trace, (args, kwargs), reach)
            before = [given, reach.state(), self._entered.get(prefix, "")]
            key = _key(trace, workflow, reach, frames, before)
        except (Unknown, Refused):
            self._entered[prefix] = _UNKNOWN  # ids after this one may be numbered in whatever way
            return workflow.fn(*args, **kwargs)
        self._entered[prefix] = key
        kept = self.known.get(key)
        if kept is not None and self._restore(trace, kept, frames, reach):
            trace.items.append(Slice(key, kept, self.known))
            self._restored.add(prefix)
            return _revived(trace, kept.result)
        if prefix in self._restored:
            self.spoilt = True  # the ids that the restored ones took are not counted
        start, problems = len(trace.items), len(trace.problems)
        result = workflow.fn(*args, **kwargs)
        with contextlib.suppress(Unknown, Refused):
            after, reach = _given(trace, (args, kwargs), reach)
            if [after, reach.state()] == before[:2] and len(trace.problems) == problems:
                written = _written(result)
                end = len(trace.items)
                sources = list(_sources(written))
                self.traced.append(TracedPartition(key, start, end, len(frames), written, sources, reach))
        return result

    def _reach(self, workflow: Workflow[..., Any]) -> Reach | None:
        if id(workflow) not in self._reaches:
            self._reaches[id(workflow)] = None
            with contextlib.suppress(Unknown):
                self._reaches[id(workflow)] = reach_of(workflow)
        return self._reaches[id(workflow)]

    def _restore(self, trace: Trace, kept: Kept, frames: list[Frame], reach: Reach) -> bool:
        """Add a partition's sites; whether they can be what they were."""
        outer = tuple(frame.call for frame in frames)
        scope = scope_of(frames)
        for site in kept.sites:
            inner = [_call_of(call, reach.lines) for call in site.calls]
            calls = (*outer, *[call for call in inner if call is not None])
            known = trace.site_at(site.reference, [call.place for call in calls])
            origin = Origin(site.reference, "/".join(filter(None, [scope, site.path])), site.operator, calls)
            as_before = site.row.site == (known or trace.unused_site(origin))
            if len(calls) < len(outer) + len(inner) or not as_before:
                self.spoilt = True
                return False
            if known is None:
                trace.add_site(_renewed(trace, site.row, reach), origin, calls[-1])
        return True


def _key(
    trace: Trace, workflow: Workflow[..., Any], reach: Reach, frames: list[Frame], more: list[Any]
) -> str:
    around = [[scope_of([frame]), frame.keys] for frame in frames]
    return hash_of([_VERSION, _PYTHON, workflow.reference, reach.hash, around, trace.circumstances, more])


def _given(trace: Trace, arguments: Any, reach: Reach) -> tuple[Any, Reach]:
    """Arguments as JSON tells them apart, and the reach with that of the functions among them."""
    walk = Walk(trace.tree)
    seen = walk.shown(arguments)
    if not walk.parts:
        return seen, reach
    more = msgspec.structs.replace(
        reach, lines=reach.lines | walk.lines, operators=reach.operators | walk.operators
    )
    return [seen, walk.parts], more


def _written(result: Any) -> Any:
    """What a workflow gave, so that it can be kept; `Unknown` if it cannot."""
    match result:
        case None | bool() | int() | float() | str():
            return result
        case Future():
            return {"future": [result._tree, str(result._type)]}
        case list() | tuple() if type(result) in (list, tuple):
            return {type(result).__name__: [_written(part) for part in result]}
        case dict() if all(isinstance(key, str) for key in result):
            return {"dict": {key: _written(part) for key, part in result.items()}}
        case _:
            raise Unknown


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


def _revived(trace: Trace, written: Any) -> Any:
    match written:
        case {"future": [tree, of]}:
            ref, kind = as_reference(tree), parse(of)
            if isinstance(ref, Ref):
                trace.results.note(ref, kind)
            return Future(trace, ref, kind)
        case {"list": parts}:
            return [_revived(trace, part) for part in parts]
        case {"tuple": parts}:
            return tuple(_revived(trace, part) for part in parts)
        case {"dict": parts}:
            return {key: _revived(trace, part) for key, part in parts.items()}
        case _:
            return written


def _renewed(trace: Trace, row: Site, reach: Reach) -> Site:
    """A site's row with what its operator's body says by now."""
    if row.control in ("branch", "choose"):
        return row
    plain = trace.plain_site(reach.operators[row.op], row.site, [])
    return msgspec.structs.replace(row, code=plain.code, imports=plain.imports)


def _call_of(kept: KeptCall, lines: Mapping[Function, int]) -> Call | None:
    first = lines.get((kept.file, kept.function))
    if first is None:
        return None
    place = Place(display_path(kept.file), first + kept.line, kept.column, kept.end_column)
    return Call(place, kept.name, kept.loops, None, (kept.file, kept.function))


def kept_call(call: Call, lines: Mapping[Function, int]) -> KeptCall:
    """A call as it is kept; `Unknown` if the function of the call is none that was found to be reached."""
    place, first = call.place, lines.get(call.function)
    if first is None:
        raise Unknown
    return KeptCall(*call.function, place.line - first, place.column, place.end_column, call.name, call.loops)

"""Plans as bytes: canonical JSON Lines, and back with every inconsistency found.

Canonical: mappings sorted, defaults left out, one row a line, nothing of the machine or the moment. Equal
plans give equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from flowc.plan.consistency import control_problems, row_problem
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, refuse
from flowc.plan.edges import mismatches, select
from flowc.plan.graph import dependencies, find_circle, levels
from flowc.plan.model import (
    FORMAT,
    Header,
    InputRef,
    Level,
    Node,
    Plan,
    Ref,
    Row,
    Site,
    Span,
    Structure,
    references,
)
from flowc.plan.types import Type, parse

_S = TypeVar("_S", bound=msgspec.Struct)
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Header | Structure | Site | Node | Level | Span)
_MAX_NESTING = 250  # of JSON in an argument tree, which is twice what the compiler writes
_MOST_SHOWN = 10  # nodes of a circle, from its start and from its end
_RECOMPILE = "compile the workflow again with `flowc compile` instead of editing its plan"


def encode(plan: Plan) -> bytes:
    """The canonical bytes of a plan."""
    sites = (
        _without_defaults(msgspec.structs.replace(site, needs=_without_defaults(site.needs)))
        for site in plan.sites
    )
    rows = (plan.header, *plan.structures, *sites, *plan.nodes, *plan.levels, *plan.spans)
    return b"".join(_encoder.encode(row) + b"\n" for row in rows)


def _without_defaults(row: _S) -> _S:
    """The same row, such that msgspec leaves its defaults out: it does so by identity, not by equality."""
    kept = {f.name: f.default for f in msgspec.structs.fields(row) if getattr(row, f.name) == f.default}
    return msgspec.structs.replace(row, **kept)


def read(path: str | os.PathLike[str]) -> Plan:
    """Read and check a plan file; `Refused` (FC2xx) says what is wrong with it and where."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        refuse(
            "FC201", f"cannot read the plan `{path}`: {error.strerror}", hint="`flowc compile` writes plans"
        )
    return decode(data, os.fspath(path))


def decode(data: bytes, file: str) -> Plan:
    """Decode and check the bytes of a plan; `file` is the name that diagnostics show."""
    lines = data.splitlines()
    _check_format(lines, file)
    if not data.endswith(b"\n"):
        refuse("FC204", "the plan's last row is cut off", Place(file, len(lines)), hint=_RECOMPILE)
    rows = [_decode_row(line, Place(file, number)) for number, line in enumerate(lines, 1)]

    def of(kind: type[Any]) -> Iterator[tuple[int, Any]]:
        return ((number, row) for number, row in enumerate(rows, 1) if isinstance(row, kind))

    places = {(type(row), _key(row)): Place(file, number) for number, row in enumerate(rows, 1)}
    if len(places) < len(rows):
        seen = set()
        for number, row in enumerate(rows, 1):
            if (type(row), _key(row)) in seen:
                refuse("FC204", f"a second {_name(row)}", Place(file, number), hint=_RECOMPILE)
            seen.add((type(row), _key(row)))
    plan = Plan(
        rows[0],
        *(tuple(row for _, row in of(kind)) for kind in (Structure, Site, Node, Level, Span)),
    )
    problems = list(_problems(plan, lambda row: places[type(row), _key(row)], Place(file, len(lines))))
    if problems:
        raise Refused(*problems)
    return plan


def _check_format(lines: list[bytes], file: str) -> None:
    for number, line in enumerate(lines, 1):
        if line.startswith((b"<<<<<<<", b"=======", b">>>>>>>")):
            hint = "merge the sources, then compile the workflow again with `flowc compile`"
            refuse("FC203", "git left a merge conflict in the plan", Place(file, number), hint=hint)
    try:
        header = msgspec.json.decode(lines[0] if lines else b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        header = None
    if (
        not isinstance(header, dict)
        or header.get("kind") != "plan"
        or not isinstance(header.get("format"), int)
    ):
        refuse("FC202", f"`{file}` is not a plan", Place(file, 1), hint="`flowc compile` writes plans")
    if header["format"] != FORMAT:
        whose = "a newer" if header["format"] > FORMAT else "an older"
        refuse(
            "FC202",
            f"the plan is of format {header['format']}; this version reads format {FORMAT}",
            Place(file, 1),
            hint=f"it was written by {whose} flowc: compile the workflow again with this one",
        )


def _decode_row(line: bytes, place: Place) -> Any:
    try:
        row = _decoder.decode(line)
        _check_insides(row)
    except (ValueError, AttributeError, RecursionError) as error:  # not UTF-8, not JSON, no such row, no type
        refuse("FC203", f"malformed row: {error}", place, hint=_RECOMPILE)
    if isinstance(row, Header) and (row.root.startswith("/") or ".." in row.root.split("/")):
        refuse("FC203", f"`root` must lie inside the project, got `{row.root}`", place, hint=_RECOMPILE)
    if isinstance(row, Header) != (place.line == 1):
        refuse("FC203", "the header must be the first row, and the only one", place, hint=_RECOMPILE)
    return row


def _check_insides(row: Row) -> None:
    """Check the types, trees and places that are written inside of a row; `ValueError` says what is wrong."""
    match row:
        case Node():
            for tree in row.args.values():
                _check_tree(tree)
        case Site():
            for expression in (*row.takes.values(), row.gives):
                parse(expression)
        case Structure():
            for expression in row.fields.values():
                parse(expression)
        case Span():
            Place.parse(row.at)
        case Header():
            _check_tree(row.result)
            for name, declared in row.inputs.items():
                parse(declared.type)
                if not declared.required and _check_tree(declared.default):
                    raise ValueError(f"the default of `{name}` refers to something else")
            for name, tree in row.static.items():
                if _check_tree(tree):
                    raise ValueError(f"the static input `{name}` refers to something else")
    problem = row_problem(row)
    if problem:
        raise ValueError(problem)


def _check_tree(tree: Any) -> int:
    """How many references a tree has; each object in it must be one, or a map."""
    parts, nesting = [tree], 0
    while parts := [
        inner
        for part in parts
        if isinstance(part, (list, dict))
        for inner in (part if isinstance(part, list) else part.values())
    ]:
        nesting += 1
        if nesting > _MAX_NESTING:
            raise ValueError("the argument is nested too deeply")
    return sum(1 for _ in references(tree))


def _key(row: Row) -> str:
    match row:
        case Site(site=key) | Span(site=key) | Node(id=key) | Structure(type=key):
            return key
        case Level(level=number):
            return str(number)
        case _:
            return ""


def _name(row: Row) -> str:
    return f"row for {type(row).__name__.lower()} `{_key(row)}`"


def _problems(plan: Plan, place: Callable[[Row], Place], end: Place) -> Iterator[Diagnostic]:
    """Every way in which well-formed rows do not make a plan."""
    sites = {site.site: site for site in plan.sites}
    spans = {span.site for span in plan.spans}
    nodes = {node.id: node for node in plan.nodes}
    used = {node.site for node in plan.nodes}
    for site in plan.sites:
        if site.site not in spans or site.site not in used:
            missing = "node" if site.site not in used else "span"
            at = (Label(end, "the file ends here"), Label(place(site), "this site"))
            yield Diagnostic("FC204", f"no {missing} row for site `{site.site}`", at, hint=_RECOMPILE)
    of_sites: tuple[Node | Span, ...] = (*plan.nodes, *plan.spans)
    for part in of_sites:
        if part.site not in sites:
            message = f"no site `{part.site}` for the {_name(part)}"
            yield Diagnostic("FC205", message, (Label(place(part)),), hint=_RECOMPILE)
    undefined = False
    for name, tree, row in _trees(plan):
        for ref in references(tree):
            known = ref.source in nodes if isinstance(ref, Ref) else ref.input in plan.header.inputs
            if not known:
                undefined = True
                what = f"node `{ref.source}`" if isinstance(ref, Ref) else f"input `{ref.input}`"
                message = f"{name} refers to {what}, which is not in the plan"
                yield Diagnostic("FC205", message, (Label(place(row)),), hint=_RECOMPILE)
    for node in plan.nodes:
        for name in (*node.after, *node.when, *node.unless):
            if name not in nodes:
                undefined = True
                message = f"`{node.id}` waits for node `{name}`, which is not in the plan"
                yield Diagnostic("FC205", message, (Label(place(node)),), hint=_RECOMPILE)
    if undefined or not used | spans <= sites.keys():
        return
    for node, message in control_problems(plan, sites, nodes):
        yield Diagnostic("FC204", message, (Label(place(node)),), hint=_RECOMPILE)
    yield from _order_problems(plan, place, end)
    yield from _edge_problems(plan, sites, nodes, place)


def _trees(plan: Plan) -> Iterator[tuple[str, Any, Row]]:
    yield "the result", plan.header.result, plan.header
    for node in plan.nodes:
        for parameter, tree in node.args.items():
            yield f"`{parameter}` of `{node.id}`", tree, node


def _order_problems(plan: Plan, place: Callable[[Row], Place], end: Place) -> Iterator[Diagnostic]:
    depends_on = dependencies(plan.nodes)
    circle = find_circle(depends_on)
    if circle:
        names = [f"`{plan.nodes[i].id}`" for i in (*circle, circle[0])]
        if len(names) > 2 * _MOST_SHOWN:
            left_out = f"... {len(names) - 2 * _MOST_SHOWN} more ..."
            names = [*names[:_MOST_SHOWN], left_out, *names[-_MOST_SHOWN:]]
        path = " -> ".join(names)
        at = tuple(Label(place(plan.nodes[i])) for i in circle[:_MOST_SHOWN])
        yield Diagnostic("FC206", f"nodes wait for each other in a circle: {path}", at, hint=_RECOMPILE)
        return
    for i, sources in enumerate(depends_on):
        if sources and sources[-1] > i:
            late = plan.nodes[sources[-1]]
            message = f"node `{plan.nodes[i].id}` stands before `{late.id}`, which it depends on"
            yield Diagnostic("FC204", message, (Label(place(plan.nodes[i])),), hint=_RECOMPILE)
            return
    if levels(plan.nodes, depends_on) != plan.levels:
        at = (Label(place(plan.levels[0]) if plan.levels else end),)
        yield Diagnostic("FC204", "the level rows do not match the nodes", at, hint=_RECOMPILE)


def _edge_problems(
    plan: Plan, sites: dict[str, Site], nodes: dict[str, Node], place: Callable[[Row], Place]
) -> Iterator[Diagnostic]:
    structures = {structure.type: structure for structure in plan.structures}
    bases = {structure.type: structure.bases for structure in plan.structures}
    records = {structure.type: structure for structure in plan.structures if structure.fields}

    def type_of(ref: Ref | InputRef) -> Type:
        whole = (
            sites[nodes[ref.source].site].gives
            if isinstance(ref, Ref)
            else plan.header.inputs[ref.input].type
        )
        return select(parse(whole), ref.at, structures)

    for ref in references(plan.header.result):
        try:
            type_of(ref)
        except KeyError as error:
            message = f"the result selects `{error.args[0]}`, which that value does not have"
            yield Diagnostic("FC205", message, (Label(place(plan.header)),), hint=_RECOMPILE)
    for name, declared in plan.header.inputs.items():
        if not declared.required:
            for found in mismatches(declared.default, parse(declared.type), type_of, bases, records):
                message = (
                    f"the default of input `{name}`{found.where} must be `{found.want}`, but is `{found.got}`"
                )
                yield Diagnostic("FC207", message, (Label(place(plan.header)),), hint=_RECOMPILE)
    for node in plan.nodes:
        takes = sites[node.site].takes if node.site in sites else {}
        for parameter, tree in node.args.items():
            where = f"`{parameter}` of `{node.id}`"
            if parameter not in takes:
                message = f"`{node.id}` is given `{parameter}`, which its operator does not take"
                yield Diagnostic("FC207", message, (Label(place(node)),), hint=_RECOMPILE)
                continue
            try:
                wrong = mismatches(tree, parse(takes[parameter]), type_of, bases, records)
            except KeyError as error:
                message = f"{where} selects `{error.args[0]}`, which that result does not have"
                yield Diagnostic("FC205", message, (Label(place(node)),), hint=_RECOMPILE)
                continue
            for found in wrong:
                message = f"{where}{found.where} must be `{found.want}`, but is `{found.got}`"
                yield Diagnostic("FC207", message, (Label(place(node)),), hint=_RECOMPILE)

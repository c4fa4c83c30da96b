"""Plans as bytes: canonical JSON Lines, and back with every inconsistency found.

Canonical: mappings sorted, defaults left out, one row a line, nothing of the machine or the moment. Equal
plans give equal bytes.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, assert_never

import msgspec

from flowc.plan.consistency import control_problems, row_problem
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, refuse
from flowc.plan.edges import Mismatch, NoColumn, Results, Wrong, is_generic, mismatches, wrong_in_call
from flowc.plan.graph import Circles, circles, dependencies, levels
from flowc.plan.model import (
    FORMAT,
    AnyRow,
    Code,
    Header,
    Level,
    Node,
    Package,
    Plan,
    Ref,
    Resources,
    Row,
    Site,
    Span,
    Structure,
    as_reference,
    references,
)
from flowc.plan.parts import combined
from flowc.plan.text import counted
from flowc.plan.types import Conflict, parse

_S = TypeVar("_S", bound=msgspec.Struct)
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(AnyRow)
_KINDS = (Structure, Site, Node, Level, Span, Code, Package)  # in the order of `Plan`'s fields
_MAX_NESTING = 250  # of JSON in an argument tree, which is twice what the compiler writes
# A path holds no colon unless both line and column follow.
_AT = re.compile(r"[^:]+(:[1-9][0-9]*)?|.+:[1-9][0-9]*:[1-9][0-9]*")
_MOST_SHOWN = 10  # nodes of a circle, from its start and from its end
_RECOMPILE = "compile the workflow again with `flowc compile` instead of editing its plan"


def encode(plan: Plan, nodes: Iterable[bytes | memoryview] | None = None) -> bytes:
    """The canonical bytes of a plan; with the rows of its nodes, where these are known already."""
    sites = (
        _without_defaults(
            msgspec.structs.replace(
                site, needs=_without_defaults(_whole(site.needs)), estimate=_without_defaults(site.estimate)
            )
        )
        for site in plan.sites
    )
    first = [encode_row(row) for row in (plan.header, *plan.structures, *sites, *plan.codes)]
    last = [encode_row(row) for row in (*plan.levels, *plan.packages, *plan.spans)]
    return b"".join([*first, *(nodes or map(encode_row, plan.nodes)), *last])


def encode_row(row: Row) -> bytes:
    """A row as it stands in a plan file, if none of its values is a default that was given."""
    return _encoder.encode(row) + b"\n"


def _whole(needs: Resources) -> Resources:
    """The same needs, with an integer for `cpus` that are whole: a plan that was read has a float there."""
    return msgspec.structs.replace(needs, cpus=int(needs.cpus)) if needs.cpus == int(needs.cpus) else needs


def _without_defaults(row: _S) -> _S:
    """The same row, such that msgspec leaves its defaults out: it does so by identity, not by equality."""
    kept = {name: value for name, value in _defaults(type(row)).items() if getattr(row, name) == value}
    return msgspec.structs.replace(row, **kept)


@functools.cache
def _defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults of a struct's fields; to ask msgspec for them takes a tenth of a millisecond."""
    fields = msgspec.structs.fields(kind)
    return {field.name: field.default for field in fields if field.default is not msgspec.NODEFAULT}


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
        *(tuple(row for _, row in of(kind)) for kind in _KINDS),
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
        problem = row_problem(row)
        if problem:
            raise ValueError(problem)
    except (ValueError, AttributeError, RecursionError) as error:  # not UTF-8, not JSON, no such row, no type
        refuse("FC203", f"malformed row: {error}", place, hint=_RECOMPILE)
    if isinstance(row, Header) != (place.line == 1):
        refuse("FC203", "the header must be the first row, and the only one", place, hint=_RECOMPILE)
    return row


def _check_insides(row: Row) -> None:
    """Check the types, trees and places inside of a row's single members; `ValueError` says what is wrong."""
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
            if not _AT.fullmatch(row.at):
                raise ValueError(f"`at` must be PATH:LINE:COLUMN, got `{row.at}`")
        case Header():
            if row.root.startswith("/") or ".." in row.root.split("/"):
                raise ValueError(f"`root` must lie inside the project, got `{row.root}`")
            _check_tree(row.result)
            for name, declared in row.inputs.items():
                parse(declared.type)
                if not declared.required and _check_tree(declared.default):
                    raise ValueError(f"the default of `{name}` refers to something else")
            for name, tree in row.static.items():
                if _check_tree(tree):
                    raise ValueError(f"the static input `{name}` refers to something else")


def _check_tree(tree: Any) -> int:
    """How many references a tree has; each object must be one, or a map; `ValueError` if one is not."""
    if _is_plain_reference(tree):
        return 1
    found = 0
    parts = [(tree, 0)]
    while parts:
        part, depth = parts.pop()
        if depth > _MAX_NESTING:
            raise ValueError("the argument is nested too deeply")
        if isinstance(part, list):
            found += sum(map(_is_plain_reference, part))
            parts += [(inner, depth + 1) for inner in part if not _is_plain_reference(inner)]
        elif isinstance(part, dict):
            if len(part) == 1 and isinstance(part.get("map"), dict):
                parts += [(inner, depth + 2) for inner in part["map"].values()]
            else:
                as_reference(part)
                found += 1
        elif isinstance(part, int) and not -(2**63) <= part < 2**63:
            raise ValueError(f"the number {part} does not fit 64 bits")
    return found


def _is_plain_reference(part: Any) -> bool:
    """Whether a part is the whole result of a node, which most are: those need no closer look."""
    return type(part) is dict and len(part) == 1 and type(part.get("from")) is str


def _key(row: Row) -> str:
    match row:
        case Site(site=key) | Span(site=key) | Node(id=key) | Structure(type=key):
            return key
        case Code(op=key) | Package(package=key):
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
    yield from _code_problems(plan, place)
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


def _code_problems(plan: Plan, place: Callable[[Row], Place]) -> Iterator[Diagnostic]:
    codes = {code.op: code for code in plan.codes}
    operators = {site.op for site in plan.sites}
    for code in plan.codes:
        if code.op not in operators:
            message = f"no site of operator `{code.op}`, whose code is described"
            yield Diagnostic("FC205", message, (Label(place(code)),), hint=_RECOMPILE)
    for site in plan.sites:
        if site.op in codes and site.code != combined(codes[site.op].parts):
            at = (Label(place(site), "this hash"), Label(place(codes[site.op]), "these parts"))
            message = f"the code of site `{site.site}` does not follow from the parts of `{site.op}`"
            yield Diagnostic("FC204", message, at, hint=_RECOMPILE)
    imported = {package for code in plan.codes for package in code.packages}
    for row in plan.packages:
        if row.package not in imported:
            message = f"no operator imports the package `{row.package}`, whose version is given"
            yield Diagnostic("FC205", message, (Label(place(row)),), hint=_RECOMPILE)


def _trees(plan: Plan) -> Iterator[tuple[str, Any, Row]]:
    yield "the result", plan.header.result, plan.header
    for node in plan.nodes:
        for parameter, tree in node.args.items():
            yield f"`{parameter}` of `{node.id}`", tree, node


def _order_problems(plan: Plan, place: Callable[[Row], Place], end: Place) -> Iterator[Diagnostic]:
    depends_on = dependencies(plan.nodes)
    in_order = all(not sources or sources[-1] < i for i, sources in enumerate(depends_on))
    found = Circles([], 0, 0) if in_order else circles(depends_on)  # in order, there can be none
    if found.paths:
        yield from _circle_problems(plan, found, place)
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


def _circle_problems(plan: Plan, found: Circles, place: Callable[[Row], Place]) -> Iterator[Diagnostic]:
    covered = len({i for path in found.paths for i in path})
    share = "all" if covered == found.nodes else f"{covered} of the"
    shown = (
        f"these {len(found.paths)} circles hold {share} {found.nodes} nodes that wait in circles, "
        f"which form {counted(found.groups, 'group')} to mend"
    )
    last = max(found.paths)
    for path in found.paths:
        names = [f"`{plan.nodes[i].id}`" for i in (*path, path[0])]
        if len(names) > 2 * _MOST_SHOWN:
            left_out = f"... {len(names) - 2 * _MOST_SHOWN} more ..."
            names = [*names[:_MOST_SHOWN], left_out, *names[-_MOST_SHOWN:]]
        message = f"nodes wait for each other in a circle: {' -> '.join(names)}"
        at = tuple(Label(place(plan.nodes[i])) for i in path[:_MOST_SHOWN])
        # Said once, after the last of them as they are printed.
        notes = (shown,) if path is last and len(found.paths) > 1 else ()
        yield Diagnostic("FC206", message, at, notes, hint=_RECOMPILE)


def _edge_problems(
    plan: Plan, sites: dict[str, Site], nodes: dict[str, Node], place: Callable[[Row], Place]
) -> Iterator[Diagnostic]:
    classes = {structure.type: structure for structure in plan.structures}
    results = Results(sites, plan.header.inputs, classes)
    generic = {site.site for site in plan.sites if is_generic(site)}

    for name, declared in plan.header.inputs.items():
        if not declared.required:
            for found in mismatches(declared.default, parse(declared.type), results, classes):
                message = (
                    f"the default of input `{name}`{found.where} must be `{found.want}`, but is `{found.got}`"
                )
                yield Diagnostic("FC207", message, (Label(place(plan.header)),), hint=_RECOMPILE)
    for node in plan.nodes:
        site = sites[node.site]
        unknown = node.args.keys() - site.takes.keys()
        for parameter in sorted(unknown):
            message = f"`{node.id}` is given `{parameter}`, which its operator does not take"
            yield Diagnostic("FC207", message, (Label(place(node)),), hint=_RECOMPILE)
        args = {name: tree for name, tree in node.args.items() if name not in unknown}
        takes = {name: parse(site.takes[name]) for name in args}
        try:
            if site.site in generic:
                results.bind(node)
                wrong: list[tuple[str, Wrong]] = list(wrong_in_call(args, takes, results, classes))
            else:
                wrong = [
                    (p, found) for p in args for found in mismatches(args[p], takes[p], results, classes)
                ]
        except KeyError as error:
            message = f"an argument of `{node.id}` selects `{error.args[0]}`, which that result does not have"
            yield Diagnostic("FC205", message, (Label(place(node)),), hint=_RECOMPILE)
            continue
        for parameter, what in wrong:
            message = f"`{parameter}` of `{node.id}`{_complaint(what)}"
            yield Diagnostic("FC207", message, (Label(place(node)),), hint=_RECOMPILE)
    for ref in references(plan.header.result):
        try:
            results(ref)
        except KeyError as error:
            message = f"the result selects `{error.args[0]}`, which that value does not have"
            yield Diagnostic("FC205", message, (Label(place(plan.header)),), hint=_RECOMPILE)


def _complaint(wrong: Wrong) -> str:
    match wrong:
        case Mismatch():
            return f"{wrong.where} must be `{wrong.want}`, but is `{wrong.got}`"
        case NoColumn():
            return f"{wrong.where} names the column `{wrong.column}`, which `{wrong.of}` does not have"
        case Conflict():
            return f" makes `{wrong.variable}` another type than `{wrong.first}` does"
        case _:
            assert_never(wrong)

"""What is said of each kind of type error: which code, which words, which places, and what would work."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, assert_never

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place
from flowc.plan.edges import Mismatch, NoColumn, Wrong
from flowc.plan.model import InputRef, Node, Ref, Site, as_reference, references, site_of
from flowc.plan.text import counted
from flowc.plan.types import (
    RECORD,
    UNION,
    Arg,
    Classes,
    Conflict,
    Type,
    assignable,
    columns_of,
    convert,
    parse,
    plain,
    requirement,
)
from flowc.recording import argument_place, positions_in_call
from flowc.trace import Traced


def complaint(traced: Traced, site: Site, node: Node, parameter: str, wrong: Wrong) -> Diagnostic:
    """The diagnostic of what is wrong with an argument of a call."""
    operator = _called(site)
    match wrong:
        case Mismatch():
            return _mismatch(traced, site, operator, parameter, wrong)
        case NoColumn():
            return _no_column(traced, site, node, operator, parameter, wrong)
        case Conflict():
            return _conflict(traced, site, node, operator, wrong)
        case _:
            assert_never(wrong)


def _called(site: Site) -> str:
    """What the author wrote to make a call."""
    operator = site.op.rpartition(":")[2]
    written = {"map": f"foreach({operator})", "reduce": f"reduce({operator})", "none": operator}
    return written.get(site.control, "when")


def complaint_of_default(traced: Traced, name: str, wrong: Mismatch) -> Diagnostic:
    """The diagnostic of an input whose default does not fit it."""
    at = (Label(traced.inputs[name]),)
    part = f"`{name}{wrong.where}`"
    if _expects_secret(wrong.want):
        message = f"the default of the secret {part} is a value, not the name of a place where it lies"
        return Diagnostic("FC107", message, (_unseen(traced.inputs[name]),), hint=_SECRET_HINT)
    bound = _broken_bound(wrong)
    if bound:
        return Diagnostic("FC105", f"the default of input {part} must be {bound}, got {_shown(wrong)}", at)
    message = f"input {part} is declared `{wrong.want.short()}`, but its default is `{wrong.got.short()}`"
    return Diagnostic("FC103", message, at)


_SECRET_HINT = 'pass `Secret("env:NAME")` or `Secret("file:PATH")`, or take it as an input of type `Secret`'


def _unseen(place: Place) -> Label:
    """A place of which the line is not shown: it holds a secret, and this may go into a log."""
    return Label(Place(str(place)))


def _mismatch(traced: Traced, site: Site, operator: str, parameter: str, wrong: Mismatch) -> Diagnostic:
    at = argument_place(traced.calls[site.site], positions_in_call(site), parameter, wrong.path)
    where = f"`{parameter}{wrong.where}`"
    if _expects_secret(wrong.want) and isinstance(wrong.part, str):
        # A literal secret in a plan would be committed: it is neither written nor shown.
        message = f"`{operator}` expects a secret for {where}, got a value that would stand in the plan"
        return Diagnostic("FC107", message, (_unseen(at),), hint=_SECRET_HINT)
    bound = _broken_bound(wrong)
    if bound:
        message = f"`{operator}` expects {where} to be {bound}, got {_shown(wrong)}"
        return Diagnostic("FC105", message, (Label(at),))
    missing = _missing_columns(wrong.got, wrong.want, traced.results.classes)
    labels = (Label(at, f"this is `{wrong.got.short()}`"), *_origins(traced, wrong.part, at))
    if missing:
        return _lacking(operator, parameter, wrong, missing, labels, _maker(traced, wrong.part))
    want, got = wrong.want.short(), wrong.got.short()
    if want == got:  # two classes of one name
        want, got = str(wrong.want), str(wrong.got)
    code = "FC108" if wrong.want.name == wrong.got.name == "Tensor" else "FC101"
    message = f"`{operator}` expects `{want}` for {where}, got `{got}`"
    return Diagnostic(code, message, labels, hint=_field_that_fits(traced, wrong))


def _lacking(
    operator: str,
    parameter: str,
    wrong: Mismatch,
    missing: dict[str, Type],
    labels: tuple[Label, ...],
    maker: str,
) -> Diagnostic:
    """A data set without a column that is needed, or with another dtype in it."""
    have = _columns(wrong.got) or {}
    needed = _listed(f"`{name}: {of.short()}`" for name, of in missing.items())
    noun = "column" if len(missing) == 1 else "columns"
    others = {name: have[name] for name in missing if name in have}
    got = _listed(f"`{name}: {of.short()}`" for name, of in (others or have).items()) or "no columns"
    message = f"`{operator}` expects the {noun} {needed} in `{parameter}{wrong.where}`; {maker} {got}"
    renamed = {name: get_close_matches(name, have, 1) for name in missing if name not in have}
    hint = ", ".join(f"did you mean `{close[0]}` for `{name}`?" for name, close in renamed.items() if close)
    return Diagnostic("FC106", message, labels, hint=hint)


def _no_column(
    traced: Traced, site: Site, node: Node, operator: str, parameter: str, wrong: NoColumn
) -> Diagnostic:
    call = traced.calls[site.site]
    written = argument_place(call, positions_in_call(site), parameter, wrong.path)
    data = argument_place(call, positions_in_call(site), wrong.of)
    have = _listed(f"`{name}: {of.short()}`" for name, of in wrong.columns.items()) or "no columns"
    labels = [Label(written), Label(data, f"this has {have}"), *_origins(traced, node.args[wrong.of], data)]
    if wrong.column in wrong.columns:
        of = wrong.columns[wrong.column].short()
        message = (
            f"`{operator}` expects a column of type `{wrong.want.short()}` for `{parameter}{wrong.where}`; "
            f"`{wrong.column}` is `{of}`"
        )
        return Diagnostic("FC106", message, tuple(labels))
    message = (
        f"`{operator}` takes the column `{wrong.column}` of `{wrong.of}`, which has no column of that name"
    )
    close = get_close_matches(wrong.column, wrong.columns, 1)
    return Diagnostic("FC106", message, tuple(labels), hint=f"did you mean `{close[0]}`?" if close else "")


def _conflict(traced: Traced, site: Site, node: Node, operator: str, wrong: Conflict) -> Diagnostic:
    call = traced.calls[site.site]
    first, second = (
        argument_place(call, positions_in_call(site), parameter) for parameter in (wrong.first, wrong.second)
    )
    labels = [Label(second, f"here `{wrong.variable}` is {_kind(wrong.second_type)}")]
    if first != second:
        labels.append(Label(first, f"here it is {_kind(wrong.first_type)}"))
    labels += _origins(traced, node.args[wrong.second], second)
    message = (
        f"`{operator}` expects the same `{wrong.variable}` in `{wrong.first}` and `{wrong.second}`, "
        f"got {_kind(wrong.first_type)} and {_kind(wrong.second_type)}"
        if wrong.first != wrong.second
        else f"`{operator}` expects one `{wrong.variable}` in `{wrong.first}`, "
        f"got {_kind(wrong.first_type)} and {_kind(wrong.second_type)}"
    )
    return Diagnostic("FC104", message, tuple(labels))


def _origins(traced: Traced, part: Any, shown: Place) -> list[Label]:
    """Where the first of the results in an argument was made, unless that place is shown already."""
    site = _first_site(part)
    place = traced.calls[site].place if site in traced.calls else shown
    return [Label(place, "made here")] if place != shown else []


def _maker(traced: Traced, part: Any) -> str:
    """Who gives a value: an operator, or an input."""
    site = _first_site(part)
    return f"`{traced.results.sites[site].op.rpartition(':')[2]}` gives" if site in traced.calls else "it has"


def _first_site(part: Any) -> str:
    """The site of the first result in an argument; "" if there is none."""
    found = references(part) if isinstance(part, (list, dict)) else ()
    return next((site_of(ref.source) for ref in found if isinstance(ref, Ref)), "")


def _missing_columns(got: Type, want: Type, classes: Classes) -> dict[str, Type]:
    """The columns that are wanted and not there, if nothing else is wrong."""
    have, needed = _columns(got), _columns(want)
    if have is None or needed is None or not assignable(Type(got.name), Type(want.name), classes):
        return {}
    return {
        name: of for name, of in needed.items() if name not in have or not assignable(have[name], of, classes)
    }


def _columns(of: Type) -> dict[str, Type] | None:
    return of.fields if of.name == RECORD else columns_of(of)


def _broken_bound(wrong: Mismatch) -> str:
    """The bounds that a literal breaks, in words, if it is the bounds that it breaks."""
    members = [m for m in wrong.want.args if isinstance(m, Type)] if wrong.want.name == UNION else []
    for member in members or [wrong.want]:
        if member.notes and not (isinstance(wrong.part, dict) and "map" not in wrong.part):
            try:
                convert(_literal(wrong.part), plain(member))
            except msgspec.ValidationError:
                continue
            return requirement(member)
    return ""


def _literal(part: Any) -> Any:
    if isinstance(part, list):
        return [_literal(inner) for inner in part]
    if isinstance(part, dict) and "map" in part:
        return {key: _literal(inner) for key, inner in part["map"].items()}
    return part


def _shown(wrong: Mismatch) -> str:
    literal = _literal(wrong.part)
    if isinstance(literal, (list, dict)):
        return counted(len(literal), "item")
    text = msgspec.json.encode(literal).decode()
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def _expects_secret(want: Type) -> bool:
    return want.name == "Secret" or (
        want.name == UNION and any(isinstance(m, Type) and m.name == "Secret" for m in want.args)
    )


def _kind(of: Arg) -> str:
    return f"`{of.short()}`" if isinstance(of, Type) else str(of)


def _listed(names: Iterable[str]) -> str:
    """At most six of them."""
    listed = list(names)
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")


def _field_that_fits(traced: Traced, wrong: Mismatch) -> str:
    """A field of the value that would fit, if there is exactly one kind of mistake to guess."""
    classes = traced.results.classes
    structure = classes.get(wrong.got.name)
    wanted = classes.get(wrong.want.name)
    if wanted is not None and isinstance(wrong.part, dict) and "map" in wrong.part:
        return f"`{wrong.want.short()}` has the fields {_listed(f'`{field}`' for field in wanted.fields)}"
    if structure is None or not isinstance(wrong.part, dict) or "map" in wrong.part:
        return ""
    ref = as_reference(wrong.part)
    fitting = [
        f for f, of in structure.fields.items() if of != "Any" and assignable(parse(of), wrong.want, classes)
    ]
    if not fitting:
        return ""
    call = traced.calls.get(ref.source) if isinstance(ref, Ref) else None
    if isinstance(ref, InputRef) or (call and call.name == ref.source and call.name.isidentifier()):
        name = ".".join((ref.source if isinstance(ref, Ref) else ref.input, *map(str, ref.at), ""))
        return f"pass {' or '.join(f'`{name}{field}`' for field in fitting)}"
    return (
        f"pass its field {' or '.join(f'`{field}`' for field in fitting)}"  # an id is not always a variable
    )

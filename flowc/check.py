"""The check pass: every edge and literal of a traced workflow against the operators' types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowc.plan.diagnostics import Diagnostic, Label
from flowc.plan.edges import Mismatch, mismatches, select
from flowc.plan.model import InputRef, Node, Ref, Site, as_reference
from flowc.plan.types import Type, assignable, parse
from flowc.recording import argument_place
from flowc.trace import Traced


def check(traced: Traced) -> list[Diagnostic]:
    """Every type error (FC101, FC103); empty when the plan is well typed."""
    plan = traced.plan
    sites = {site.site: site for site in plan.sites}
    structures = {structure.type: structure for structure in plan.structures}
    bases = {structure.type: structure.bases for structure in plan.structures}
    records = {structure.type for structure in plan.structures if structure.fields}

    def type_of(ref: Ref | InputRef) -> Type:
        whole = (
            plan.header.inputs[ref.input].type
            if isinstance(ref, InputRef)
            else sites[Node(ref.source).site].gives
        )
        return select(parse(whole), ref.at, structures)

    found = []
    site_of = traced.trace.site_of
    sound: set[tuple[str, ...]] = set()  # edges between sites: what holds for one pair of nodes holds for all
    for node in plan.nodes:
        site = sites[site_of[node.id]]
        for parameter, tree in node.args.items():
            edge = (site.site, parameter, *_origin(tree, site_of))
            if edge in sound:
                continue
            wrong_parts = mismatches(tree, parse(site.takes[parameter]), type_of, bases, records)
            found += [_complaint(traced, site, parameter, wrong) for wrong in wrong_parts]
            if len(edge) > 2 and not wrong_parts:
                sound.add(edge)
    for name, declared in plan.header.inputs.items():
        for wrong in (
            mismatches(declared.default, parse(declared.type), type_of, bases, records)
            if not declared.required
            else ()
        ):
            part = f"`{name}{wrong.where}`"
            message = (
                f"input {part} is declared `{wrong.want.short()}`, but its default is `{wrong.got.short()}`"
            )
            found.append(Diagnostic("FC103", message, (Label(traced.inputs[name]),)))
    return found


def _origin(tree: Any, site_of: Mapping[str, str]) -> tuple[str, ...]:
    """The site and the fields that a plain reference takes its value from; nothing for other trees."""
    if type(tree) is dict and tree.get("from") in site_of:
        return (site_of[tree["from"]], *tree.get("at", ()))
    return ()


def _complaint(traced: Traced, site: Site, parameter: str, wrong: Mismatch) -> Diagnostic:
    call = traced.calls[site.site]
    operator = site.op.rpartition(":")[2]
    at = argument_place(call, tuple(site.takes), parameter, wrong.path)
    labels = [Label(at, f"this is `{wrong.got.short()}`")]
    if isinstance(wrong.part, dict) and "from" in wrong.part:
        origin = traced.calls.get(Node(wrong.part["from"]).site)
        if origin is not None:
            labels.append(Label(origin.place, "made here"))
    want, got = wrong.want.short(), wrong.got.short()
    if want == got:  # two classes of one name
        want, got = str(wrong.want), str(wrong.got)
    message = f"`{operator}` expects `{want}` for `{parameter}{wrong.where}`, got `{got}`"
    return Diagnostic("FC101", message, tuple(labels), hint=_hint(traced, wrong))


def _hint(traced: Traced, wrong: Mismatch) -> str:
    """A field of the value that would fit, if there is exactly one kind of mistake to guess."""
    structures = {structure.type: structure for structure in traced.plan.structures}
    structure = structures.get(wrong.got.name)
    if structure is None or not isinstance(wrong.part, dict) or "map" in wrong.part:
        return ""
    ref = as_reference(wrong.part)
    bases = {s.type: s.bases for s in traced.plan.structures}
    fitting = [
        f for f, of in structure.fields.items() if of != "Any" and assignable(parse(of), wrong.want, bases)
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

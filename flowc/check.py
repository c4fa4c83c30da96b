"""The check pass: every edge and literal of a traced workflow against the operators' types."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from flowc.complaints import complaint, complaint_of_default
from flowc.plan.diagnostics import Diagnostic
from flowc.plan.edges import is_generic, mismatches, signature, wrong_in_call
from flowc.plan.types import parse
from flowc.trace import Traced


def check(traced: Traced) -> list[Diagnostic]:
    """Every type error (FC101 and FC103 to FC108); empty when the plan is well typed."""
    plan, results = traced.plan, traced.results
    classes = results.classes
    generic = {
        site.site: {parameter: parse(of) for parameter, of in site.takes.items()}
        for site in plan.sites
        if is_generic(site)
    }
    found: list[Diagnostic] = []
    site_of = {node.id: node.site for node in plan.nodes}
    sound: set[tuple[str, ...]] = set()  # edges between sites: what holds for one pair of nodes holds for all
    sound_calls: set[Hashable] = set()  # of generic operators, by the types of all arguments
    for node in plan.nodes:
        site = results.sites[site_of[node.id]]
        if site.site in generic:
            call = (site.site, *((name, signature(tree, results)) for name, tree in node.args.items()))
            if call in sound_calls:
                continue
            every = list(wrong_in_call(node.args, generic[site.site], results, classes))
            found += [complaint(traced, site, node, parameter, wrong) for parameter, wrong in every]
            if not every:
                sound_calls.add(call)
            continue
        for parameter, tree in node.args.items():
            edge = (site.site, parameter, *_origin(tree, site_of))
            if edge in sound:
                continue
            wrong_parts = mismatches(tree, parse(site.takes[parameter]), results, classes)
            found += [complaint(traced, site, node, parameter, wrong) for wrong in wrong_parts]
            if len(edge) > 2 and not wrong_parts and edge[2] not in generic:
                sound.add(edge)
    for name, declared in plan.header.inputs.items():
        if not declared.required:
            wrong_defaults = mismatches(declared.default, parse(declared.type), results, classes)
            found += [complaint_of_default(traced, name, wrong) for wrong in wrong_defaults]
    return found


def _origin(tree: Any, site_of: Mapping[str, str]) -> tuple[str, ...]:
    """The site and the fields that a plain reference takes its value from; nothing for other trees."""
    if type(tree) is dict and tree.get("from") in site_of:
        return (site_of[tree["from"]], *tree.get("at", ()))
    return ()

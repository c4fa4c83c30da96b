"""The check pass: every edge and literal of a traced workflow against the operators' types."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from flowc.complaints import complaint, complaint_of_default
from flowc.optimize import dead_nodes
from flowc.plan.diagnostics import Diagnostic, Label
from flowc.plan.edges import is_generic, mismatches, signature, wrong_in_call
from flowc.plan.graph import waited_for
from flowc.plan.host import Cluster, lacking, nearest, nearest_host
from flowc.plan.text import counted
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
    site_of = traced.trace.site_of
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


def infeasible(traced: Traced, cluster: Cluster) -> list[Diagnostic]:
    """A call for each operator that no host could ever run (FC304)."""
    found, hosts = {}, cluster.alone
    for site in traced.plan.sites:
        number = nearest_host(site.needs, hosts)
        if number is not None and site.op not in found:
            missing = lacking(site.needs, hosts[number])
            operator, label = site.op.rpartition(":")[2], Label(traced.calls[site.site].place)
            message = f"`{operator}` needs {missing}"
            hint = f"it would fit with `{nearest(site.needs, hosts[number])}`; or compile for a larger host"
            found[site.op] = Diagnostic("FC304", message, (label,), hint=hint)
    return list(found.values())


def unused(traced: Traced) -> list[Diagnostic]:
    """A warning (FC210) for each call of a deterministic operator that is made for nothing.

    Other operators may be called for an effect. What only feeds such a call is told with it.
    """
    dead = set(dead_nodes(traced.plan))
    if not dead:
        return []
    sites = {site.site: site for site in traced.plan.sites}
    nodes = [node for node in traced.plan.nodes if node.id in dead and sites[node.site].deterministic]
    fed = {source for node in nodes for source in waited_for(node)}
    ends: dict[str, int] = {}  # the calls that no other call waits for, by site
    for node in nodes:
        if node.id not in fed:
            ends[node.site] = ends.get(node.site, 0) + 1
    found = []
    for site, count in ends.items():
        operator = sites[site].op.rpartition(":")[2]
        times = f", {counted(count, 'call')} of it" if count > 1 else ""
        label = Label(traced.calls[site].place, "made here, used by nothing")
        hint = "return it, pass it on, or drop the call"
        message = f"the result of `{operator}` is not used{times}"
        found.append(Diagnostic("FC210", message, (label,), hint=hint, severity="warning"))
    return found


def pickles(traced: Traced) -> list[Diagnostic]:
    """A warning (FC262) for each operator whose result has no stored form but a pickle."""
    found: dict[str, Diagnostic] = {}
    for site in traced.plan.sites:
        if site.pickles and site.op not in found:
            operator, classes = site.op.rpartition(":")[2], " and ".join(f"`{name}`" for name in site.pickles)
            message = f"what `{operator}` gives will be pickled: {classes} has no stored form"
            if len(site.pickles) > 1:
                message = message.replace(" has no", " have no")
            label = Label(traced.calls[site.site].place)
            hint = "return arrays, tensors, tables, a dataclass of them, or ONNX; or give the class a form"
            found[site.op] = Diagnostic("FC262", message, (label,), hint=hint, severity="warning")
    return list(found.values())


def _origin(tree: Any, site_of: Mapping[str, str]) -> tuple[str, ...]:
    """The site and the fields that a plain reference takes its value from; nothing for other trees."""
    if type(tree) is dict and tree.get("from") in site_of:
        return (site_of[tree["from"]], *tree.get("at", ()))
    return ()

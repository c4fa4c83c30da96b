"""What must agree among the members of one row, and among the rows of control nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flowc.plan.model import Control, Header, Node, Plan, Row, Site, Structure
from flowc.plan.types import Type, parse

# For each control, how many parameters are in `each`; and which arguments a node cannot do without.
_EACH: dict[Control, int] = {"map": 1, "reduce": 2}
_NEEDED: dict[Control, tuple[str, ...]] = {
    "reduce": ("items",),
    "branch": ("condition",),
    "choose": ("condition",),
}


def row_problem(row: Row) -> str:
    """How the members of one row contradict each other; "" if they do not."""
    match row:
        case Header():
            both = sorted(row.static.keys() & row.inputs.keys())
            return f"`{both[0]}` is both a static input and one of a run" if both else ""
        case Node():
            late = row.trigger != "success" and not row.after
            return f"the trigger `{row.trigger}` needs nodes to wait for in `after`" if late else ""
        case Site():
            return _site_problem(row)
        case Structure():
            askew = row.positional and sorted(row.positional) != sorted(row.fields)
            return "`positional` must name each of the fields once" if askew else ""
        case _:
            return ""


def _site_problem(site: Site) -> str:
    if site.needs.gpus_max and site.needs.gpus_max < site.needs.gpus:
        return f"`gpus_max` is {site.needs.gpus_max}, less than `gpus`, which is {site.needs.gpus}"
    names = [name for name, amount in site.needs.uses]
    if names != sorted(set(names)):
        return "`uses` must name each resource once, in order"
    if list(site.retry_on) != sorted(set(site.retry_on)):
        return "`retry_on` must name each kind of failure once, in order"
    if len(set(site.each)) != _EACH.get(site.control, 0) or len(site.each) != len(set(site.each)):
        return f"`each` of a site with the control `{site.control}` must name {_EACH.get(site.control, 0)}"
    if site.key and site.control != "map":
        return "`key` is for sites with the control `map`"
    for parameter in needed_by(site):
        of = parse(site.takes[parameter]) if parameter in site.takes else None
        want = Type("bool") if parameter == "condition" else Type("list")
        if of is None or of.name != want.name:
            return f"the control `{site.control}` needs `{parameter}` of type `{want}`"
    return ""


def needed_by(site: Site) -> tuple[str, ...]:
    """The arguments without which a node of a site cannot be resolved."""
    return site.each if site.control == "map" else _NEEDED.get(site.control, ())


def control_problems(
    plan: Plan, sites: Mapping[str, Site], nodes: Mapping[str, Node]
) -> Iterator[tuple[Node, str]]:
    """Nodes that do not fit the control of their own or of another's site, and why."""
    if not any(site.control != "none" for site in plan.sites):
        for node in plan.nodes:
            if node.when or node.unless:
                yield node, f"`{node.id}` depends on `{(*node.when, *node.unless)[0]}`, which is no branch"
        return
    controls = {node.id: sites[node.site].control for node in plan.nodes}
    for node in plan.nodes:
        wrong = [name for name in (*node.when, *node.unless) if controls[name] != "branch"]
        if wrong:
            yield node, f"`{node.id}` depends on `{wrong[0]}`, which is no branch"
        missing = [name for name in needed_by(sites[node.site]) if name not in node.args]
        if missing:
            yield node, f"`{node.id}` is not given `{missing[0]}`"
        elif controls[node.id] == "choose" and not _is_branch(node.args["condition"], controls):
            yield node, f"the condition of `{node.id}` is no branch"
        loop = node.id.rpartition("[")[0]
        if loop in nodes and controls[loop] in _EACH:
            yield node, f"`{node.id}` is called like a node of the loop `{loop}`"


def _is_branch(tree: object, controls: Mapping[str, Control]) -> bool:
    return isinstance(tree, dict) and tree.keys() == {"from"} and controls.get(tree["from"]) == "branch"

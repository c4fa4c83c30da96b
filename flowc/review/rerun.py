"""Which nodes of a changed plan run again, and why: told from the plans alone.

The rule is that of `flowrun.core.keys`. A node's key covers its operator and code, its arguments, the values
of the inputs that it reads and the keys of the nodes that it reads; what a run keeps from an earlier one is
the result of the node of the same id, if the key is still the same. Values of inputs are taken to be their
defaults, and those of inputs without one to be as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from flowc.plan.model import InputRef, Node, Plan, references

# The first of these that holds is told. `renamed`: the key may be the same, but results are found by id.
Reason = Literal["new", "renamed", "code", "arguments", "inputs", "upstream"]
_encoder = msgspec.json.Encoder(order="deterministic")


class Rerun(msgspec.Struct, frozen=True):
    """How many nodes of a site run again, of how many, and how many for each reason."""

    site: str
    nodes: int
    of: int
    reasons: dict[Reason, int]


def runs_again(
    old: Plan, new: Plan, renamed: Mapping[str, str], changed_arguments: Callable[[Node], bool]
) -> tuple[Rerun, ...]:
    """The sites of the new plan that have nodes to run again, in its order.

    `renamed` maps ids of new nodes to those of old ones; `changed_arguments` tells of a node that is in both
    plans whether its own arguments changed.
    """
    numbers: dict[bytes, int] = {}  # equal keys of both plans have equal numbers
    before, after = node_keys(old, numbers), node_keys(new, numbers)
    codes = {site.site: (site.op, site.code) for site in old.sites}
    sites = {site.site: site for site in new.sites}
    inputs = {name for name, declared in new.header.inputs.items() if old.header.inputs.get(name) != declared}

    def reason(node: Node) -> Reason:
        if node.id not in before:
            return "renamed" if node.id in renamed else "new"
        site = sites[node.site]
        if codes[site.site] != (site.op, site.code):
            return "code"
        if changed_arguments(node):
            return "arguments"
        refs = (ref for tree in node.args.values() for ref in references(tree)) if inputs else ()
        return "inputs" if any(isinstance(r, InputRef) and r.input in inputs for r in refs) else "upstream"

    reasons: dict[str, Counter[Reason]] = {}
    for node in new.nodes:
        if before.get(node.id) != after[node.id]:
            reasons.setdefault(node.site, Counter())[reason(node)] += 1
    totals = Counter(node.site for node in new.nodes)
    return tuple(
        Rerun(site, found.total(), totals[site], dict(found))
        for site in sites
        if (found := reasons.get(site))
    )


def node_keys(plan: Plan, numbers: dict[bytes, int]) -> dict[str, int]:
    """The key of every node as a number: equal for equal keys, of all plans that share `numbers`."""
    versions = {package.package: package.version for package in plan.packages}
    installed = {code.op: [versions.get(name) for name in code.packages] for code in plan.codes}
    sites = {
        site.site: (site.op, site.code, site.control, site.key, installed.get(site.op)) for site in plan.sites
    }
    values = {
        name: {"given": name} if declared.required else {"value": declared.default}
        for name, declared in plan.header.inputs.items()
    }
    keys: dict[str, int] = {}
    for node in plan.nodes:
        args = {name: _resolved(tree, keys, values) for name, tree in node.args.items()}
        content = _encoder.encode((sites[node.site], args))
        keys[node.id] = numbers.setdefault(content, len(numbers))
    return keys


def _resolved(tree: Any, keys: dict[str, int], values: dict[str, Any]) -> Any:
    """An argument tree with references replaced by what they stand for; mappings stay marked."""
    if isinstance(tree, dict):
        if "from" in tree:
            return {"of": keys[tree["from"]], "at": tree.get("at", [])}
        if "input" in tree:
            return {"of": values[tree["input"]], "at": tree.get("at", [])}
        return {"map": {key: _resolved(part, keys, values) for key, part in tree["map"].items()}}
    return [_resolved(part, keys, values) for part in tree] if isinstance(tree, list) else tree

"""Keys: what a node computes, as a hash. Two nodes with the same key have the same result.

A Merkle tree over the plan: a key covers the operator, its code, the installed versions of the packages that
it imports, the arguments, the values of the workflow's inputs that it reads, and the keys of the nodes that
it depends on. After a change of source, packages or inputs, the nodes whose keys stayed the same need not run
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from blake3 import blake3

from flowc.plan.model import InputRef, Node, Plan, Ref, Site, as_reference
from flowrun.core.model import Inputs

Versions = Mapping[str, Mapping[str, str]]  # by operator and package
_encoder = msgspec.json.Encoder(order="deterministic")


def node_keys(plan: Plan, inputs: Inputs, versions: Mapping[str, str] | None = None) -> list[str]:
    """The key of every node, in plan order: 32 hex digits each.

    `versions` are those of the packages that operators import, where the run's nodes are executed.
    """
    sites = {site.site: site for site in plan.sites}
    installed = versions_by_operator(plan, versions or {})
    keys: dict[str, str] = {}
    for node in plan.nodes:
        keys[node.id] = key_of(node, sites[node.site], keys, inputs, installed)
    return list(keys.values())


def versions_by_operator(plan: Plan, versions: Mapping[str, str]) -> Versions:
    """For each operator the versions of the packages that it imports."""
    return {
        code.op: {name: versions[name] for name in code.packages if name in versions} for code in plan.codes
    }


def key_of(node: Node, site: Site, keys: Mapping[str, str], inputs: Inputs, versions: Versions) -> str:
    """The key of a node, given those of the nodes that it refers to."""

    def resolve(ref: Ref | InputRef) -> Any:
        of = keys[ref.source] if isinstance(ref, Ref) else msgspec.to_builtins(inputs.get(ref.input))
        return {"of": of, "at": ref.at}

    args = {name: substitute(tree, resolve) for name, tree in node.args.items()}
    content = [site.op, site.code, args, *filter(None, [versions.get(site.op)])]
    if site.control != "none":
        content += [site.control, site.key]
    return blake3(_encoder.encode(content)).hexdigest()[:32]


def substitute(tree: Any, resolve: Callable[[Ref | InputRef], Any]) -> Any:
    """An argument tree with every reference replaced; `{"map": ...}` stays marked."""
    if isinstance(tree, list):
        return [substitute(part, resolve) for part in tree]
    if isinstance(tree, dict):
        if "map" in tree:
            return {"map": {key: substitute(part, resolve) for key, part in tree["map"].items()}}
        return resolve(as_reference(tree))
    return tree

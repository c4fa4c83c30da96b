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

from flowc.plan.model import InputRef, Plan, Ref, as_reference
from flowrun.core.model import Inputs

_encoder = msgspec.json.Encoder(order="deterministic")


def node_keys(plan: Plan, inputs: Inputs, versions: Mapping[str, str] | None = None) -> list[str]:
    """The key of every node, in plan order: 32 hex digits each.

    `versions` are those of the packages that operators import, where the run's nodes are executed.
    """
    sites = {site.site: site for site in plan.sites}
    versions = versions or {}
    installed = {
        code.op: {name: versions[name] for name in code.packages if name in versions} for code in plan.codes
    }
    keys: dict[str, str] = {}

    def resolve(ref: Ref | InputRef) -> Any:
        of = keys[ref.source] if isinstance(ref, Ref) else msgspec.to_builtins(inputs.get(ref.input))
        return {"of": of, "at": ref.at}

    for node in plan.nodes:
        site = sites[node.site]
        args = {name: substitute(tree, resolve) for name, tree in node.args.items()}
        content = [site.op, site.code, args, *filter(None, [installed.get(site.op)])]
        keys[node.id] = blake3(_encoder.encode(content)).hexdigest()[:32]
    return list(keys.values())


def substitute(tree: Any, resolve: Callable[[Ref | InputRef], Any]) -> Any:
    """An argument tree with every reference replaced; `{"map": ...}` stays marked."""
    if isinstance(tree, list):
        return [substitute(part, resolve) for part in tree]
    if isinstance(tree, dict):
        if "map" in tree:
            return {"map": {key: substitute(part, resolve) for key, part in tree["map"].items()}}
        return resolve(as_reference(tree))
    return tree

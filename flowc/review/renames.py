"""Which calls of a plan have another name than before, and are otherwise the same."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from flowc.plan.model import Node, Plan

_LOOP_KEYS = re.compile(r"\[[^\]]*\]|#\d+")
_encoder = msgspec.json.Encoder(order="deterministic")


def renamed_sites(old: Plan, new: Plan) -> dict[str, str]:
    """New site id -> old site id, of sites that only one of the plans has.

    Two sites are taken for one under another name if they call the same operator, as often, in loops over
    the same values, with the same arguments. A reference to something else that only one of the plans has
    counts as the same if that calls the same operator in the same turn of its loop: whole chains of calls
    are renamed at once when their scope is. Equals are paired in the order of the plans.
    """
    gone, come = _unmatched(old, new), _unmatched(new, old)
    if not gone or not come:
        return {}
    candidates: dict[bytes, deque[str]] = {}
    for signature, site in _signatures(old, gone):
        candidates.setdefault(signature, deque()).append(site)
    return {
        site: candidates[signature].popleft()
        for signature, site in _signatures(new, come)
        if candidates.get(signature)
    }


def renamed_nodes(old: Plan, new: Plan, sites: dict[str, str]) -> dict[str, str]:
    """New node id -> old node id, for the nodes of renamed sites, in the order of the new plan."""
    if not sites:
        return {}
    before = _by_site(old.nodes, set(sites.values()))
    after = _by_site(new.nodes, sites.keys())
    return {
        node.id: was.id
        for site, nodes in after.items()
        for node, was in zip(nodes, before[sites[site]], strict=True)
    }


def with_ids(tree: Any, ids: dict[str, str]) -> Any:
    """An argument tree in which references to some nodes name others."""
    if isinstance(tree, list):
        return [with_ids(part, ids) for part in tree]
    if isinstance(tree, dict):
        if "map" in tree:
            return {"map": {key: with_ids(part, ids) for key, part in tree["map"].items()}}
        return {**tree, "from": ids.get(tree["from"], tree["from"])} if "from" in tree else tree
    return tree


def _unmatched(plan: Plan, other: Plan) -> dict[str, str]:
    """The sites that only `plan` has, with their operators."""
    known = {site.site for site in other.sites}
    return {site.site: site.op for site in plan.sites if site.site not in known}


def _signatures(plan: Plan, sites: dict[str, str]) -> Iterable[tuple[bytes, str]]:
    """What two sites must have in common to be one, and the site; in the order of the plan."""
    # A reference to a node that only one plan has is written as what is left of the node without its name.
    nameless = {
        node.id: f"\0{sites[site]}{_keys(node)}" for node in plan.nodes if (site := node.site) in sites
    }
    for site, nodes in _by_site(plan.nodes, sites.keys()).items():
        calls = [
            (
                _keys(node),
                {name: with_ids(tree, nameless) for name, tree in node.args.items()},
                [nameless.get(source, source) for source in node.after],
            )
            for node in nodes
        ]
        yield _encoder.encode((sites[site], calls)), site


def _keys(node: Node) -> str:
    """The loop values in a node's id: `[3][a]#2` of `prep[3]/clean[a]#2`."""
    return "".join(_LOOP_KEYS.findall(node.id))


def _by_site(nodes: Iterable[Node], sites: Iterable[str]) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {site: [] for site in sites}
    for node in nodes:
        if (site := node.site) in found:
            found[site].append(node)
    return found

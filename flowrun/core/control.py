"""What control nodes come to: the nodes of a loop, and the argument tree that stands for the result.

A control node has no artifact of its own. Whoever refers to it is given the tree that it resolved to, in
which all references are to nodes that do have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flowc.plan.model import Node, Ref, as_reference, as_tree


class Unfolded(NamedTuple):
    """The nodes that a loop turned out to have, each after those that it needs, and its result."""

    nodes: list[Node]
    result: Any


def flat(tree: Any, results: Mapping[str, Any]) -> Any:
    """An argument tree without references to control nodes. `results` are theirs, and flat.

    What a result does not have stays a reference to the control node, which nobody can read.
    """
    if isinstance(tree, list):
        return [flat(part, results) for part in tree]
    if isinstance(tree, dict):
        if "map" in tree:
            return {"map": {key: flat(part, results) for key, part in tree["map"].items()}}
        ref = as_reference(tree)
        if isinstance(ref, Ref) and ref.source in results:
            try:
                return part_of(results[ref.source], ref.at)
            except KeyError:
                return tree
    return tree


def part_of(tree: Any, path: tuple[str | int, ...]) -> Any:
    """The part of a flat tree at a path of fields and indices; `KeyError` if it has none."""
    for i, step in enumerate(path):
        if isinstance(tree, dict) and "map" not in tree:
            ref = as_reference(tree)
            return as_tree(type(ref)(*_source(ref), (*ref.at, *path[i:])))
        try:
            tree = tree["map"][step] if isinstance(tree, dict) else tree[step]
        except (TypeError, IndexError):
            raise KeyError(step) from None
    return tree


def _source(ref: Any) -> tuple[str]:
    return (ref.source if isinstance(ref, Ref) else ref.input,)


def unfold(
    node: Node, control: str, each: tuple[str, ...], args: dict[str, Any], names: tuple[str, ...]
) -> Unfolded:
    """The nodes of a loop over as many items as there are names. `args` are the node's, flat."""
    return _map(node, each[0], args, names) if control == "map" else _reduce(node, each, args, len(names))


def _map(node: Node, parameter: str, args: dict[str, Any], names: tuple[str, ...]) -> Unfolded:
    nodes = [
        _part(node, name, {**args, parameter: part_of(args[parameter], (i,))}) for i, name in enumerate(names)
    ]
    return Unfolded(nodes, [{"from": made.id} for made in nodes])


def _part(node: Node, name: str, args: dict[str, Any]) -> Node:
    """A node of a loop. In a handler for the end it is to run when the loop is: even in a cancelled run."""
    return Node(f"{node.id}[{name}]", args, trigger=node.trigger)


def _reduce(node: Node, pair: tuple[str, ...], args: dict[str, Any], count: int) -> Unfolded:
    """A balanced tree over neighbours: its height, and so the wait, is the logarithm of their number."""
    shared = {name: tree for name, tree in args.items() if name not in ("items", "initial")}
    level = [args["initial"]] if "initial" in args else []
    level += [part_of(args["items"], (i,)) for i in range(count)]
    nodes: list[Node] = []
    height = 0
    while len(level) > 1:
        above = []
        for i in range(0, len(level) - 1, 2):
            both = dict(zip(pair, level[i : i + 2], strict=True))
            nodes.append(_part(node, f"{height}.{i // 2}", {**both, **shared}))
            above.append({"from": nodes[-1].id})
        level = above + (level[-1:] if len(level) % 2 else [])
        height += 1
    return Unfolded(nodes, level[0])

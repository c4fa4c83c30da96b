"""What pictures say of nodes and sites, in the same words everywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flowc.plan.model import Node, Plan, Ref, Resources, Site, as_reference, references
from flowc.plan.text import counted, printable
from flowc.plan.types import parse
from flowc.show.groups import Group, Groups

_MOST_SOURCES = 4


def signature(plan: Plan) -> str:
    """`iris(epochs: int = 30)`: the workflow with its inputs."""
    inputs = ", ".join(
        f"{name}: {parse(declared.type).short()}"
        + ("" if declared.required else f" = {json.dumps(declared.default, ensure_ascii=False)}")
        for name, declared in plan.header.inputs.items()
    )
    return printable(f"{plan.header.name}({inputs})")


def operator(site: Site) -> str:
    """The operator's name without its module."""
    return site.op.rpartition(":")[2]


def gives(site: Site) -> str:
    """The type of the result, classes without their modules."""
    return parse(site.gives).short()


def sources(node: Node) -> str:
    """What a node takes: `parts.train, rate`, at most a few."""
    found = []
    for tree in node.args.values():
        for ref in references(tree):
            name = ref.source if isinstance(ref, Ref) else ref.input
            found.append(".".join((name, *map(str, ref.at))))
    if len(found) > _MOST_SOURCES:
        found = [*found[: _MOST_SOURCES - 1], f"... {len(found) - _MOST_SOURCES + 1} more"]
    return ", ".join(found)


def needs(amount: Resources) -> str:
    """`2 cpus, 512 MB, 1 gpu`: what a node holds while it runs."""
    parts = [f"{amount.cpus:g} cpu{'' if amount.cpus == 1 else 's'}"]
    if amount.memory_mb:
        parts.append(f"{amount.memory_mb} MB")
    if amount.gpus:
        parts.append(counted(amount.gpus, "gpu"))
    if amount.gpu_memory_mb:
        parts.append(f"{amount.gpu_memory_mb} MB a gpu")
    if amount.gpu_models:
        parts.append(" or ".join(amount.gpu_models))
    parts += [f"{number} {name}" for name, number in amount.uses]
    return ", ".join(parts)


def gpus(sites: Sequence[Site]) -> str:
    """`2 gpus`, the most that any of some sites needs, or nothing."""
    most = max(site.needs.gpus for site in sites)
    return counted(most, "gpu") if most else ""


def does(group: Group) -> str:
    """`fit → Model`, or how many sites a group is made of."""
    if len(group.sites) == 1:
        return f"{operator(group.sites[0])} → {gives(group.sites[0])}"
    return counted(len(group.sites), "site")


def merged(found: Groups, nodes: int) -> str:
    """How the groups of a picture came about, or nothing if they are the nodes."""
    if len(found.groups) == nodes:
        return ""
    return f"drawn as {counted(len(found.groups), 'group')}, by {found.by}"


def argument(tree: Any) -> str:
    """An argument as an author would write it: `parts.train`, `[tree, net]`, `0.5`."""
    match tree:
        case {"map": dict(entries)}:
            return f"{{{', '.join(f'{name}: {argument(part)}' for name, part in entries.items())}}}"
        case dict():
            ref = as_reference(tree)
            return ".".join((ref.source if isinstance(ref, Ref) else f"input {ref.input}", *map(str, ref.at)))
        case list():
            return f"[{', '.join(map(argument, tree))}]"
        case _:
            return json.dumps(tree, ensure_ascii=False)

"""A plan as text that a person likes to read: levels, what runs side by side, the longest path."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flowc.optimize import Simplified
from flowc.plan.graph import bottom_levels, dependencies, depths, weights
from flowc.plan.model import Node, Plan, Ref, Resources, Site, references
from flowc.plan.text import columns, counted
from flowc.plan.types import parse

_MOST_ROWS = 40  # of one level: beyond, the rest is counted


def show(plan: Plan) -> str:
    """The text of `flowc show`."""
    sections = [_head(plan), _level_table(plan), _tail(plan)]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def summary(plan: Plan) -> str:
    """One line: how large the plan is."""
    widest = max((level.nodes for level in plan.levels), default=0)
    counts = ((len(plan.nodes), "node"), (len(plan.sites), "site"), (len(plan.levels), "level"))
    shown = ", ".join(counted(count, noun) for count, noun in counts)
    return f"{shown}, at most {widest} side by side"


def changes(simplified: Simplified) -> str:
    """What simplification did, as the end of a summary; empty if it did nothing."""
    counts = (
        (len(simplified.folded), "node", "computed"),
        (len(simplified.shared), "node", "shared"),
        (len(simplified.removed), "dead node", "removed"),
    )
    shown = ", ".join(f"{counted(count, noun)} {done}" for count, noun, done in counts if count)
    return f"; {shown}" if shown else ""


def every_change(simplified: Simplified) -> list[str]:
    """A line for each node that simplification did something about, the first of very many."""
    rows = [("computed", name, f"= {json.dumps(tree)[:100]}") for name, tree in simplified.folded.items()]
    rows += [("shared", name, f"-> {by}") for name, by in simplified.shared.items()]
    rows += [("removed", name, "") for name in simplified.removed]
    more = len(rows) - _MOST_ROWS
    return [f"  {line}" for line in columns(rows[:_MOST_ROWS])] + ([f"  ... {more} more"] if more > 0 else [])


def _head(plan: Plan) -> list[str]:
    header = plan.header
    inputs = ", ".join(
        f"{name}: {parse(declared.type).short()}"
        + ("" if declared.required else f" = {json.dumps(declared.default)}")
        for name, declared in header.inputs.items()
    )
    return [f"{header.name}({inputs})  from {header.workflow}", summary(plan)]


def _level_table(plan: Plan) -> list[str]:
    sites = {site.site: site for site in plan.sites}
    by_level: dict[int, list[Node]] = {}
    for node, depth in zip(plan.nodes, depths(dependencies(plan.nodes)), strict=True):
        by_level.setdefault(depth, []).append(node)
    rows: list[tuple[str, ...]] = [("level", "node", "operator", "gives", "needs", "")]
    for level, nodes in by_level.items():
        rows += _level_rows(level, nodes, sites)
    return columns(rows)


def _level_rows(level: int, nodes: list[Node], sites: dict[str, Site]) -> Iterator[tuple[str, ...]]:
    shown = nodes[:_MOST_ROWS]
    for i, node in enumerate(shown):
        site = sites[node.site]
        bracket = "" if len(nodes) == 1 else "┐" if i == 0 else "┘" if i == len(nodes) - 1 else "│"
        if i == 0 and len(nodes) > 1:
            bracket += f" {len(nodes)} side by side"
        operator = f"{site.op.rpartition(':')[2]}({', '.join(_sources(node))})"
        yield (
            str(level) if i == 0 else "",
            node.id,
            operator,
            parse(site.gives).short(),
            _needs(site.needs),
            bracket,
        )
    if len(nodes) > len(shown):
        yield ("", f"... and {len(nodes) - len(shown)} more", "", "", "", "┘")


def _sources(node: Node) -> list[str]:
    found = []
    for tree in node.args.values():
        for ref in references(tree):
            name = ref.source if isinstance(ref, Ref) else ref.input
            found.append(".".join((name, *map(str, ref.at))))
    return found if len(found) <= 4 else [*found[:3], f"... {len(found) - 3} more"]


def _needs(needs: Resources) -> str:
    parts = [f"{needs.cpus:g} cpu{'' if needs.cpus == 1 else 's'}"]
    if needs.memory_mb:
        parts.append(f"{needs.memory_mb} MB")
    if needs.gpus:
        parts.append(f"{needs.gpus} gpu{'' if needs.gpus == 1 else 's'}")
    if needs.gpu_memory_mb:
        parts.append(f"{needs.gpu_memory_mb} MB a gpu")
    return ", ".join(parts)


def _tail(plan: Plan) -> list[str]:
    if not plan.nodes:
        return []
    depends_on = dependencies(plan.nodes)
    weight = bottom_levels(depends_on, weights(plan))
    path = [max(range(len(plan.nodes)), key=lambda i: (weight[i], -i))]
    waiting: dict[int, list[int]] = {}
    for i, sources in enumerate(depends_on):
        for source in sources:
            waiting.setdefault(source, []).append(i)
    while followers := waiting.get(path[-1]):
        path.append(max(followers, key=lambda i: (weight[i], -i)))
    names = [plan.nodes[i].id for i in path]
    if len(names) > 12:
        names = [*names[:6], f"... {len(names) - 12} more ...", *names[-6:]]
    return [f"longest path: {' -> '.join(names)}"]

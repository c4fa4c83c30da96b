"""A plan in Graphviz' language, for `dot -Tpdf` and all that reads it: scopes are clusters."""

from __future__ import annotations

from collections.abc import Iterator

from flowc.plan.model import Plan
from flowc.plan.text import clipped, printable
from flowc.show import Options
from flowc.show.groups import Group, Groups, Most, collapse
from flowc.show.words import does, gpus, needs

_MOST_CELLS = 60  # of a line of a label


def render(plan: Plan, options: Options) -> str:
    """The graph."""
    found = collapse(plan, Most.nodes(options.max_nodes))
    return "\n".join(_lines(plan, found)) + "\n"


def _lines(plan: Plan, found: Groups) -> Iterator[str]:
    yield f"digraph {_quoted(plan.header.name)} {{"
    yield '  node [shape=box, style="rounded,filled", fillcolor="#eef2f7", color="#5b6b7d",'
    yield '        fontname="Helvetica", fontsize=11]'
    yield '  edge [color="#8a94a0", fontname="Helvetica", fontsize=9]'
    yield '  graph [fontname="Helvetica", fontsize=11, color="#b6bec8", style=rounded]'
    scopes: dict[str, list[int]] = {}
    for number, group in enumerate(found.groups):
        scopes.setdefault(group.scope, []).append(number)
    for i, (scope, numbers) in enumerate(scopes.items()):
        if scope:
            yield f"  subgraph cluster_{i} {{"
            yield f"    label={_quoted(scope)}"
        yield from (f"  {'  ' if scope else ''}n{n} {_attributes(found.groups[n])}" for n in numbers)
        if scope:
            yield "  }"
    for edge in found.edges:
        label = f'label="{edge.count:,}"' if edge.count > 1 else ""
        critical = 'color="#d9480f", penwidth=2' if edge.critical else ""
        attributes = ", ".join(filter(None, (label, critical)))
        yield f"  n{edge.source} -> n{edge.target}" + (f" [{attributes}]" if attributes else "")
    for n, group in enumerate(found.groups):
        if group.inner:
            yield f'  n{n} -> n{n} [label="{group.inner:,}", style=dashed]'
    yield "}"


def _attributes(group: Group) -> str:
    times = f" ×{len(group.members):,}" if len(group.members) > 1 else ""
    name = group.name.removeprefix(f"{group.scope}/") if len(group.sites) == 1 else group.name
    lines = [clipped(name, _MOST_CELLS) + times, clipped(does(group), _MOST_CELLS), gpus(group.sites)]
    label = "\\n".join(_escaped(line) for line in lines if line)
    tip = _quoted(f"{group.name}: {needs(group.sites[0].needs)}" if len(group.sites) == 1 else group.name)
    critical = ', color="#d9480f", penwidth=2' if group.critical else ""
    stack = ", peripheries=2" if times else ""
    return f'[label="{label}", tooltip={tip}{critical}{stack}]'


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Within quotes of a label: backslashes and quotes mean something, and `&` begins an HTML entity."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")

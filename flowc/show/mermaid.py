"""A plan as a Mermaid flowchart, which GitHub and many wikis draw where they find it in Markdown.

Mermaid refuses texts of more than 50,000 characters and flowcharts of more than 500 edges, unless whoever
shows them has configured it; larger plans are merged until they fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from flowc.plan.model import Plan
from flowc.plan.text import clipped, printable
from flowc.show import Options
from flowc.show.groups import Group, Groups, Most, collapse
from flowc.show.words import does, gpus

_MOST_CHARACTERS, _MOST_EDGES = 50_000, 500
_MOST_CELLS = 60  # of a line of a label
_PLAIN = re.compile(r"[^\w .,/()→×…–+-]|_(?=_)")  # what is left means something to Mermaid, HTML or Markdown


def render(plan: Plan, options: Options) -> str:
    """The flowchart."""
    groups = options.max_nodes
    while True:
        most = Most.nodes(groups)
        found = collapse(plan, Most(groups, min(most.edges, _MOST_EDGES), most.abreast))
        text = "\n".join(_lines(found)) + "\n"
        if len(text) <= _MOST_CHARACTERS or groups == 1:
            return text
        groups = max(1, len(found.groups) // 2)


def _lines(found: Groups) -> Iterator[str]:
    yield "flowchart TD"
    scopes: dict[str, list[int]] = {}
    for number, group in enumerate(found.groups):
        scopes.setdefault(group.scope, []).append(number)
    for i, (scope, numbers) in enumerate(scopes.items()):
        # A frame around a single box that is the whole scope would say the same twice.
        framed = scope and (len(numbers) > 1 or found.by != "scope")
        if framed:
            yield f'  subgraph s{i}["{_escaped(scope)}"]'
        yield from (f"  {'  ' if framed else ''}n{n}{_label(found.groups[n])}" for n in numbers)
        if framed:
            yield "  end"
    for edge in found.edges:
        count = f'|"{edge.count:,}"|' if edge.count > 1 else ""
        yield f"  n{edge.source} {'==>' if edge.critical else '-->'}{count} n{edge.target}"
    yield from (f"  n{n} -.-> n{n}" for n in _looping(found))
    critical = ",".join(f"n{n}" for n, group in enumerate(found.groups) if group.critical)
    if critical:
        yield "  classDef critical stroke:#d9480f,stroke-width:2px"
        yield f"  class {critical} critical"


def _looping(found: Groups) -> Sequence[int]:
    """Groups with edges among their nodes, as far as the number of edges allows."""
    looping = [n for n, group in enumerate(found.groups) if group.inner]
    return looping if len(found.edges) + len(looping) <= _MOST_EDGES else []


def _label(group: Group) -> str:
    """`["name<br/>what it does"]`; several nodes as a stack, those with GPUs as a hexagon."""
    times = f" ×{len(group.members):,}" if len(group.members) > 1 else ""
    name = group.name.removeprefix(f"{group.scope}/") if len(group.sites) == 1 else group.name
    parts = [clipped(name, _MOST_CELLS) + times, clipped(does(group), _MOST_CELLS), gpus(group.sites)]
    text = "<br/>".join(_escaped(part) for part in parts if part)
    left, right = ("{{", "}}") if parts[2] else ("[[", "]]") if times else ("[", "]")
    return f'{left}"{text}"{right}'


def _escaped(text: str) -> str:
    """Every character that might mean something as Mermaid's `#number;`."""
    return _PLAIN.sub(lambda match: f"#{ord(match[0])};", printable(text))

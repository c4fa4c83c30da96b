"""A plan as a tree of scopes, the paths that node ids are. Loops are folded up: `clean[…] ×12`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from flowc.plan.model import Plan, site_of
from flowc.plan.text import clipped, columns, printable, width
from flowc.show import Options, summary
from flowc.show.groups import pattern
from flowc.show.words import gives, needs, operator, signature

_MOST_BRANCHES = 40  # of one scope
_NARROWEST = 12


class _Branch(msgspec.Struct):
    """A scope, or a site at its end: `ids` are those of its nodes, or of the instances of the scope."""

    ids: dict[str, None] = {}
    branches: dict[str, _Branch] = {}
    site: str = ""


def render(plan: Plan, options: Options) -> str:
    """The tree as text."""
    sites = {site.site: site for site in plan.sites}
    rows: list[tuple[str, ...]] = []
    for drawn, branch in _lines(_grown(plan), ""):
        site = sites.get(branch.site) if branch else None
        rows.append((drawn, operator(site), gives(site), needs(site.needs)) if site else (drawn, "", "", ""))
    table = columns(_narrowed(rows, options.columns))
    head = [f"{signature(plan)}  from {printable(plan.header.workflow)}", summary(plan), ""]
    return "\n".join([*head, *table]) + "\n"


def _grown(plan: Plan) -> _Branch:
    """The tree of a plan."""
    root = _Branch()
    segments: dict[str, list[str]] = {}
    for node in plan.nodes:
        site = node.site
        if site not in segments:
            segments[site] = site.split("/")
        branch, parts = root, node.id.split("/")
        for depth, name in enumerate(segments[site]):
            branch = branch.branches.setdefault(name, _Branch())
            branch.ids["/".join(parts[: depth + 1])] = None
        branch.site = site
    return root


def _lines(root: _Branch, indent: str) -> Iterator[tuple[str, _Branch | None]]:
    """What is drawn for each branch, top down. Ids are as deep as a workflow calls others: not very."""
    shown = list(root.branches.items())[:_MOST_BRANCHES]
    hidden = len(root.branches) - len(shown)
    for i, (name, branch) in enumerate(shown):
        last = i == len(shown) - 1 and not hidden
        yield f"{indent}{'└─ ' if last else '├─ '}{_label(name, branch)}", branch
        yield from _lines(branch, indent + ("   " if last else "│  "))
    if hidden:
        yield f"{indent}└─ ... and {hidden:,} more", None


def _label(name: str, branch: _Branch) -> str:
    """The last segment of an id, with its key; of several, their number."""
    segments = [node_id.rpartition("/")[2] for node_id in branch.ids]
    if len(branch.ids) == 1:
        return segments[0]
    keyed = pattern(segments[0])
    return f"{keyed if site_of(keyed) == name else name} ×{len(branch.ids):,}"


def _narrowed(rows: list[tuple[str, ...]], most: int) -> list[tuple[str, ...]]:
    """The rows, such that they fit a terminal of so many columns: needs go first, then types."""
    if not most or not rows:
        return rows
    widths = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    for column in reversed(range(len(widths))):
        excess = sum(widths) + 2 * (len(widths) - 1) - most
        widths[column] = max(min(_NARROWEST, widths[column]), widths[column] - max(excess, 0))
    return [tuple(clipped(cell, w) for cell, w in zip(row, widths, strict=True)) for row in rows]

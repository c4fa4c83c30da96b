"""A plan as a table: its levels, what runs side by side, the longest path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from flowc.plan.graph import critical_path, dependencies, depths, weights
from flowc.plan.model import Node, Plan, Site
from flowc.plan.text import clipped, columns, printable, width
from flowc.show import Options, summary
from flowc.show.groups import pattern
from flowc.show.words import gives, needs, operator, signature, sources

_MOST_ROWS = 40  # of one level: wider ones are told by site
_MOST_ON_PATH = 12
_NARROWEST = 12  # that a column is cut to for the sake of a narrow terminal

Row = tuple[str, ...]


def render(plan: Plan, options: Options) -> str:
    """The text of `flowc show`."""
    sections = [_head(plan), _table(plan, options), _longest_path(plan)]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _head(plan: Plan) -> list[str]:
    return [f"{signature(plan)}  from {printable(plan.header.workflow)}", summary(plan)]


def _table(plan: Plan, options: Options) -> list[str]:
    sites = {site.site: site for site in plan.sites}
    by_level: dict[int, list[Node]] = {}
    for node, depth in zip(plan.nodes, depths(dependencies(plan.nodes)), strict=True):
        by_level.setdefault(depth, []).append(node)
    rows: list[Row] = [("level", "node", "operator", "gives", "needs", "")]
    if len(plan.nodes) <= options.max_nodes:
        for level, nodes in by_level.items():
            rows += _rows(str(level), nodes, sites)
    else:
        rows += _runs(by_level, sites)
    return columns(_narrowed(rows, options.columns))


def _rows(level: str, nodes: Sequence[Node], sites: dict[str, Site]) -> list[Row]:
    """The rows of a level: a node each, or a site each if there are many."""
    if len(nodes) > _MOST_ROWS:
        return _site_rows(level, nodes, sites)
    cells = [(node.id, f"{operator(sites[node.site])}({sources(node)})", sites[node.site]) for node in nodes]
    return list(_bracketed(level, cells, len(nodes)))


def _site_rows(level: str, nodes: Sequence[Node], sites: dict[str, Site]) -> list[Row]:
    of_site: dict[str, list[Node]] = {}
    for node in nodes:
        of_site.setdefault(node.site, []).append(node)
    cells = [
        (
            f"{pattern(group[0].id)} ×{len(group):,}" if len(group) > 1 else group[0].id,
            f"{operator(sites[site])}({', '.join(group[0].args)})",
            sites[site],
        )
        for site, group in of_site.items()
    ]
    rows = list(_bracketed(level, cells[:_MOST_ROWS], len(nodes)))
    if len(cells) > _MOST_ROWS:
        rows.append(("", f"... and {len(cells) - _MOST_ROWS:,} more sites", "", "", "", ""))
    return rows


def _runs(by_level: dict[int, list[Node]], sites: dict[str, Site]) -> Iterator[Row]:
    """The levels of a large plan, those that follow each other and are made of the same sites as one."""

    def made_of(level: int) -> list[tuple[str, int]]:
        counts: dict[str, int] = {}
        for node in by_level[level]:
            counts[node.site] = counts.get(node.site, 0) + 1
        return sorted(counts.items())

    for _, run in groupby(by_level, made_of):
        levels = list(run)
        name = str(levels[0]) if len(levels) == 1 else f"{levels[0]}-{levels[-1]}"
        yield from _site_rows(name, by_level[levels[0]], sites)


def _bracketed(level: str, cells: Sequence[tuple[str, str, Site]], nodes: int) -> Iterator[Row]:
    """Rows that a bracket holds together, and says how many nodes run side by side."""
    for i, (name, call, site) in enumerate(cells):
        bracket = "" if len(cells) == 1 else "┐" if i == 0 else "┘" if i == len(cells) - 1 else "│"
        if i == 0 and nodes > 1:
            bracket = f"{bracket} {nodes:,} side by side".lstrip()
        yield (level if i == 0 else "", name, call, gives(site), needs(site.needs), bracket)


def _narrowed(rows: list[Row], most: int) -> list[Row]:
    """The rows, such that they fit a terminal of so many columns: the widest cells give way first."""
    if not most:
        return rows
    widths = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    while sum(widths) + 2 * (len(widths) - 1) > most:
        widest = max(range(1, 5), key=lambda i: widths[i])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return [tuple(clipped(cell, w) for cell, w in zip(row, widths, strict=True)) for row in rows]


def _longest_path(plan: Plan) -> list[str]:
    if not plan.nodes:
        return []
    path = critical_path(dependencies(plan.nodes), weights(plan))
    names = [printable(plan.nodes[i].id) for i in path]
    if len(names) > _MOST_ON_PATH:
        half = _MOST_ON_PATH // 2
        names = [*names[:half], f"... {len(names) - 2 * half} more ...", *names[-half:]]
    return [f"longest path: {' -> '.join(names)}"]

"""A plan as one web page: the drawing, to move in and to search, and what there is to know of each node.

The page loads nothing. Its policy admits only the script and the styles that it was written with, by their
hashes, so that not even a plan made to deceive could add any.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from itertools import groupby
from typing import Any

import msgspec

from flowc.plan.model import Plan, Site
from flowc.plan.types import parse
from flowc.show import Options, summary
from flowc.show.boxes import text
from flowc.show.groups import Group, Most, collapse
from flowc.show.svg import draw, style
from flowc.show.words import argument, merged, needs

_MOST_IDS = 20_000  # that the page can find: beyond, it knows sites only
_MOST_SITES = 40  # of a group, and of a level
_MOST_LEVELS = 1000


def render(plan: Plan, options: Options) -> str:
    """The page."""
    found = collapse(plan, Most.nodes(options.max_nodes))
    page = {name: files("flowc.show").joinpath("page", name).read_text(encoding="utf-8")
            for name in ("page.html", "page.css", "page.js")}  # fmt: skip
    places = {span.site: span.at for span in plan.spans}
    groups = [_described(plan, group, places) for group in found.groups]
    parts = {
        "policy": _policy([page["page.js"]], [page["page.css"], f"\n{style()}"]),
        "title": text(plan.header.name),
        "summary": text(" · ".join(filter(None, [summary(plan), merged(found, len(plan.nodes))]))),
        "style": page["page.css"],
        "drawing": draw(plan, found),
        "levels": "\n".join(_level_rows(plan)),
        # `<` would let a name end the script.
        "plan": msgspec.json.encode({"groups": groups}).decode().replace("<", "\\u003c"),
        "script": page["page.js"],
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page["page.html"])


def _policy(scripts: list[str], styles: list[str]) -> str:
    """Nothing may be loaded, and nothing run or applied but these."""
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _described(plan: Plan, group: Group, places: dict[str, str]) -> dict[str, Any]:
    """What the page's panel tells of a group, as pairs of a term and what it is."""
    levels = str(group.first_level)
    if group.last_level > group.first_level:
        levels += f" to {group.last_level}"
    told = _of_site(group.sites[0], places) if len(group.sites) == 1 else [("sites", _listed(group.sites))]
    if len(group.members) == 1:
        node = plan.nodes[group.members[0]]
        told += [(f"{name} =", argument(tree)) for name, tree in node.args.items()]
        told += [("after", "\n".join(node.after))] if node.after else []
    described: dict[str, Any] = {
        "name": group.name,
        "count": len(group.members),
        "told": [("level", levels), *told],
    }
    if len(group.members) > 1:
        most = _MOST_IDS * len(group.members) // len(plan.nodes) if len(plan.nodes) > _MOST_IDS else None
        described["ids"] = "\n".join(plan.nodes[i].id for i in group.members[:most])
    return described


def _of_site(site: Site, places: dict[str, str]) -> list[tuple[str, str]]:
    takes = ", ".join(f"{name}: {parse(of).short()}" for name, of in site.takes.items())
    told = [("operator", f"{site.op}({takes})"), ("gives", parse(site.gives).short())]
    told.append(("needs", needs(site.needs)))
    if site.retries:
        told.append(("retries", str(site.retries)))
    if site.timeout_ms:
        told.append(("time limit", f"{site.timeout_ms / 1000:g} s"))
    if site.heartbeat_ms:
        told.append(("sign of life", f"at least every {site.heartbeat_ms / 1000:g} s"))
    if site.isolation != "warm":
        told.append(("process", f"{site.isolation} for each attempt"))
    if site.site in places:
        told.append(("source", places[site.site]))
    return told


def _listed(sites: tuple[Site, ...]) -> str:
    shown = [f"{site.site}  {site.op}" for site in sites[:_MOST_SITES]]
    return "\n".join([*shown, *([f"... {len(sites) - len(shown)} more"] if len(sites) > len(shown) else [])])


def _level_rows(plan: Plan) -> list[str]:
    """The rows of the table of levels; those that follow each other and are alike as one."""
    rows = []
    for (nodes, sites), run in groupby(plan.levels, lambda level: (level.nodes, level.sites)):
        numbers = [level.level for level in run]
        name = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"
        each = f"{nodes:,}" + (" each" if len(numbers) > 1 else "")
        told = ", ".join(sites[:_MOST_SITES])
        if len(sites) > _MOST_SITES:
            told += f" and {len(sites) - _MOST_SITES} more"
        rows.append(f"<tr><td>{name}</td><td>{each}</td><td>{text(told)}</td></tr>")
    if len(rows) > _MOST_LEVELS:
        rows[_MOST_LEVELS:] = [f"<tr><td>...</td><td></td><td>{len(rows) - _MOST_LEVELS} more</td></tr>"]
    return rows

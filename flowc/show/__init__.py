"""Pictures of a plan: a function from a plan to text for each format. `docs/pictures.md` shows them."""

from __future__ import annotations

import json
from importlib import import_module
from typing import NamedTuple

from flowc.optimize import Simplified
from flowc.plan.model import Plan
from flowc.plan.text import columns, counted

_MOST_ROWS = 40  # of changes: beyond, the rest is counted


class Format(NamedTuple):
    """Where the function of a format is, which takes a plan and options; and the names its files end in."""

    module: str
    suffixes: tuple[str, ...]


class Options(NamedTuple):
    """What a picture may be like. `columns` is the width of the terminal, 0 if there is none."""

    max_nodes: int = 300
    columns: int = 0


DEFAULT = Options()


FORMATS = {
    "levels": Format("flowc.show.levels", (".txt",)),
    "tree": Format("flowc.show.tree", ()),
    "mermaid": Format("flowc.show.mermaid", (".mmd", ".mermaid")),
    "dot": Format("flowc.show.dot", (".dot", ".gv")),
    "svg": Format("flowc.show.svg", (".svg",)),
    "html": Format("flowc.show.html", (".html", ".htm")),
}
BY_SUFFIX = {suffix: name for name, found in FORMATS.items() for suffix in found.suffixes}


def show(plan: Plan, form: str = "levels", options: Options = DEFAULT) -> str:
    """A plan in one of the `FORMATS`, as text that ends with its last line's end."""
    text: str = import_module(FORMATS[form].module).render(plan, options)
    return text


def summary(plan: Plan) -> str:
    """One line: how large the plan is, told by its levels."""
    widest = max((level.nodes for level in plan.levels), default=0)
    nodes = sum(level.nodes for level in plan.levels)
    counts = ((nodes, "node"), (len(plan.sites), "site"), (len(plan.levels), "level"))
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

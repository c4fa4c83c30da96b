"""Pictures of a plan: a function from a plan to text for each format. `docs/pictures.md` shows them."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from flowc.plan.model import Plan
from flowc.plan.text import counted


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

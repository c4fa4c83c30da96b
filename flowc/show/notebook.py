"""Pictures in notebooks: what Jupyter shows for a workflow, a plan or a plan file."""

from __future__ import annotations

import base64
import html
import os
from typing import Any

from flowc.compiler import compile_workflow
from flowc.lang import Workflow
from flowc.plan.codec import decode, encode, read
from flowc.plan.diagnostics import Refused, in_order, render
from flowc.plan.model import Plan
from flowc.show import DEFAULT, Options, show, summary


class Picture:
    """A plan that a notebook draws; elsewhere its representation is the table of levels."""

    def __init__(self, plan: Plan, max_nodes: int = DEFAULT.max_nodes) -> None:
        self.plan = decode(encode(plan), plan.header.name)  # in the order of a file
        self.options = Options(max_nodes)

    def __repr__(self) -> str:
        return show(self.plan, "levels", self.options).rstrip("\n")

    def _repr_svg_(self) -> str:
        return show(self.plan, "svg", self.options)

    def _repr_html_(self) -> str:
        # An image keeps its styles to itself and is shown in notebooks that are not trusted, too.
        svg = base64.b64encode(self._repr_svg_().encode()).decode()
        name = html.escape(f"{self.plan.header.name}: {summary(self.plan)}")
        return f'<img alt="{name}" src="data:image/svg+xml;base64,{svg}" style="max-width: none">'


def draw(
    what: Workflow[..., Any] | Plan | str | os.PathLike[str], max_nodes: int = DEFAULT.max_nodes
) -> Picture:
    """A picture of a workflow, a plan, or a plan file; `Refused` if the one is wrong or the other damaged.

    Plans of more than `max_nodes` nodes are drawn by site, scope or level.
    """
    match what:
        case Workflow():
            return Picture(compile_workflow(what), max_nodes)
        case Plan():
            return Picture(what, max_nodes)
        case _:
            return Picture(read(what), max_nodes)


def html_of(workflow: Workflow[..., Any]) -> str:
    """The picture of a workflow, or what is wrong with it."""
    try:
        return draw(workflow)._repr_html_()
    except Refused as refusal:
        told = "\n\n".join(render(diagnostic) for diagnostic in in_order(refusal.diagnostics))
        return f"<pre>{html.escape(told)}</pre>"

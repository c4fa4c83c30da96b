"""`flowc diff`: compares pairs of plans and prints the differences, for people and for machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused
from flowc.plan.model import FORMAT, Header, Plan
from flowc.review.diff import Difference, compare
from flowc.review.markdown import as_markdown
from flowc.review.report import report
from flowc.review.sides import Pair, pairs
from flowc.review.text import as_text


class Compared(msgspec.Struct, frozen=True):
    """A row of the JSON output. The difference from a plan that is not there is that from an empty one."""

    old: str | None
    new: str | None
    same: bool
    difference: Difference


def diff(words: Sequence[str], style: str = "text") -> bool:
    """Print how plans differ, as `text`, `markdown` or `json`; return whether they do.

    What can be compared is printed even where something else is refused afterwards.
    """
    refused: list[Diagnostic] = []
    found: list[tuple[Pair, Difference]] = []
    for pair in pairs(words):
        try:
            found.append((pair, _compare(pair)))
        except Refused as refusal:
            refused += refusal.diagnostics
    if found or not refused:
        print(_written(found, style))
    if refused:
        raise Refused(*refused)
    return any(not difference.same for _, difference in found)


def _compare(pair: Pair) -> Difference:
    old, new = (side.load and side.load() for side in pair)
    there = old or new
    assert there is not None, "one of the sides is there"
    nothing = Plan(Header(FORMAT, there.header.workflow))
    return compare(old or nothing, new or nothing)


def _written(found: Sequence[tuple[Pair, Difference]], style: str) -> str:
    if style == "json":
        rows = []
        for pair, difference in found:
            old, new = (side.name if side.load else None for side in pair)
            rows.append(Compared(old, new, difference.same, difference))
        return msgspec.json.format(msgspec.json.encode({"plans": rows}), indent=2).decode()
    reports = [report(pair.title, difference) for pair, difference in found]
    if not reports:
        return "no plan changed"
    if style == "markdown":
        return as_markdown(reports)
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return "\n\n\n".join(as_text(each, colours) for each in reports)

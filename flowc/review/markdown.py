"""Reports as Markdown for a comment on a pull request: summaries to see, tables to unfold."""

from __future__ import annotations

import re

from flowc.plan.text import counted, printable
from flowc.review.report import Cell, Code, Report, Section

MOST_CHARACTERS = 60_000  # GitHub takes 65,536 in a comment; the rest is for what a CI job writes around it
_SAFE_IN_BACKTICKS = re.compile(r"[^`|\\]+")
_SPECIAL = re.compile(r"[^\w .,:;()/=-]|_")


def as_markdown(reports: list[Report]) -> str:
    """As many reports in full as there is room for, then summaries, then the number of those left out."""
    parts: list[str] = []
    room = MOST_CHARACTERS - 100
    for report in reports:
        head = f"#### {_code(report.title)}\n{report.summary}\n"
        tables = "".join(_table(section) for section in report.sections)
        part = next((part for part in (head + tables, head) if len(part) < room), None)
        if part is None:
            parts.append(f"... and {counted(len(reports) - len(parts), 'more plan')}\n")
            break
        parts.append(part)
        room -= len(part) + 1
    return "\n".join(parts)


def _table(section: Section) -> str:
    """A table that unfolds; the blank lines around it are what makes Markdown see one."""
    count = sum(1 for entry in section.entries if entry.sign or entry.cells[0]) + section.more
    rows = ["| " + " | ".join(("", *section.columns)) + " |", "| --- " * (len(section.columns) + 1) + "|"]
    for entry in section.entries:
        sign = f"`{entry.sign}`" if entry.sign else ""
        rows.append("| " + " | ".join((sign, *map(_cell, entry.cells))) + " |")
    more = f"\n... and {section.more} more\n" if section.more else ""
    table = "\n".join(rows)
    return f"\n<details><summary>{section.title} ({count})</summary>\n\n{table}\n{more}\n</details>\n"


def _cell(cell: Cell) -> str:
    return "".join(_code(part) if isinstance(part, Code) else part.replace("->", "→") for part in cell)


def _code(text: str) -> str:
    """Text of a plan such that it stands for itself: no markup, no HTML, no mention of a person."""
    text = printable(text).strip()
    if _SAFE_IN_BACKTICKS.fullmatch(text):
        return f"`{text}`"
    # A backslash before a pipe or a backtick cannot be written between backticks in a table.
    return f"<code>{_SPECIAL.sub(lambda match: f'&#{ord(match[0])};', text)}</code>" if text else '`""`'

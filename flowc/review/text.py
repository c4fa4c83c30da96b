"""A report as text for a terminal."""

from __future__ import annotations

from flowc.plan.text import columns, printable
from flowc.review.report import Report, Section, Sign

_COLOURS: dict[Sign, str] = {"+": "32", "-": "31", "~": "33", ">": "36"}


def as_text(report: Report, colours: bool = False) -> str:
    """The whole report; `colours` are ANSI escapes."""
    title = printable(report.title)
    paragraphs = [[_styled(title, "1") if colours else title, report.summary]]
    paragraphs += [_section(section, colours) for section in report.sections]
    return "\n\n".join("\n".join(lines) for lines in paragraphs)


def _section(section: Section, colours: bool) -> list[str]:
    signs = any(entry.sign for entry in section.entries)
    rows = [(section.title, *section.columns[1:])]
    for entry in section.entries:
        first, *others = (printable("".join(cell)) for cell in entry.cells)
        rows.append((f"  {entry.sign:3}{first}" if signs else f"  {first}", *others))
    title, *lines = columns(rows)
    if colours:
        lines = [
            _styled(line, _COLOURS[entry.sign]) if entry.sign else line
            for entry, line in zip(section.entries, lines, strict=True)
        ]
    return [title, *lines, *([f"  ... and {section.more} more"] if section.more else [])]


def _styled(text: str, style: str) -> str:
    return f"\033[{style}m{text}\033[0m"

"""Text for terminals that more than one command prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns; the last column is not padded."""
    table = [[printable(cell) for cell in row] for row in rows]
    widths = [max(width(row[i]) for row in table) for i in range(len(table[0]) - 1)] if table else []
    return [
        "  ".join(cell + " " * (w - width(cell)) for cell, w in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in table
    ]


def width(text: str) -> int:
    """How many cells of a terminal a text takes: Chinese, Japanese and Korean take two, accents none."""
    if text.isascii():
        return len(text)
    import unicodedata  # a table of its own, which most texts do not need

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def clipped(text: str, cells: int) -> str:
    """The text, or as much of it as fits into so many cells, ending in `…`."""
    if width(text) <= cells:
        return text
    while text and width(text) >= cells:
        text = text[: cells - 1] if len(text) >= cells else text[:-1]
    return f"{text}…"


def counted(count: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """Text in which nothing steers a terminal: what cannot be printed is written as Python escapes it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

"""What the diagnostic codes mean, from their pages."""

from __future__ import annotations

import difflib
from pathlib import Path

from flowc.plan.codes import CODES


def explanation(code: str) -> str:
    """The page of a code in Markdown, or what the registry says of it; "" if there is no such code."""
    package = Path(__file__).parent
    # Installed, the pages lie in the package; in a checkout, where people read them.
    for folder in (package / "errors", package.parent / "docs" / "errors"):
        page = folder / f"{code.upper()}.md"
        if code.upper() in CODES and page.is_file():
            return page.read_text(encoding="utf-8").rstrip()
    return CODES.get(code.upper(), "")


def listing() -> str:
    """Every code with its meaning, a line each."""
    return "\n".join(f"{code}  {meaning}" for code, meaning in CODES.items())


def similar(code: str) -> str:
    """Where to look instead of a code that is none."""
    close = difflib.get_close_matches(code.upper(), CODES, 3)
    return f"did you mean {' or '.join(close)}?" if close else "`flowc explain` lists them"

"""How a refusal shows what came: short, whatever its size, since it goes into a message."""

from __future__ import annotations

from typing import Any

_LONGEST = 60


def shown(value: Any) -> str:
    """Return a decoded JSON value as a person would name it, in at most about 80 characters."""
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case list():
            return f"an array of {len(value)}"
        case dict():
            return "an object"
        case str():
            return f'"{cut(value)}"'
        case int() if value.bit_length() > 128:  # too long to print, and Python refuses beyond 4300 digits
            return "an integer of more than 38 digits"
        case _:
            return cut(repr(value))


def cut(text: str) -> str:
    """The text, cut to 60 characters, without control characters."""
    clean = "".join(c if c.isprintable() else "?" for c in text[: _LONGEST + 1])
    return clean if len(clean) <= _LONGEST else clean[:_LONGEST] + "..."


def shown_shape(shape: list[int] | tuple[int, ...]) -> str:
    """A shape as JSON writes it; a long one is cut."""
    sizes = [shown(size) for size in shape[:9]]
    return f"[{', '.join([*sizes[:8], '...'] if len(sizes) > 8 else sizes)}]"


def listed(names: list[str], most: int = 10) -> str:
    """Backquoted names in a row, the first ten of them."""
    return ", ".join([f"`{cut(name)}`" for name in names[:most]] + ["..."] * (len(names) > most))

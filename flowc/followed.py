"""The names that were followed on a walk, and whether they still lead where they led."""

from __future__ import annotations

from collections.abc import Mapping
from types import CellType
from typing import Any

from flowc.lang import Operator, Workflow
from flowc.purity import MADE, is_untouched

ABSENT = object()  # what a name leads to that is not bound


class Followed:
    """Names with the objects that they led to, and objects that nobody has touched."""

    def __init__(self) -> None:
        self._names: list[tuple[Mapping[str, Any], str, Any]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._sizes: list[tuple[Mapping[str, Any], int]] = []
        self._untouched: list[Operator[..., Any] | Workflow[..., Any]] = []

    def value(self, names: Mapping[str, Any], name: str) -> Any:
        """What a name leads to; `ABSENT` if it is not bound."""
        value = names.get(name, ABSENT)
        self._names.append((names, name, value))
        return value

    def content(self, cell: CellType) -> Any:
        """What a closure has a variable for; `ABSENT` if that is not bound yet."""
        value = _content_of(cell)
        self._cells.append((cell, value))
        return value

    def size(self, names: Mapping[str, Any]) -> None:
        """All names of a function or class were followed: there must be no more of them."""
        self._sizes.append((names, _size_of(names)))

    def untouched(self, value: Operator[..., Any] | Workflow[..., Any]) -> bool:
        """Whether nobody has set attributes of their own."""
        if not is_untouched(value):
            return False
        self._untouched.append(value)
        return True

    def holds(self) -> bool:
        """Whether every name still leads to the same object, and nobody has touched one since."""
        return (
            all(names.get(name, ABSENT) is value for names, name, value in self._names)
            and all(_content_of(cell) is value for cell, value in self._cells)
            and all(_size_of(names) == size for names, size in self._sizes)
            and all(is_untouched(value) for value in self._untouched)
        )


def _content_of(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def _size_of(names: Mapping[str, Any]) -> int:
    """How many attributes somebody has set."""
    return len(names.keys() - MADE)

"""TOML that people write, checked whole: what is wrong is refused with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

import msgspec

from flowc.plan.diagnostics import Label, Place, refuse

T = TypeVar("T")
Keys = Sequence[str | int]
"""Where a value stands: names of tables and keys, and numbers (from 0) in arrays of tables."""

_KEY = r"""(?:"[^"\n]*"|'[^'\n]*'|[\w-]+)"""
_KEYS = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEYS})\s*\]")
_ENTRY = re.compile(rf"\s*({_KEYS})\s*=")


class Toml:
    """A document. Everything that it refuses has `code` and a place in `file`."""

    def __init__(self, text: str, file: str, what: str, code: str) -> None:
        """`what` is how messages name the document, as in "the configuration"."""
        self._text, self._file, self._code = text, file, code
        try:
            self.values: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r" \(at line (\d+), column (\d+)\)", str(error))
            line, column = (int(found[1]), int(found[2])) if found else (text.count("\n") + 1, 0)
            reason = str(error).partition(" (at ")[0]
            refuse(code, f"{what} is not TOML: {reason}", Place(file, line, column, column + 1))

    def convert(self, value: Any, kind: type[T], at: Keys = ()) -> T:
        """Return a value that stands at `at` as a struct of this kind."""
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `")
            reason = reason.replace(" | null`", "`")  # which TOML has not: the setting is left out
            steps = path.rstrip("`").removeprefix("key in ").removeprefix("$")
            keys = [step for step in re.split(r"[.\[\]]+", steps) if step and step != "..."]
            here = [*at, *(int(key) if key.isdigit() else key for key in keys)]
            if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", reason):
                self.unknown([*here, unknown[1]], getattr(kind, "__struct_fields__", ()))
            hint = f"it can be {said}" if (said := _choices(kind, keys)) else ""
            self.wrong(here, f"{reason[:1].lower()}{reason[1:]}", hint)

    def unknown(self, at: Keys, names: Sequence[str]) -> NoReturn:
        """Refuse a setting that there is not; `names` are those that there are in its place."""
        near = get_close_matches(str(at[-1]), names, 1)
        hint = f"`{near[0]}` is one" if near else f"there are {', '.join(f'`{name}`' for name in names)}"
        refuse(self._code, f"there is no setting `{_said(at)}`", Label(self.place(at)), hint=hint)

    def wrong(self, at: Keys, reason: str, hint: str = "") -> NoReturn:
        """Refuse a value."""
        what = f"`{_said(at)}` is wrong: {reason}" if at else reason
        refuse(self._code, what, Label(self.place(at)), hint=hint)

    def place(self, at: Keys) -> Place:
        """Where a value stands, or else what it is in; for lines that are written in the usual way."""
        places = self._places()
        for end in range(len(at), 0, -1):
            if found := places.get(tuple(at[:end])):
                return found
        return Place(self._file)

    def _places(self) -> dict[tuple[str | int, ...], Place]:
        places: dict[tuple[str | int, ...], Place] = {}
        table: tuple[str | int, ...] = ()
        counts: dict[tuple[str | int, ...], int] = {}
        for number, line in enumerate(self._text.splitlines(), 1):
            if header := _HEADER.match(line):
                table = _keys(header[2])
                if header[1] == "[[":
                    index = counts[table] = counts.get(table, -1) + 1
                    places.setdefault(table, Place(self._file, number))
                    table = (*table, index)
                elif table[:1] in counts:  # a table of the last element
                    table = (table[0], counts[table[:1]], *table[1:])
                places.setdefault(table, Place(self._file, number))
            elif entry := _ENTRY.match(line):
                place = Place(self._file, number, entry.start(1) + 1, len(line) + 1)
                places.setdefault((*table, *_keys(entry[1])), place)
        return places


def _choices(kind: Any, keys: Sequence[str]) -> str:
    """The values between which a setting of a struct chooses, if it does."""
    from msgspec import inspect

    found: Any = inspect.type_info(kind)
    for key in keys:
        fields = getattr(found, "fields", ())
        found = next((field.type for field in fields if field.encode_name == key), None)
    alternatives = getattr(found, "types", (found,))
    values = [v for of in alternatives if isinstance(of, inspect.LiteralType) for v in of.values]
    return ", ".join(f"`{value}`" for value in values)


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, text))


def _said(at: Keys) -> str:
    said = ""
    for key in at:
        said += f"[{key}]" if isinstance(key, int) else f".{key}" if said else key
    return said

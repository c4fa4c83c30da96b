"""Type expressions as values: reading and printing them."""

from __future__ import annotations

import datetime
import functools
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

Scalar = str | int | float | bool | None


class Type(msgspec.Struct, frozen=True):
    """A parsed type expression.

    `args` are types, scalars for `Literal`, and integers for the dimensions of a `Tensor`. A record,
    `{a: int}`, is named `{}` and has the names of its fields in `keys`. `notes` are bounds on values and
    remarks for people, sorted by name: `int(ge=1, le=100)`.
    """

    name: str
    args: tuple[Type | Scalar, ...] = ()
    keys: tuple[str, ...] = ()
    notes: tuple[tuple[str, Scalar], ...] = ()

    def __str__(self) -> str:
        """The canonical text; `parse(str(t)) == t`."""
        notes = ", ".join(f"{name}={_json(value)}" for name, value in self.notes)
        return self._text(self.name, str) + (f"({notes})" if notes else "")

    def short(self) -> str:
        """For people: classes without their modules, bounds as `int(1..100)`, no remarks."""
        if is_variable(self):
            return self.name[1:]
        return self._text(self.name.rpartition(":")[2], Type.short) + _short_bounds(self)

    def _text(self, name: str, shown: Callable[[Type], str]) -> str:
        args = [shown(arg) if isinstance(arg, Type) else _json(arg) for arg in self.args]
        if name == UNION:
            return " | ".join(args)
        if name == RECORD:
            keys = (key if _IDENTIFIER.fullmatch(key) else _json(key) for key in self.keys)
            return "{" + ", ".join(f"{key}: {of}" for key, of in zip(keys, args, strict=True)) + "}"
        return f"{name}[{', '.join(args)}]" if args else name

    @property
    def fields(self) -> dict[str, Type]:
        """The fields of a record, in order."""
        return {key: of for key, of in zip(self.keys, self.args, strict=True) if isinstance(of, Type)}

    def note(self, name: str) -> Scalar:
        """A bound or a remark; `None` if there is none."""
        return dict(self.notes).get(name)


Arg = Type | Scalar
UNION = "|"
RECORD = "{}"
ANY = Type("Any")
NONE = Type("None")

# The types of columns and tensor elements, by numpy's names, and what they are to JSON.
DTYPES: dict[str, Any] = {
    **{f"{sign}int{bits}": int for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": float for bits in (16, 32, 64)},
}
# What each built-in name means to msgspec, which validates values; `Any` is left to where classes are loaded.
BUILTIN: dict[str, Any] = {
    "Any": Any,
    "None": None,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "Literal": typing.Literal,
    "Path": str,
    "Secret": str,
    "Array": Any,
    "Tensor": Any,
    "Dataset": Any,
    "FeatureSet": Any,
    "Model": Any,
    "Predictions": Any,
    "Metrics": dict[str, float],
    "HyperparameterSet": dict[str, Any],
    **DTYPES,
}
# What may be noted of a type, and the types that it makes sense for; empty: all.
_NUMBERS = ("int", "float", *DTYPES)
NOTES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ge", "gt", "le", "lt", "multiple_of"), _NUMBERS),
    **dict.fromkeys(("min_length", "max_length"), ("str", "bytes", "list", "dict", "set")),
    "pattern": ("str",),
    **dict.fromkeys(("column_of", "column_type"), ("str",)),
    **dict.fromkeys(("title", "description", "unit", "component"), ()),
}
# Notes whose values are checked here, as others rely on them; the rest are any scalar.
_AMOUNTS = ("ge", "gt", "le", "lt", "multiple_of")
_LENGTHS = ("min_length", "max_length")
_ONE_OF = (("ge", "gt"), ("le", "lt"))  # a number has one lower bound and one upper bound
_MOST_TOKENS = 10_000
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")
# A module is named after its file, which may hold more than an identifier does: `01-train:Parts`.
_TOKEN = re.compile(
    r"""\s*("(?:[^"\\]|\\.)*" | [\w.-]+:[^\W\d][\w.]* | -?\d+(?:\.\d+)?(?:[eE][+-]?\d+)? | '[^\W\d]\w*
    | [^\W\d][\w.]* | \.\.\. | [\[\],|{}():=])""",
    re.VERBOSE,
)


class TypeSyntaxError(ValueError):
    """The text is not a type expression."""


def union(members: Sequence[Type]) -> Type:
    """The union of some types, flattened and without repetition; `None` comes last."""
    flat = [m for t in members for m in (t.args if t.name == UNION else (t,)) if isinstance(m, Type)]
    unique = list(dict.fromkeys(flat))
    unique.sort(key=lambda t: t == NONE)
    return unique[0] if len(unique) == 1 else Type(UNION, tuple(unique))


def plain(of: Type) -> Type:
    """The type without its notes, inside and out."""
    args = tuple(plain(arg) if isinstance(arg, Type) else arg for arg in of.args)
    return Type(of.name, args, of.keys)


def is_sound(note: str, value: Scalar) -> bool:
    """Whether a note can have a value."""
    if note in _AMOUNTS:
        return type(value) in (int, float) and (note != "multiple_of" or value > 0)  # type: ignore[operator]
    if note in _LENGTHS:
        return type(value) is int and value >= 0
    if note not in ("pattern", "column_of", "column_type"):
        return True
    if not isinstance(value, str):
        return False
    try:
        if note == "pattern":
            re.compile(value)
        elif note == "column_type":
            parse(value)
    except (re.error, OverflowError, TypeSyntaxError):
        return False
    return True


def is_variable(of: Type) -> bool:
    """Whether it is a type variable, `'T`, which stands for whatever a call has there."""
    return of.name.startswith("'")


def type_of_scalar(value: Scalar) -> Type:
    """The type of a JSON scalar."""
    return NONE if value is None else Type(type(value).__name__)


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Type:
    """Read a type expression; `TypeSyntaxError` if it is none."""
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None or len(tokens) == _MOST_TOKENS:
            raise TypeSyntaxError(f"`{_clipped(text)}` is not a type")
        tokens.append(match[1])
        at = match.end()
    reader = _Reader(text, tokens[::-1])
    found = reader.union(0)
    if reader.tokens:
        reader.refuse(f"unexpected `{reader.tokens[-1]}`")
    return found


class _Reader(msgspec.Struct):
    """Recursive descent over tokens, the next one last."""

    text: str
    tokens: list[str]

    def refuse(self, why: str) -> typing.NoReturn:
        raise TypeSyntaxError(f"`{_clipped(self.text)}` is not a type: {why}")

    def next(self) -> str:
        return self.tokens.pop() if self.tokens else ""

    def skip(self, token: str) -> bool:
        """Pass over a token if it is the next one."""
        found = bool(self.tokens) and self.tokens[-1] == token
        if found:
            self.tokens.pop()
        return found

    def union(self, depth: int) -> Type:
        members = [self.term(depth)]
        while self.skip("|"):
            members.append(self.term(depth))
        return union(members)

    def term(self, depth: int) -> Type:
        name = self.next()
        if depth > 50:
            self.refuse("it is nested too deeply")
        if name == "{":
            return self.record(depth)
        known = name in BUILTIN or name.startswith("'") or (":" in name and len(name) > 1)
        if not known or name.startswith('"'):
            self.refuse(f"`{name}` is not known")
        args: list[Arg] = []
        if self.skip("["):
            while True:
                args.append(self.argument(name, depth))
                if not self.skip(","):
                    break
            if not self.skip("]"):
                self.refuse("a bracket is not closed")
        return Type(name, tuple(args), (), self.notes(name) if self.skip("(") else ())

    def argument(self, name: str, depth: int) -> Arg:
        if name == "Literal":
            scalar = self.scalar()
            if isinstance(scalar, float):
                self.refuse("a Literal has no fractions")
            return scalar
        if name == "Tensor" and self.tokens and _SIZE.fullmatch(self.tokens[-1]):
            return int(self.next())
        if name == "Tensor" and self.skip("..."):
            return Type("...")
        return self.union(depth + 1)

    def record(self, depth: int) -> Type:
        fields: dict[str, Arg] = {}
        while not self.skip("}"):
            if fields and not self.skip(","):
                self.refuse("a bracket is not closed")
            token = self.next()
            key = self.decoded(token) if token.startswith('"') else token
            if not (token.startswith('"') or _IDENTIFIER.fullmatch(token)) or key in fields:
                self.refuse(f"`{token}` is no name of a field, or a second one")
            if not self.skip(":"):
                self.refuse(f"no `: ` after `{token}`")
            fields[key] = self.union(depth + 1)
        return Type(RECORD, tuple(fields.values()), tuple(fields))

    def notes(self, name: str) -> tuple[tuple[str, Scalar], ...]:
        found: dict[str, Scalar] = {}
        while True:
            key = self.next()
            if key not in NOTES or key in found or (NOTES[key] and name not in NOTES[key]):
                self.refuse(f"`{name}` takes no `{key}`, or a second one")
            if not self.skip("="):
                self.refuse(f"no `=` after `{key}`")
            found[key] = self.scalar()
            if not is_sound(key, found[key]):
                self.refuse(f"`{key}` cannot be `{_json(found[key])}`")
            if self.skip(")"):
                if any(one in found and other in found for one, other in _ONE_OF):
                    self.refuse("it has two lower bounds, or two upper ones")
                return tuple(sorted(found.items()))
            if not self.skip(","):
                self.refuse("a bracket is not closed")

    def scalar(self) -> Scalar:
        found = self.decoded(self.next())
        if found is not None and not isinstance(found, (str, int, float)):
            self.refuse("a scalar is wanted")
        return found

    def decoded(self, token: str) -> Any:
        try:
            return msgspec.json.decode(token)
        except ValueError:
            self.refuse(f"`{token}` is not a JSON scalar")


def _clipped(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def _json(value: Scalar) -> str:
    return msgspec.json.encode(value).decode()


def _short_bounds(of: Type) -> str:
    notes = dict(of.notes)
    low, high = notes.get("ge", ""), notes.get("le", "")
    parts = [f"{low}..{high}"] if "ge" in notes or "le" in notes else []
    parts += [f"{sign}{notes[name]}" for name, sign in (("gt", ">"), ("lt", "<")) if name in notes]
    parts += [f"{name}={_json(notes[name])}" for name in _SHOWN if name in notes]
    return f"({', '.join(parts)})" if parts else ""


_SHOWN = ("multiple_of", "min_length", "max_length", "pattern")

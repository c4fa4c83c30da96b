"""Type expressions: the types of a plan's inputs, arguments and outputs, written as text.

    int                       list[float]              dict[str, int]        tuple[int, str]
    str | None                Literal["a", "b"]        Array                 stdlib.types:Dataset

A name with a colon is a class in a module (nominal); every other name is listed in `BUILTIN`. `Any` is
assignable both ways. Parsing, printing, assignability and conversion need no user code.
"""

from __future__ import annotations

import datetime
import functools
import operator
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

Bases = Mapping[str, Sequence[str]]  # nominal class -> the names of its base classes


class Type(msgspec.Struct, frozen=True):
    """A parsed type expression. `args` are types, or JSON scalars for `Literal`."""

    name: str
    args: tuple[Type | str | int | bool | None, ...] = ()

    def __str__(self) -> str:
        """The canonical text; `parse(str(t)) == t`."""
        return self._text(self.name, str)

    def short(self) -> str:
        """For people: classes without their modules."""
        return self._text(self.name.rpartition(":")[2], Type.short)

    def _text(self, name: str, shown: Callable[[Type], str]) -> str:
        args = [
            shown(arg) if isinstance(arg, Type) else msgspec.json.encode(arg).decode() for arg in self.args
        ]
        if name == "|":
            return " | ".join(args)
        return f"{name}[{', '.join(args)}]" if args else name


ANY = Type("Any")
NONE = Type("None")

# What each built-in name means to msgspec, which validates values; Array is checked by the worker.
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
    "Array": Any,
    "Literal": typing.Literal,
}
# A module is named after its file, which may hold more than an identifier does: `01-train:Parts`.
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\w.-]+:[^\W\d][\w.]*|-?\d+|[^\W\d][\w.]*|[\[\],|])')


class TypeSyntaxError(ValueError):
    """The text is not a type expression."""


def union(members: Sequence[Type]) -> Type:
    """The union of some types, flattened and without repetition; `None` comes last."""
    flat = [m for t in members for m in (t.args if t.name == "|" else (t,)) if isinstance(m, Type)]
    unique = list(dict.fromkeys(flat))
    unique.sort(key=lambda t: t == NONE)
    return unique[0] if len(unique) == 1 else Type("|", tuple(unique))


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Type:
    """Read a type expression; `TypeSyntaxError` if it is none."""
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None or len(tokens) > 1000:
            raise TypeSyntaxError(f"`{text}` is not a type")
        tokens.append(match[1])
        at = match.end()
    tokens.reverse()
    found = _parse_union(tokens, text)
    if tokens:
        raise TypeSyntaxError(f"`{text}` is not a type: unexpected `{tokens[-1]}`")
    return found


def _parse_union(tokens: list[str], text: str, depth: int = 0) -> Type:
    members = [_parse_term(tokens, text, depth)]
    while tokens and tokens[-1] == "|":
        tokens.pop()
        members.append(_parse_term(tokens, text, depth))
    return union(members)


def _parse_term(tokens: list[str], text: str, depth: int) -> Type:
    name = tokens.pop() if tokens else ""
    if depth > 50 or not (name in BUILTIN or ":" in name) or name.startswith('"'):
        raise TypeSyntaxError(f"`{text}` is not a type: `{name}` is not known")
    args: list[Type | str | int | bool | None] = []
    if tokens and tokens[-1] == "[":
        while tokens.pop() != "]":  # pops "[" first, then each ","
            if name == "Literal":
                args.append(_parse_scalar(tokens.pop() if tokens else "", text))
            else:
                args.append(_parse_union(tokens, text, depth + 1))
            if not tokens or tokens[-1] not in ",]":
                raise TypeSyntaxError(f"`{text}` is not a type: a bracket is not closed")
    return Type(name, tuple(args))


def _parse_scalar(token: str, text: str) -> str | int | bool | None:
    try:
        scalar: str | int | bool | None = msgspec.json.decode(token)
    except ValueError:
        raise TypeSyntaxError(f"`{text}` is not a type: `{token}` is not a JSON scalar") from None
    return scalar


def assignable(source: Type, target: Type, bases: Bases | None = None) -> bool:
    """Whether a value of type `source` may go where `target` is expected.

    Containers are covariant (values are immutable once stored), `int` goes where `float` is expected, a
    class where one of its bases is, and `Any` goes both ways.
    """
    bases = bases or {}
    if "Any" in (source.name, target.name):
        return True
    if source.name == "|":
        return all(assignable(m, target, bases) for m in source.args if isinstance(m, Type))
    if source.name == "Literal":
        return all(_admits(target, arg, bases) for arg in source.args if not isinstance(arg, Type))
    if target.name == "|":
        return any(assignable(source, m, bases) for m in target.args if isinstance(m, Type))
    if source.name == "int" and target.name == "float":
        return True
    if source.name != target.name:
        return target.name in _ancestors(source.name, bases)
    if not source.args or not target.args:  # `list` is `list[Any]`
        return True
    pairs = zip(source.args, target.args, strict=False)
    return len(source.args) == len(target.args) and all(
        assignable(s, t, bases) for s, t in pairs if isinstance(s, Type) and isinstance(t, Type)
    )


def _admits(target: Type, scalar: str | int | bool | None, bases: Bases) -> bool:
    """Whether one value of a `Literal` may go where `target` is expected."""
    if target.name == "|":
        return any(_admits(member, scalar, bases) for member in target.args if isinstance(member, Type))
    if target.name == "Literal":  # to Python, `True` equals 1
        return (type(scalar), scalar) in [(type(arg), arg) for arg in target.args]
    return assignable(type_of_scalar(scalar), target, bases)


def _ancestors(name: str, bases: Bases) -> set[str]:
    """All bases of a class, theirs included; an edited plan may even have circles of them."""
    found: set[str] = set()
    todo = list(bases.get(name, ()))
    while todo:
        base = todo.pop()
        if base not in found:
            found.add(base)
            todo += bases.get(base, ())
    return found


def type_of_scalar(value: str | int | float | bool | None) -> Type:
    """The type of a JSON scalar."""
    return NONE if value is None else Type(type(value).__name__)


def convert(value: Any, target: Type) -> Any:
    """Return `value` (JSON-like) as a value of type `target`; `msgspec.ValidationError` if it is none.

    Classes are not looked up: a value for one passes as it is, and is checked where the class is loaded.
    """
    if target.name == "|" and _python_type(target) is Any:
        failure = None
        for member in target.args:
            try:
                return convert(value, member) if isinstance(member, Type) else value
            except msgspec.ValidationError as error:
                failure = error
        raise failure or msgspec.ValidationError(f"no value is of type `{target}`")
    try:
        return msgspec.convert(value, _python_type(target))
    except (TypeError, NotImplementedError) as error:  # a set of lists, a literal beyond 64 bits
        raise msgspec.ValidationError(f"no value can be of type `{target}`: {error}") from None


def parse_text(text: str, target: Type) -> Any:
    """Read what a person typed for an input of type `target`; `msgspec.ValidationError` if it is wrong.

    JSON where the type wants it; a bare word is a string.
    """
    if target.name == "str":
        return text
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        value = text
    return convert(value, target)


def _python_type(target: Type) -> Any:
    if ":" in target.name:
        return Any
    if target.name == "Literal":
        return typing.Literal[target.args]
    args = tuple(_python_type(arg) for arg in target.args if isinstance(arg, Type))
    if target.name == "|":
        return _union_for_msgspec(args)
    python_type = BUILTIN[target.name]
    return python_type[args] if args else python_type


@functools.lru_cache(maxsize=1024)
def _union_for_msgspec(members: tuple[Any, ...]) -> Any:
    """The union, or `Any` where msgspec could not tell its members apart."""
    if Any in members:
        return Any
    union = functools.reduce(operator.or_, members)
    try:
        msgspec.json.Decoder(union)
    except TypeError:
        return Any
    return union

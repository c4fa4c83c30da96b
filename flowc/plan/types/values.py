"""Values and types: reading what a person typed, converting JSON-like values, and saying what is wrong."""

from __future__ import annotations

import functools
import operator
import re
import typing
from typing import Annotated, Any

import msgspec

from flowc.plan.model import Structure
from flowc.plan.types.expressions import BUILTIN, RECORD, UNION, Type, parse
from flowc.plan.types.fits import Classes

# A secret is written as where it lies; its value stands in no plan, no log and no store.
SECRET_PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
_CONSTRAINTS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")
_MOST_NESTED = 20  # classes within classes


def convert(value: Any, target: Type, classes: Classes | None = None) -> Any:
    """Return `value` (JSON-like) as a value of type `target`; `msgspec.ValidationError` if it is none.

    Classes are as the plan describes them: fields, values of an enumeration. A value for a class that it says
    nothing of passes as it is, and is checked where the class is loaded.
    """
    try:
        wanted = python_type(target, classes)
    except (TypeError, ValueError) as error:  # a literal of nothing
        raise msgspec.ValidationError(f"no value can be of type `{target}`: {error}") from None
    if target.name == UNION and wanted is Any:
        failure = None
        for member in target.args:
            try:
                return convert(value, member, classes) if isinstance(member, Type) else value
            except msgspec.ValidationError as error:
                failure = error
        raise failure or msgspec.ValidationError(f"no value is of type `{target}`")
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        raise
    except (TypeError, ValueError, NotImplementedError) as error:  # a set of lists, a bound beyond 64 bits
        raise msgspec.ValidationError(f"no value can be of type `{target}`: {error}") from None


def parse_text(text: str, target: Type, classes: Classes | None = None) -> Any:
    """Read what a person typed for an input of type `target`; `msgspec.ValidationError` if it is wrong.

    JSON where the type wants it; a bare word is a string.
    """
    if target.name in ("str", "Path", "Secret"):
        return convert(text, target, classes)
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        value = text
    return convert(value, target, classes)


def requirement(of: Type) -> str:
    """The bounds of a type in words, "from 1 to 100"; empty if it has none."""
    notes = dict(of.notes)
    parts = []
    if "ge" in notes and "le" in notes:
        parts.append(f"from {notes.pop('ge')} to {notes.pop('le')}")
    items = "characters" if of.name == "str" else "bytes" if of.name == "bytes" else "items"
    words = {
        "ge": "at least {}",
        "gt": "more than {}",
        "le": "at most {}",
        "lt": "less than {}",
        "multiple_of": "a multiple of {}",
        "min_length": f"at least {{}} {items} long",
        "max_length": f"at most {{}} {items} long",
        "pattern": "text that matches `{}`",
    }
    parts += [words[name].format(notes[name]) for name in words if name in notes]
    return " and ".join(parts)


def python_type(target: Type, classes: Classes | None = None) -> Any:
    """What msgspec validates a value of the type by."""
    return _python_type(target, classes or {}, ())


def _python_type(target: Type, classes: Classes, within: tuple[str, ...]) -> Any:
    if target.name == "Literal":
        return typing.Literal[target.args]
    args = tuple(_python_type(arg, classes, within) for arg in target.args if isinstance(arg, Type))
    if target.name == UNION:
        return _union_for_msgspec(args)
    if target.name == RECORD:
        return _struct("record", dict(zip(target.keys, args, strict=True)), {}, ())
    if target.name == "Secret":
        return Annotated[str, msgspec.Meta(pattern=SECRET_PATTERN)]
    if target.name in classes:
        return _class(classes[target.name], classes, within)
    found = BUILTIN.get(target.name, Any)
    if args and found in (list, dict, tuple, set):
        found = found[args]
    bounds = {name: value for name, value in target.notes if name in _CONSTRAINTS}
    return Annotated[found, msgspec.Meta(**bounds)] if bounds else found  # type: ignore[arg-type]


def _class(structure: Structure, classes: Classes, within: tuple[str, ...]) -> Any:
    if structure.values:
        return typing.Literal[structure.values]
    if not structure.fields or structure.type in within or len(within) > _MOST_NESTED:
        return Any
    within = (*within, structure.type)
    fields = {name: _python_type(parse(of), classes, within) for name, of in structure.fields.items()}
    if structure.positional:
        return tuple[tuple(fields[name] for name in structure.positional)]  # type: ignore[misc]
    return _struct(structure.type.rpartition(":")[2], fields, structure.defaults, structure.optional)


def _struct(name: str, fields: dict[str, Any], defaults: dict[str, Any], optional: tuple[str, ...]) -> Any:
    """A class with these fields, and no others: a misspelt one is a mistake, not a remark."""
    declared: list[Any] = []
    for i, (field, of) in enumerate(fields.items()):
        attribute = field if field.isidentifier() else f"field_{i}"
        if field in defaults:
            declared.append(
                (
                    attribute,
                    of,
                    msgspec.field(default_factory=functools.partial(_same, defaults[field]), name=field),
                )
            )
        elif field in optional:
            declared.append(
                (
                    attribute,
                    of | msgspec.UnsetType if of is not Any else Any,
                    msgspec.field(default=msgspec.UNSET, name=field),
                )
            )
        else:
            declared.append((attribute, of, msgspec.field(name=field)))
    name = re.sub(r"\W", "_", name)
    return msgspec.defstruct(name, declared, forbid_unknown_fields=True, kw_only=True)


def _same(value: Any) -> Any:
    return value


@functools.lru_cache(maxsize=1024)
def _union_for_msgspec(members: tuple[Any, ...]) -> Any:
    """The union, or `Any` where msgspec could not tell its members apart."""
    if Any in members:
        return Any
    try:
        union = functools.reduce(operator.or_, members)
        msgspec.json.Decoder(union)
    except TypeError:
        return Any
    return union

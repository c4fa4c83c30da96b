"""The argument trees of values: what a call is given, as it is written into a plan."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import numbers
import os
from collections.abc import Callable
from typing import Any

import msgspec

from flowc.futures import Future
from flowc.plan.registry import TypeDefinition, definition_of_class
from flowc.types import HyperparameterSet, Secret

_MAX_DEPTH = 100  # of literals: deeper than any sane argument, shallow enough never to exhaust the stack


class Unwritable(ValueError):
    """A value has no form in a plan."""


def tree_of(value: Any, of_future: Callable[[Future], Any], depth: int = 0) -> Any:
    """The argument tree of a value; `Unwritable` if it has none."""
    if isinstance(value, Future):
        return of_future(value)
    if depth > _MAX_DEPTH:
        raise Unwritable("it is nested too deeply, or contains itself")
    if isinstance(value, enum.Enum):
        value = value.value
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case numbers.Integral():  # numpy's, too
            value = int(value)
            if not -(2**63) <= value < 2**63:
                raise Unwritable("the number does not fit 64 bits")
            return value
        case numbers.Real() if not isinstance(value, numbers.Rational):
            value = float(value)
            if not math.isfinite(value):
                raise Unwritable(f"`{value}` is no JSON number")
            return value
        case list() | tuple():
            return [tree_of(item, of_future, depth + 1) for item in value]
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise Unwritable(f"the key `{key!r}` is not a string")
            return {"map": {_text(key): tree_of(item, of_future, depth + 1) for key, item in value.items()}}
        case datetime.date():
            return value.isoformat()
        case os.PathLike():
            return tree_of(os.fspath(value), of_future)
        case HyperparameterSet():
            return {"map": {name: tree_of(part, of_future, depth + 1) for name, part in vars(value).items()}}
        case Secret():
            return value.reference
        case _:
            definition = definition_of_class(type(value))
            if definition is not None:
                return tree_of(_parts(definition, value), of_future, depth + 1)
            return {
                "map": {name: tree_of(part, of_future, depth + 1) for name, part in _fields(value).items()}
            }


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass or a msgspec Struct; `Unwritable` for any other value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
    elif isinstance(value, msgspec.Struct):
        names = [*value.__struct_fields__]
    else:
        what = f"it is a `{type(value).__qualname__}`"
        raise Unwritable(f"{what}: only JSON-like values, dataclasses and futures can be")
    return {name: getattr(value, name) for name in names}


def _parts(definition: TypeDefinition, value: Any) -> Any:
    """What a value of a team's own type is made of."""
    try:
        return definition.parts(value)
    except ValueError as error:
        raise Unwritable(str(error)) from None


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unwritable("the text is not valid Unicode") from None
    return str.__str__(value)  # without a subclass

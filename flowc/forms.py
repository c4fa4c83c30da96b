"""Which annotations mean values that have no stored form, and have to be pickled."""

from __future__ import annotations

import datetime
import decimal
import enum
import inspect
import pathlib
import typing
import uuid
from typing import Any

from flowc.hints import fields_of, is_array, name_of
from flowc.plan.registry import definition_of_class, form_of_class
from flowc.plan.types import BUILTIN

_PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset),
    *(
        datetime.date,
        datetime.time,
        datetime.timedelta,
        decimal.Decimal,
        uuid.UUID,
        pathlib.PurePath,
        enum.Enum,
    ),
)


def pickled(annotation: Any) -> tuple[str, ...]:
    """The classes in an annotation whose values have no form but a pickle, as a plan names them, sorted."""
    found: set[str] = set()
    seen: set[type] = set()
    todo = [annotation]
    while todo:
        part = todo.pop()
        origin = typing.get_origin(part)
        if origin is not typing.Literal:
            todo += typing.get_args(part)
        cls = origin or part
        if not isinstance(cls, type) or cls in seen:
            continue
        seen.add(cls)
        todo += fields_of(cls).values()
        if not _has_form(cls):
            found.add(name_of(cls))
    return tuple(sorted(found))


def _has_form(cls: type) -> bool:
    if issubclass(cls, _PLAIN) or is_array(cls) or inspect.isabstract(cls):
        return True
    module = cls.__module__.partition(".")[0]
    if module in ("builtins", "typing", "collections", "numpy", "types"):
        return True  # `object` says nothing of what it will be
    return bool(
        fields_of(cls)
        or hasattr(cls, "__dataclass_fields__")
        or hasattr(cls, "__struct_fields__")
        or typing.is_typeddict(cls)
        or getattr(cls, "__flow_type__", "") in BUILTIN
        or getattr(cls, "__flow_record__", False)
        or hasattr(cls, "__flow_parts__")
        or getattr(cls, "_is_protocol", False)
        or form_of_class(cls)
        or definition_of_class(cls)
    )

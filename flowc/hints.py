"""Python annotations as the type expressions of a plan."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import inspect
import sys
import types
import typing
from typing import Annotated, Any, TypeVar

from flowc.plan.model import Structure
from flowc.plan.types import ANY, BUILTIN, NONE, Type, union

_PLAIN: dict[Any, Type] = {
    Any: ANY,
    None: NONE,
    type(None): NONE,
    **{cls: Type(cls.__name__) for cls in (bool, int, float, str, bytes, list, dict, tuple, set)},
    datetime.date: Type("date"),
    datetime.datetime: Type("datetime"),
}
# Abstract containers are read as the concrete one that a stored value comes back as.
_ORIGIN: dict[Any, str] = {
    list: "list",
    collections.abc.Sequence: "list",
    collections.abc.Iterable: "list",
    dict: "dict",
    collections.abc.Mapping: "dict",
    tuple: "tuple",
    set: "set",
    frozenset: "set",
}


class Meaningless(ValueError):
    """The annotation has no meaning in a plan."""


class _ArrayType(type):
    def __instancecheck__(cls, value: object) -> bool:
        numpy = sys.modules.get("numpy")  # not imported: then nothing is an array
        return numpy is not None and isinstance(value, numpy.ndarray)


class Array(metaclass=_ArrayType):
    """A numpy array of any dtype and shape, for annotations that should not import numpy.

    Type checkers see `numpy.ndarray`, and `isinstance` finds those to be instances.
    """


_T = TypeVar("_T")


class _Fixed:
    """Marks an annotation: the value is fixed when the plan is compiled."""


Static = Annotated[_T, _Fixed]
"""`Static[int]`: an input of a workflow that is a plain value while the workflow is traced."""


def is_static(annotation: Any) -> bool:
    """Whether an annotation is `Static[...]`."""
    return typing.get_origin(annotation) is Annotated and _Fixed in typing.get_args(annotation)[1:]


def type_of(annotation: Any) -> Type:
    """The type expression of an annotation; `Meaningless` if there is none."""
    if isinstance(annotation, typing.TypeVar):
        return ANY
    if isinstance(annotation, typing.NewType):
        return type_of(annotation.__supertype__)
    try:
        if annotation in _PLAIN:
            return _PLAIN[annotation]
    except TypeError:  # unhashable: `Literal[[]]` and the like
        raise Meaningless(str(annotation)) from None
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_of(args[0])
    if origin in (typing.Union, types.UnionType):
        return union([type_of(arg) for arg in args])
    if origin is typing.Literal:
        values = tuple(arg.value if isinstance(arg, enum.Enum) else arg for arg in args)
        if not all(value is None or type(value) in (str, int, bool) for value in values):
            raise Meaningless(str(annotation))
        return Type("Literal", values)
    if origin in _ORIGIN:
        name = _ORIGIN[origin]
        if name == "tuple" and len(args) == 2 and args[1] is Ellipsis:
            return Type("list", (type_of(args[0]),))
        return Type(name, tuple(type_of(arg) for arg in args))
    cls = origin or annotation
    if isinstance(cls, type):
        if "<" in cls.__qualname__:  # no worker could find it
            raise Meaningless(f"{cls.__qualname__}, a class inside a function")
        return Type("Array") if is_array(cls) else Type(name_of(cls))
    raise Meaningless(str(annotation))


def is_array(cls: type) -> bool:
    """Whether values of the class are numpy arrays."""
    return cls is Array or (cls.__module__, cls.__qualname__) == ("numpy", "ndarray")


def name_of(cls: type) -> str:
    """The name of a class in a plan: `module:QualName`; the public module's if a private one defines it."""
    module = cls.__module__
    while module.rpartition(".")[2].startswith("_") and "." in module:
        public = module.rpartition(".")[0]
        if getattr(sys.modules.get(public), cls.__qualname__, None) is not cls:
            break
        module = public
    return f"{module}:{cls.__qualname__}"


def fields_of(cls: type) -> dict[str, Any]:
    """The named fields of a dataclass, NamedTuple, TypedDict or msgspec Struct, with their annotations."""
    has_fields = (
        dataclasses.is_dataclass(cls)
        or hasattr(cls, "__struct_fields__")
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        or typing.is_typeddict(cls)
    )
    return hints_of(cls) if has_fields else {}


def hints_of(thing: Any) -> dict[str, Any]:
    """Resolved annotations; one that cannot be resolved (an import for type checkers only) becomes `Any`."""
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except Exception:  # whatever the text of an annotation does when it is evaluated
        owners = reversed(thing.__mro__) if isinstance(thing, type) else (thing,)
        return {
            name: _resolved(hint, owner)
            for owner in owners
            for name, hint in inspect.get_annotations(owner).items()
        }


def _resolved(hint: Any, owner: Any) -> Any:
    """One annotation of a class or a function by itself, so that it does not suffer from another."""
    module = sys.modules.get(getattr(owner, "__module__", ""))
    names = getattr(owner, "__globals__", None) or vars(module or types)
    holder = types.SimpleNamespace(__annotations__={"it": hint})
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["it"]
    except Exception:
        return Any


def structures_of(annotations: list[Any]) -> dict[str, Structure]:
    """The structure of every class in some annotations, and in the fields of those, by name."""
    found: dict[str, Structure] = {}
    todo = list(annotations)
    while todo:
        annotation = todo.pop()
        cls = typing.get_origin(annotation) or annotation
        todo += [
            arg for arg in typing.get_args(annotation) if typing.get_origin(annotation) is not typing.Literal
        ]
        if (
            not isinstance(cls, type)
            or cls.__module__ == "builtins"
            or is_array(cls)
            or name_of(cls) in found
        ):
            continue
        fields = fields_of(cls)
        bases = tuple(name_of(base) for base in cls.__mro__[1:-1] if _is_telling(base))
        if (fields or bases) and ":" in str(_safely(cls)):
            types_of_fields = {name: str(_safely(hint)) for name, hint in fields.items()}
            positional = tuple(fields) if issubclass(cls, tuple) else ()
            found[name_of(cls)] = Structure(name_of(cls), types_of_fields, bases, positional)
            todo += fields.values()
    return found


def _is_telling(base: type) -> bool:
    """Whether a base can be an annotation. The rest differs between versions of Python and of libraries."""
    module = name_of(base).partition(":")[0]
    private = any(part.startswith("_") for part in module.split("."))
    return not private and module not in ("builtins", "typing", "typing_extensions", "msgspec")


def _safely(annotation: Any) -> Type:
    """The type of an annotation; `Any` where it has no meaning: only a parameter's own is complained of."""
    try:
        return type_of(annotation)
    except Meaningless:
        return ANY


assert {t.name for t in _PLAIN.values()} <= BUILTIN.keys()

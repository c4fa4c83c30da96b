"""Python annotations as the type expressions of a plan."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import inspect
import math
import pathlib
import sys
import types
import typing
from typing import Annotated, Any, TypeVar

import msgspec

from flowc.plan.model import Structure
from flowc.plan.types import ANY, BUILTIN, DTYPES, NONE, NOTES, RECORD, UNION, Scalar, Type, is_sound, union

_PLAIN: dict[Any, Type] = {
    Any: ANY,
    None: NONE,
    type(None): NONE,
    **{cls: Type(cls.__name__) for cls in (bool, int, float, str, bytes, list, dict, tuple, set)},
    datetime.date: Type("date"),
    datetime.datetime: Type("datetime"),
    pathlib.Path: Type("Path"),
    pathlib.PurePath: Type("Path"),
}
# A column of Python's own numbers holds the widest.
_COLUMNS = {Type("int"): Type("int64"), Type("float"): Type("float64")}
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


class Shape(msgspec.Struct, frozen=True):
    """What `Tensor[float32, "batch", 4]` adds to `Array`. A dimension is a size, a name, or `...`."""

    dtype: Any
    dims: tuple[Any, ...]


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
        return _variable(annotation)
    if isinstance(annotation, typing.NewType):
        return type_of(annotation.__supertype__)
    try:
        if annotation in _PLAIN:
            return _PLAIN[annotation]
    except TypeError:  # unhashable: `Literal[[]]` and the like
        raise Meaningless(str(annotation)) from None
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _annotated(args[0], args[1:])
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
        return _class(cls, args)
    raise Meaningless(str(annotation))


def _class(cls: type, args: tuple[Any, ...]) -> Type:
    if getattr(cls, "__flow_record__", False):
        columns = {name: column_type(hint) for name, hint in hints_of(cls).items()}
        return Type(RECORD, tuple(columns.values()), tuple(columns))
    if "<" in cls.__qualname__:  # no worker could find it
        raise Meaningless(f"{cls.__qualname__}, a class inside a function")
    if is_array(cls):
        return Type("Array")
    if cls.__module__ == "numpy" and cls.__name__ in DTYPES:
        return Type(cls.__name__)
    return Type(name_of(cls), tuple(type_of(arg) for arg in args) if _parameters_of(cls) else ())


def _parameters_of(cls: type) -> tuple[Any, ...]:
    """The type variables of a generic class of an author's: those of Python's own are special."""
    return getattr(cls, "__parameters__", ()) if typing.Generic in cls.__mro__ else ()


def _variable(variable: Any) -> Type:
    """A type variable, with the bound or the union of the constraints that it is declared with."""
    limits = variable.__constraints__ or ([variable.__bound__] if variable.__bound__ is not None else [])
    bound = union([_safely(limit) for limit in limits]) if limits else ANY
    # Any schema is a record with at least no columns: that need not be said.
    return Type(f"'{variable.__name__}", () if bound in (ANY, Type(RECORD)) else (bound,))


def _annotated(base: Any, metadata: tuple[Any, ...]) -> Type:
    """A type with the bounds and remarks of `Annotated`; what others put there is left alone."""
    of = type_of(base)
    for remark in metadata:
        if isinstance(remark, Shape):
            of = Type("Tensor", (column_type(remark.dtype), *map(_dimension, remark.dims)))
        elif isinstance(remark, msgspec.Meta):
            for name, value in _notes(remark).items():
                of = _noted(of, name, value)
    return of


def _notes(meta: msgspec.Meta) -> dict[str, Scalar]:
    stated = {name: getattr(meta, name, None) for name in NOTES} | (meta.extra or {})
    return {name: value for name, value in stated.items() if name in NOTES and value is not None}


def _noted(of: Type, name: str, value: Scalar) -> Type:
    """The type with a note; of a union the first member that takes it has it."""
    if of.name == UNION:
        members = [arg for arg in of.args if isinstance(arg, Type)]
        fitting = next((m for m in members if m.name in (NOTES[name] or (m.name,))), None)
        if fitting is not None:
            return union([_noted(m, name, value) if m is fitting else m for m in members])
    elif is_sound(name, value) and (not NOTES[name] or of.name in NOTES[name]):
        notes = {key: old for key, old in of.notes if key != _REPLACES.get(name)} | {name: value}
        return msgspec.structs.replace(of, notes=tuple(sorted(notes.items())))
    raise Meaningless(f"`{of.short()}` with `{name}={value}`")


# A number has one lower bound and one upper bound: the one that was noted last.
_REPLACES = {"ge": "gt", "gt": "ge", "le": "lt", "lt": "le"}


def _dimension(dim: Any) -> Type | int:
    match dim:
        case bool():
            pass
        case int():
            return dim
        case str() if dim.isidentifier():
            return Type(f"'{dim}")
        case typing.TypeVar():
            return Type(f"'{dim.__name__}")
        case types.EllipsisType():
            return Type("...")
    raise Meaningless(f"the dimension `{dim!r}`")


def column_type(dtype: Any) -> Type:
    """The type of a column or of a tensor's elements: of an annotation, or of a dtype's name."""
    found = Type(dtype) if isinstance(dtype, str) and dtype in BUILTIN else type_of(dtype)
    return _COLUMNS.get(found, found)


def is_array(cls: type) -> bool:
    """Whether values of the class are numpy arrays."""
    return cls is Array or (cls.__module__, cls.__qualname__) == ("numpy", "ndarray")


def name_of(cls: type) -> str:
    """The name of a class in a plan: `module:QualName`; the public module's if a private one defines it.

    The types of `flowc.types` have short names of their own.
    """
    known: str | None = vars(cls).get("__flow_type__")
    if known is not None:
        return known
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
        if ":" in _safely(cls).name:
            fields = fields_of(cls)
            structure = _structure(cls, fields)
            if structure != Structure(structure.type):
                found[structure.type] = structure
                todo += fields.values()
    return found


def _structure(cls: type, fields: dict[str, Any]) -> Structure:
    defaults, optional = _defaults_of(cls, fields)
    variables = [v for v in _parameters_of(cls) if isinstance(v, typing.TypeVar)]
    return Structure(
        name_of(cls),
        {name: str(_safely(hint)) for name, hint in fields.items()},
        tuple(name_of(base) for base in cls.__mro__[1:-1] if _is_telling(base)),
        tuple(fields) if issubclass(cls, tuple) else (),
        tuple(("-" if v.__contravariant__ else "") + v.__name__ for v in variables)
        if fields or any(v.__contravariant__ for v in variables)
        else (),
        _values_of(cls),
        defaults,
        optional,
    )


def _values_of(cls: type) -> tuple[str | int | bool | None, ...]:
    """The values of an enumeration, if all of them can be written."""
    values = tuple(member.value for member in cls) if issubclass(cls, enum.Enum) else ()
    return values if all(value is None or type(value) in (str, int, bool) for value in values) else ()


def _defaults_of(cls: type, fields: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The defaults of fields that can be written down, and the other fields that may be left out."""
    stated: dict[str, Any] = {}
    if dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            if not field.init or field.default is not dataclasses.MISSING:
                stated[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                # Only of those is it sure that they always make the same.
                stated[field.name] = field.default_factory() if field.default_factory in (list, dict) else ...
    elif hasattr(cls, "__struct_fields__"):
        for info in msgspec.structs.fields(cls):
            if not info.required:
                made = info.default_factory() if info.default_factory in (list, dict) else ...
                stated[info.name] = made if info.default is msgspec.NODEFAULT else info.default
    elif typing.is_typeddict(cls):
        stated = dict.fromkeys(sorted(getattr(cls, "__optional_keys__", ())), ...)
    written, optional = {}, []
    for name in fields.keys() & stated.keys():
        try:
            written[name] = _written(stated[name])
        except (TypeError, ValueError):
            optional.append(name)
    return written, tuple(sorted(optional))


def _written(value: Any) -> Any:
    plain = msgspec.to_builtins(value, order="deterministic")
    if isinstance(plain, float) and not math.isfinite(plain):
        raise ValueError("no JSON number")
    return plain


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

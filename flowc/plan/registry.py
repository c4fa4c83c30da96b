"""The registry of types: what each is for, the form component it is chosen with, and how values are stored.

The types of a plan are a table here. A team adds a class of its own in its own package, as an entry point of
the group `flow.types` that names a `TypeDefinition`:

    [project.entry-points."flow.types"]
    point = "geo.types:POINT"

Entry points are looked at only when a class turns up that nothing else is known of, or all types are listed:
finding them costs milliseconds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.types import DTYPES, UNION, Classes, Type

GROUP = "flow.types"


class TypeDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A type: for people, for forms, and for a team's own class for the artifact store.

    `encode` makes plain parts of a value (numbers, text, bytes, lists, dicts, numpy arrays), and `decode` the
    value of them; both are needed for classes that are no dataclasses or the like. `validate` raises
    `ValueError`, with a sentence for people, for a value that is none of the type. `decode` may, too: it gets
    what a person gave as JSON for a workflow's input.
    """

    about: str
    component: str
    cls: type | None = None
    name: str = ""  # in type expressions; of a class `module:QualName`, which follows from `cls`
    origin: str = "flowc"
    json_schema: Mapping[str, Any] = {}
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None
    validate: Callable[[Any], None] | None = None

    def make(self, parts: Any) -> Any:
        """The value that plain parts stand for; `ValueError` if they stand for none."""
        made = self.decode(parts) if self.decode is not None else parts
        if self.validate is not None and (self.cls is None or isinstance(made, self.cls)):
            self.validate(made)
        return made

    def parts(self, value: Any) -> Any:
        """The plain parts of a value; `ValueError` if it is not sound, or the type has no such form."""
        if self.validate is not None:
            self.validate(value)
        if self.encode is None:
            raise ValueError(f"the type `{self.name}` does not say how it is stored")
        return self.encode(value)


def _built_in(name: str, component: str, about: str, schema: Mapping[str, Any]) -> TypeDefinition:
    return TypeDefinition(name=name, component=component, about=about, json_schema=schema)


_COLUMNS = {
    "type": "object",
    "properties": {"columns": {"type": "object", "additionalProperties": {"type": "array"}}},
}
_TEXT, _OBJECT = {"type": "string"}, {"type": "object"}
# A launch form is made from these: each type has a component that a value is chosen with.
BUILT_IN: dict[str, TypeDefinition] = {
    definition.name: definition
    for definition in (
        _built_in("Any", "json", "anything", {}),
        _built_in("None", "none", "no value", {"type": "null"}),
        _built_in("bool", "checkbox", "true or false", {"type": "boolean"}),
        _built_in("int", "number", "a whole number", {"type": "integer"}),
        _built_in("float", "number", "a number", {"type": "number"}),
        _built_in("str", "text", "text", _TEXT),
        _built_in(
            "bytes", "file", "bytes; as text in base64", {"type": "string", "contentEncoding": "base64"}
        ),
        _built_in("date", "date-picker", "a day, 2024-02-29", {"type": "string", "format": "date"}),
        _built_in("datetime", "datetime-picker", "a moment", {"type": "string", "format": "date-time"}),
        _built_in("list", "list", "values of one type, in order", {"type": "array"}),
        _built_in("set", "list", "values of one type, each once", {"type": "array", "uniqueItems": True}),
        _built_in("tuple", "list", "so many values, each of its type", {"type": "array"}),
        _built_in("dict", "mapping", "values by name", _OBJECT),
        _built_in("Literal", "select", "one of some values; also a class of Python's `enum`", {}),
        _built_in("|", "one-of", "a value of one of several types; `T | None` is optional", {}),
        _built_in("{}", "nested-form", "named values; the columns of a data set", _OBJECT),
        _built_in("Path", "path", "a file or a folder", _TEXT),
        _built_in(
            "Secret", "secret", "where a secret lies, `env:NAME` or `file:PATH`; never its value", _TEXT
        ),
        _built_in("Array", "array", "a numpy array", {"type": "array"}),
        _built_in("Tensor", "array", "a numpy array of a dtype and a shape", {"type": "array"}),
        _built_in("Dataset", "dataset-select", "named columns of as many rows", _COLUMNS),
        _built_in(
            "FeatureSet", "feature-set-select", "columns of features, and the keys they belong to", _COLUMNS
        ),
        _built_in("Model", "model-select", "a trained model with the types that it takes and gives", _OBJECT),
        _built_in("Predictions", "table", "a label for each row, and how sure it is", _OBJECT),
        _built_in(
            "Metrics",
            "metrics",
            "measures of quality by name",
            {"type": "object", "additionalProperties": {"type": "number"}},
        ),
        _built_in("HyperparameterSet", "hyperparameter-form", "settings, each with its range", _OBJECT),
        *(
            _built_in(
                dtype,
                "number",
                "a number, as columns and tensors hold it",
                {"type": "integer" if python is int else "number"},
            )
            for dtype, python in DTYPES.items()
        ),
    )
}


def definition_of(name: str) -> TypeDefinition | None:
    """The definition of a type by its name; a class's from the installed packages."""
    return BUILT_IN.get(name) or (installed().get(name) if ":" in name else None)


def examine(value: Any, of: Type, classes: Classes) -> None:
    """Check a plain value that is to become one of a class that only its definition knows; `ValueError`."""
    members = [arg for arg in of.args if isinstance(arg, Type)]
    if of.name == UNION and value is not None:
        fitting = [m for m in members if m.name != "None"]
        if len(fitting) == 1:
            examine(value, fitting[0], classes)
    elif of.name in ("list", "set") and members:
        for part in value:
            examine(part, members[0], classes)
    elif of.name == "dict" and len(members) == 2:
        for part in value.values():
            examine(part, members[1], classes)
    elif ":" in of.name and not (of.name in classes and (classes[of.name].fields or classes[of.name].values)):
        definition = definition_of(of.name)
        if definition is not None:
            definition.make(value)


# Classes of libraries that have a stored form of their own, by the first part of their module and their name.
_FORMS = {
    ("torch", "Tensor"): "safetensors",
    ("torch", "Parameter"): "safetensors",
    ("pandas", "DataFrame"): "arrow",
    ("pandas", "Series"): "arrow",
    ("polars", "DataFrame"): "arrow",
    ("pyarrow", "Table"): "arrow",
    ("onnx", "ModelProto"): "onnx",
}


def form_of_class(cls: type) -> str:
    """Which stored form the values of a library's class have: a format of files; empty if none is known."""
    names = ((base.__module__.partition(".")[0], base.__qualname__) for base in cls.__mro__)
    return next((_FORMS[name] for name in names if name in _FORMS), "")


def definition_of_class(cls: type) -> TypeDefinition | None:
    """The definition of a class or of its nearest base, from the installed packages."""
    by_class = {definition.cls: definition for definition in installed().values()}
    return next((by_class[base] for base in cls.__mro__ if base in by_class), None)


@functools.cache
def installed() -> dict[str, TypeDefinition]:
    """The types that installed packages add, by name. `Refused` (FC109) if one of them is broken."""
    from importlib.metadata import entry_points

    found: dict[str, TypeDefinition] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        whose = f"the type `{point.name}` of `{point.dist.name if point.dist else point.module}`"
        try:
            definition = point.load()
        except Exception as error:
            refuse("FC109", f"{whose} does not load: {type(error).__name__}: {error}")
        if not isinstance(definition, TypeDefinition) or definition.cls is None:
            refuse("FC109", f"{whose} is no `TypeDefinition` with a class: `{point.value}`")
        name = f"{definition.cls.__module__}:{definition.cls.__qualname__}"
        if name in found:
            refuse("FC109", f"{whose} is defined already, by `{found[name].origin}`")
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.module
        found[name] = msgspec.structs.replace(definition, name=name, origin=origin)
    return found

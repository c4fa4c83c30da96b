"""JSON Schema (draft 2020-12) of a workflow's inputs, with what a launch form needs besides.

Our own annotations: `x-flow-type`, the type expression; `x-flow-component`, the form component that a value
is chosen with; `x-flow-unit`; `x-flow-columns`, the columns of a data set; `x-flow-column-of`, the input that
a name is a column of.
"""

from __future__ import annotations

from typing import Any

from flowc.plan.model import Plan
from flowc.plan.registry import BUILT_IN, TypeDefinition, definition_of
from flowc.plan.types import NONE, RECORD, UNION, Classes, Scalar, Type, columns_of, parse, substitute
from flowc.plan.types.fits import ancestors
from flowc.plan.types.values import SECRET_PATTERN

DRAFT = "https://json-schema.org/draft/2020-12/schema"

# Our bounds as JSON Schema's keywords; those of a length depend on what is long.
_KEYWORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
    "title": "title",
    "description": "description",
    "unit": "x-flow-unit",
    "component": "x-flow-component",
    "column_of": "x-flow-column-of",
    "column_type": "x-flow-column-type",
}
_LENGTHS = {"str": "Length", "bytes": "Length", "dict": "Properties"}


def inputs_schema(plan: Plan) -> dict[str, Any]:
    """The JSON Schema of an object with a plan's inputs."""
    header = plan.header
    schema = Schema({structure.type: structure for structure in plan.structures})
    properties = {}
    for name, declared in header.inputs.items():
        properties[name] = schema.of(parse(declared.type))
        if not declared.required:
            properties[name]["default"] = _written_out(declared.default)
    found: dict[str, Any] = {"$schema": DRAFT, "title": header.name}
    if header.about:
        found["description"] = header.about
    found |= {
        "x-flow-workflow": header.workflow,
        "type": "object",
        "properties": properties,
        "required": [name for name, declared in header.inputs.items() if declared.required],
        "additionalProperties": False,
    }
    return found | ({"$defs": dict(sorted(schema.definitions.items()))} if schema.definitions else {})


class Schema:
    """Types as JSON Schema. The classes that they name are gathered in `definitions`."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.definitions: dict[str, Any] = {}

    def of(self, of: Type) -> dict[str, Any]:
        """The schema of a type."""
        found = self._shape(of)
        for name, value in of.notes:
            found[_keyword(name, of)] = value
        return found

    def _shape(self, of: Type) -> dict[str, Any]:
        args = [arg for arg in of.args if isinstance(arg, Type)]
        if of.name == UNION:
            return self._union(of, args)
        if ":" in of.name:
            return self._class(of)
        found = _annotated(of, BUILT_IN[of.name])
        match of.name:
            case "Literal":
                found["enum"] = list(of.args)
            case "Secret":
                found["pattern"] = SECRET_PATTERN
            case "list" | "set" if args:
                found["items"] = self.of(args[0])
            case "dict" if len(args) == 2:
                found["additionalProperties"] = self.of(args[1])
            case "tuple" if args:
                found |= {
                    "prefixItems": [self.of(arg) for arg in args],
                    "items": False,
                    "minItems": len(args),
                }
            case _ if of.name == RECORD:
                found |= self._object(of.fields, {}, ())
            case "Dataset" | "FeatureSet":
                columns = columns_of(of) or {}
                found |= {"x-flow-columns": {n: str(t) for n, t in columns.items()}} if columns else {}
        return found

    def _union(self, of: Type, members: list[Type]) -> dict[str, Any]:
        """`T | None` has the component of `T`: it is an optional one."""
        others = [member for member in members if member != NONE]
        found = {"anyOf": [self.of(member) for member in members]} | _annotated(of, BUILT_IN[UNION])
        if len(others) == 1:
            inner = found["anyOf"][0]
            found["x-flow-component"] = inner["x-flow-component"]
            found |= {name: inner.pop(name) for name in ("title", "description") if name in inner}
        return found

    def _class(self, of: Type) -> dict[str, Any]:
        key = str(Type(of.name, of.args))
        if key not in self.definitions:
            self.definitions[key] = {}  # a class may have fields of its own type
            self.definitions[key] = self._definition(of)
        inner = self.definitions[key]
        shown = {"x-flow-type": str(of), "x-flow-component": inner.get("x-flow-component", "nested-form")}
        return {"$ref": f"#/$defs/{key.replace('~', '~0').replace('/', '~1')}", **shown}

    def _definition(self, of: Type) -> dict[str, Any]:
        structure = self.classes.get(of.name)
        title = {"title": of.name.rpartition(":")[2]}
        if structure is not None and structure.values:
            return title | _annotated(of, BUILT_IN["Literal"]) | {"enum": list(structure.values)}
        if structure is None or not structure.fields:
            known = definition_of(of.name)
            return title | _annotated(of, known or BUILT_IN["Any"])
        bindings = dict(zip((f"'{p.lstrip('-')}" for p in structure.parameters), of.args, strict=False))
        fields = {name: substitute(parse(text), bindings) for name, text in structure.fields.items()}
        is_settings = "HyperparameterSet" in ancestors(of.name, self.classes)
        known = BUILT_IN["HyperparameterSet" if is_settings else RECORD]
        if structure.positional:
            parts = [self.of(fields[name]) for name in structure.positional]
            return title | _annotated(of, known) | {"type": "array", "prefixItems": parts, "items": False}
        return title | _annotated(of, known) | self._object(fields, structure.defaults, structure.optional)

    def _object(
        self, fields: dict[str, Type], defaults: dict[str, Any], optional: tuple[str, ...]
    ) -> dict[str, Any]:
        properties = {name: self.of(of) for name, of in fields.items()}
        for name, default in defaults.items():
            properties[name]["default"] = default
        required = [name for name in fields if name not in defaults and name not in optional]
        return {"properties": properties, "required": required, "additionalProperties": False}


def _annotated(of: Type, known: TypeDefinition) -> dict[str, Any]:
    return {**known.json_schema, "x-flow-type": str(of), "x-flow-component": known.component}


def _keyword(note: str, of: Type) -> str:
    if note in ("min_length", "max_length"):
        return note[:3] + _LENGTHS.get(of.name, "Items")
    return _KEYWORDS[note]


def _written_out(tree: Any) -> Scalar | list[Any] | dict[str, Any]:
    """The value of a default, in which nothing is referred to."""
    if isinstance(tree, list):
        return [_written_out(part) for part in tree]
    if isinstance(tree, dict):
        return {key: _written_out(part) for key, part in tree["map"].items()}
    return tree  # type: ignore[no-any-return]

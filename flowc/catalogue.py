"""What `flowc types` prints: every type, what it is, its form component and where it comes from."""

from __future__ import annotations

from typing import Any

from flowc.plan.registry import BUILT_IN, TypeDefinition, installed
from flowc.plan.text import columns
from flowc.plan.types import DTYPES, RECORD, UNION

_SPELLED = {
    UNION: "A | B",
    RECORD: "{name: T}",
    "list": "list[T]",
    "set": "set[T]",
    "tuple": "tuple[A, B]",
    "dict": "dict[str, T]",
    "Literal": 'Literal["a", 1]',
    "Tensor": "Tensor[float32, 'n, 4]",
    "Dataset": "Dataset[{name: T}]",
    "FeatureSet": "FeatureSet[{name: T}]",
    "Model": "Model[{name: T}, {name: T}]",
    "Predictions": "Predictions[T]",
}


def table() -> str:
    """The types as lines for people."""
    rows = [("type", "form component", "from", "")]
    rows += [(_SPELLED.get(d.name, d.name), d.component, d.origin, d.about) for d in _listed()]
    dtypes = ", ".join(DTYPES)
    notes = [
        "",
        f"of columns and tensor elements: {dtypes}",
        'bounds on values: int(ge=1, le=100), str(pattern="^a"), list[int](min_length=1)',
        "other classes of yours: dataclasses, NamedTuples, TypedDicts, msgspec Structs, enumerations",
    ]
    return "\n".join([*columns(rows), *notes])


def rows() -> list[dict[str, Any]]:
    """The types as JSON."""
    every = (*BUILT_IN.values(), *installed().values())
    return [
        {
            "name": d.name,
            "about": d.about,
            "component": d.component,
            "from": d.origin,
            "schema": dict(d.json_schema),
        }
        for d in every
    ]


def _listed() -> list[TypeDefinition]:
    built_in = [definition for name, definition in BUILT_IN.items() if name not in DTYPES]
    return [*built_in, *installed().values()]

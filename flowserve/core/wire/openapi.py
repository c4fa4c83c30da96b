"""An OpenAPI 3.1 document of a server's plain routes, from the signatures of its models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from flowserve.core.catalog.version import Version
from flowserve.core.models.model import Model
from flowserve.core.models.signature import TensorSpec

# What comes closer to infinity than this is rounded to it: half a step beyond the largest number.
_FLOAT_END = {
    "FP16": 65520.0,
    "BF16": 2.0**127 * (2 - 2.0**-8),
    "FP32": 2.0**127 * (2 - 2.0**-24),
}
_ERROR = {
    "description": "Refused: the message begins with a code, `flowc explain CODE` says more.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}},
            }
        }
    },
}


def document(versions: Sequence[Version], server_version: str) -> bytes:
    """Describe `POST /predict/NAME` for versions, one of each model, and the health routes, as JSON.

    A model that is not in memory is not loaded for this: its requests are any JSON.
    """
    paths: dict[str, Any] = {
        "/v2/health/live": {"get": _health("live", "Whether the server runs")},
        "/v2/health/ready": {"get": _health("ready", "Whether the server takes requests")},
    }
    for version in versions:
        # Written one by one: a long piece would keep the interpreter from who answers requests meanwhile.
        of = {"get": _page(version.key.name), "post": _operation(version)}
        paths[f"/predict/{quote(version.key.name, safe='')}"] = msgspec.Raw(msgspec.json.encode(of))
    info = {"title": "flowserve", "version": server_version}
    return msgspec.json.encode({"openapi": "3.1.0", "info": info, "paths": paths})


def schema_of(spec: TensorSpec, first: int = 0) -> dict[str, Any]:
    """The JSON Schema of a tensor as nested arrays, from its dimension `first` on."""
    return _nested(spec, spec.shape[first:])


def _taken(spec: TensorSpec, first: int = 0) -> dict[str, Any]:
    """The schema of all that is taken for an input: without the last dimension, too, if it may be 1."""
    whole = schema_of(spec, first)
    if len(spec.shape) < 2 or spec.shape[-1] not in (1, -1):
        return whole
    return {"anyOf": [whole, _nested(spec, spec.shape[first:-1])]}


def _nested(spec: TensorSpec, shape: Sequence[int]) -> dict[str, Any]:
    schema = _element(spec.datatype.name)
    for size in reversed(shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def example_of(spec: TensorSpec, first: int = 0) -> Any:
    """A value that the schema takes: zeros, with one element along dimensions that are free."""
    value: Any = {"BOOL": False, "BYTES": "text"}.get(spec.datatype.name, 0)
    for size in reversed(spec.shape[first:]):
        value = [value] * (min(size, 64) if size >= 0 else 1)
    return value


def takes_rows(model: Model) -> bool:
    """Whether every input has a first dimension, so that rows can be given."""
    return bool(model.signature.inputs) and all(spec.shape for spec in model.signature.inputs)


def _operation(version: Version) -> dict[str, Any]:
    name, model = version.key.name, version.model
    answer = {
        "type": "object",
        "required": ["model", "version"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "string"},
            "predictions": {"type": "array", "items": {"type": "object"}},
            "outputs": {"type": "object"},
        },
    }
    return {
        "operationId": f"predict-{name}",
        "summary": f"Predict with {name}: {model.signature if model else 'loaded when it is asked for'}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _request(model)}}},
        "responses": {
            "200": {"description": "Predictions", "content": {"application/json": {"schema": answer}}},
            "4XX": _ERROR,
            "5XX": _ERROR,
        },
    }


def _page(name: str) -> dict[str, Any]:
    answer = {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        "operationId": f"try-{name}",
        "summary": f"A page to try {name} by hand",
        "responses": {"200": answer, "4XX": _ERROR, "5XX": _ERROR},
    }


def _request(model: Model | None) -> dict[str, Any]:
    if model is None:
        return {}
    inputs = model.signature.inputs
    forms: list[dict[str, Any]] = []
    if takes_rows(model):
        kinds = [_object({spec.name: _taken(spec, 1) for spec in inputs})]
        if len(inputs) == 1:
            kinds.append(_taken(inputs[0], 1))
        rows = [{"type": "array", "items": kind} for kind in kinds]  # all of one kind
        forms = [*(_object({"rows": each}) for each in rows), *rows]
    forms.append(_object({"columns": _object({spec.name: _taken(spec) for spec in inputs})}))
    return {"anyOf": forms}


def _health(name: str, summary: str) -> dict[str, Any]:
    answers = {"200": {"description": "Yes"}} | ({"503": {"description": "No"}} if name == "ready" else {})
    return {"operationId": name, "summary": summary, "responses": answers}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _element(datatype: str) -> dict[str, Any]:
    if datatype in ("BOOL", "BYTES"):
        return {"type": "boolean" if datatype == "BOOL" else "string"}
    if end := _FLOAT_END.get(datatype):
        return {"type": "number", "exclusiveMinimum": -end, "exclusiveMaximum": end}
    if datatype == "FP64":
        return {"type": "number"}
    bits = int(datatype.lstrip("UINT"))
    low, high = (0, 2**bits - 1) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return {"type": "integer", "minimum": low, "maximum": high}

"""An OpenAPI 3.1 document of a server's plain routes, from the signatures of its models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from flowserve.core.models.model import Model
from flowserve.core.models.signature import TensorSpec
from flowserve.core.models.table import Version

_FLOAT_MAX = {
    "FP16": 65504.0,
    "BF16": 3.3895313892515355e38,
    "FP32": 3.4028234663852886e38,
    "FP64": 1.7976931348623157e308,
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


def document(versions: Sequence[Version], server_version: str) -> dict[str, Any]:
    """Describe `POST /predict/NAME` for versions, one of each model, and the health routes.

    A model that is not in memory is not loaded for this: its requests are any JSON.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "flowserve", "version": server_version},
        "paths": {
            "/v2/health/live": {"get": _health("live", "Whether the server runs")},
            "/v2/health/ready": {"get": _health("ready", "Whether the server takes requests")},
            **{
                f"/predict/{quote(version.key.name, safe='')}": {"post": _operation(version)}
                for version in versions
            },
        },
    }


def schema_of(spec: TensorSpec, first: int = 0) -> dict[str, Any]:
    """The JSON Schema of a tensor as nested arrays, from its dimension `first` on."""
    schema = _element(spec.datatype.name)
    for size in reversed(spec.shape[first:]):
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


def _request(model: Model | None) -> dict[str, Any]:
    if model is None:
        return {}
    inputs = model.signature.inputs
    forms: list[dict[str, Any]] = []
    if takes_rows(model):
        kinds = [_object({spec.name: schema_of(spec, 1) for spec in inputs})]
        if len(inputs) == 1:
            kinds.append(schema_of(inputs[0], 1))
        rows = [{"type": "array", "items": kind} for kind in kinds]  # all of one kind
        forms = [*(_object({"rows": each}) for each in rows), *rows]
    forms.append(_object({"columns": _object({spec.name: schema_of(spec) for spec in inputs})}))
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
    if datatype in _FLOAT_MAX:
        return {"type": "number", "minimum": -_FLOAT_MAX[datatype], "maximum": _FLOAT_MAX[datatype]}
    bits = int(datatype.lstrip("UINT"))
    low, high = (0, 2**bits - 1) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return {"type": "integer", "minimum": low, "maximum": high}

"""From a question to its answer: status and body. Pure but for running the model that it is given."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.models.pbtxt import config_json
from flowserve.core.models.registry import Model, Registry
from flowserve.core.models.signature import TensorSpec
from flowserve.core.wire.openapi import document
from flowserve.core.wire.pages import index_page, model_page
from flowserve.core.wire.plain import encode_plain, parse_plain
from flowserve.core.wire.protocol import encode_response, parse_request
from flowserve.core.wire.routes import (
    Description,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    OpenApi,
    Page,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from flowserve.core.wire.shared import Regions, no_regions

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
    "system_shared_memory",
]

_STATUS = {"FS202": 404, "FS208": 413, "FS209": 404, "FS210": 500}
_HTML = "text/html; charset=utf-8"


class Answer(msgspec.Struct, frozen=True):
    """An HTTP response before its head. `header_bytes` is the JSON's length when raw tensors follow it."""

    status: int = 200
    body: bytes = b""
    header_bytes: int | None = None
    encoding: str = ""
    content_type: str = "application/json"


def describe(route: Description, registry: Registry, ready: bool, server_version: str) -> Answer:
    """Answer what only reads what models there are. Raises `Refused` FS202."""
    match route:
        case ServerLive():
            return Answer()
        case ServerReady():
            return Answer(200 if ready else 503)
        case ServerMetadata():
            return _json({"name": "flowserve", "version": server_version, "extensions": EXTENSIONS})
        case ModelReady(name, version):
            registry.get(name, version)
            return Answer(200 if ready else 503)
        case ModelMetadata(name, version):
            return _json(_metadata(registry.get(name, version), registry.versions(name)))
        case ModelConfig(name, version):
            return _json(config_json(name, registry.get(name, version).signature))
        case Page(""):
            return Answer(body=index_page(list(registry)), content_type=_HTML)
        case Page(name, version):
            return Answer(body=model_page(registry.get(name, version)), content_type=_HTML)
        case OpenApi():
            return _json(document(list(registry), server_version))
        case _:
            assert_never(route)


def infer(model: Model, body: bytes, header_bytes: int | None, regions: Regions = no_regions) -> Answer:
    """Answer an inference request. Raises `Refused` FS201 to FS210, FS232."""
    request = parse_request(body, header_bytes, model.signature, regions)
    outputs = model.run(request.feed, [wanted.spec.name for wanted in request.wanted])
    response = encode_response(model.name, model.version, request, outputs)
    if not response.binary:
        return Answer(body=response.header)
    return Answer(body=b"".join((response.header, *response.tensors)), header_bytes=len(response.header))


def predict(model: Model, body: bytes) -> Answer:
    """Answer a request with plain rows or columns. Raises `Refused` FS201, FS210, FS234."""
    request = parse_plain(body, model.signature)
    outputs = model.run(request.feed, [wanted.spec.name for wanted in request.wanted])
    return Answer(body=encode_plain(model, request, outputs))


def refusal(refused: Refused, status: int | None = None) -> Answer:
    """Answer with a refusal: 400 unless its code has a status of its own or one is given."""
    return failure(status or _STATUS.get(refused.diagnostics[0].code, 400), str(refused))


def failure(status: int, message: str) -> Answer:
    """Answer with an error that has no code."""
    return Answer(status, msgspec.json.encode({"error": message}))


def _json(value: Any) -> Answer:
    return Answer(body=msgspec.json.encode(value))


def _metadata(model: Model, versions: list[str]) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": versions,
        "platform": "onnxruntime_onnx",
        "inputs": [_described(spec) for spec in model.signature.inputs],
        "outputs": [_described(spec) for spec in model.signature.outputs],
    }


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.name, "shape": list(spec.shape)}

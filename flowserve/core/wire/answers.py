"""From a question to its answer: status and body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.arrays import Array
from flowserve.core.catalog.table import Table
from flowserve.core.engine.calls import Overloaded
from flowserve.core.models.model import Model
from flowserve.core.models.pbtxt import config_json
from flowserve.core.models.signature import TensorSpec
from flowserve.core.wire.openapi import document
from flowserve.core.wire.pages import index_page, model_page
from flowserve.core.wire.plain import encode_plain
from flowserve.core.wire.protocol import InferRequest
from flowserve.core.wire.responses import encode_response
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
    WrongMethod,
)
from flowserve.core.wire.shared import NoRegion

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
    "system_shared_memory",
]

_STATUS = {
    "FS103": 503,
    "FS109": 503,
    "FS202": 404,
    "FS208": 413,
    "FS209": 404,
    "FS210": 500,
    "FS220": 429,
    "FS221": 503,
    "FS222": 504,
    "FS240": 503,
    "FS252": 401,
    "FS260": 503,
    "FS261": 503,
    "FS262": 503,
    "FS263": 503,
    "FS267": 503,
}
_HTML = "text/html; charset=utf-8"


class Answer(msgspec.Struct, frozen=True):
    """An HTTP response before its head. `header_bytes` is the JSON's length when raw tensors follow it."""

    status: int = 200
    body: bytes = b""
    header_bytes: int | None = None
    encoding: str = ""
    content_type: str = "application/json"
    retry_after_s: int = 0
    """For what is refused though the request is well-formed."""
    allowed: str = ""
    """The methods that a route takes, where it was asked by another."""
    reason: str = ""
    """The code of a refusal, for who counts."""


def describe(route: Description, table: Table, ready: bool, server_version: str) -> Answer:
    """Answer what only reads what models there are.

    Raises `Refused` FS202, and `Cold` for a model that has to be loaded to be described.
    """
    match route:
        case ServerLive():
            return Answer()
        case ServerReady():
            return Answer(200 if ready else 503)
        case ServerMetadata():
            return _json({"name": "flowserve", "version": server_version, "extensions": EXTENSIONS})
        case ModelReady(name, version):
            table.version(name, version)  # one that is loaded when it is asked for is ready to be asked
            return Answer(200 if ready else 503)
        case ModelMetadata(name, version):
            model = table.resolve(name, version)
            # Who asks for a version, or by an alias, is told which one that is.
            asked = [str(model.version)] if version or "@" in name else table.versions(name)
            return _json(_metadata(model, asked))
        case ModelConfig(name, version):
            return _json(config_json(table.resolve(name, version)))
        case Page(""):
            return Answer(body=index_page(list(table)), content_type=_HTML)
        case Page(name, version):
            return Answer(body=model_page(table.resolve(name, version)), content_type=_HTML)
        case OpenApi():
            return Answer(body=document(table.defaults(), server_version))
        case _:
            assert_never(route)


def answer_infer(model: Model, request: InferRequest, outputs: Sequence[Array]) -> Answer:
    """Answer an inference request with what the model gave for it. Raises `Refused` FS232."""
    response = encode_response(model.name, model.version, request, outputs)
    if not response.binary:
        return Answer(body=response.header)
    return Answer(body=b"".join((response.header, *response.tensors)), header_bytes=len(response.header))


def answer_predict(model: Model, request: InferRequest, outputs: Sequence[Array]) -> Answer:
    """Answer a request of plain rows or columns."""
    return Answer(body=encode_plain(model, request, outputs))


def refusal(refused: Refused, status: int | None = None) -> Answer:
    """Answer with a refusal: 400 unless its code has a status of its own or one is given."""
    return Answer(
        status or status_of(refused),
        msgspec.json.encode({"error": str(refused)}),
        retry_after_s=refused.retry_after_s if isinstance(refused, Overloaded) else 0,
        allowed=refused.allowed if isinstance(refused, WrongMethod) else "",
        reason=refused.diagnostics[0].code,
    )


def status_of(refused: Refused) -> int:
    """Return the HTTP status of a refusal: 400 unless its code has one of its own."""
    if isinstance(refused, WrongMethod):
        return 405
    if isinstance(refused, NoRegion):
        return 404
    return _STATUS.get(refused.diagnostics[0].code, 400)


def failure(status: int, message: str) -> Answer:
    """Answer with an error that has no code."""
    return Answer(status, msgspec.json.encode({"error": message}))


def _json(value: Any) -> Answer:
    return Answer(body=msgspec.json.encode(value))


def _metadata(model: Model, versions: list[str]) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": versions,
        "platform": model.platform,
        "inputs": [_described(spec) for spec in model.signature.inputs],
        "outputs": [_described(spec) for spec in model.signature.outputs],
    }


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.name, "shape": list(spec.shape)}

"""Descriptions over gRPC: they are HTTP's own answers, whose JSON has the fields of the messages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.extension_routes import (
    RepositoryIndex,
    RepositoryLoad,
    RepositoryUnload,
    SharedMemoryRegister,
    SharedMemoryStatus,
    SharedMemoryUnregister,
    Statistics,
)
from flowserve.core.wire.grpc.inference import SERVICE, parameters_of
from flowserve.core.wire.routes import (
    ModelConfig,
    ModelMetadata,
    ModelReady,
    Route,
    ServerLive,
    ServerMetadata,
    ServerReady,
)


class Question(msgspec.Struct, frozen=True):
    """What a method asks, in HTTP's terms: a route, and the JSON of its body."""

    method: str
    asked: Any
    """The method's message."""
    route: Route
    body: bytes


class _Description(msgspec.Struct, frozen=True):
    """How a method is answered: the route and body that HTTP would have, and the fields from its answer."""

    route: Callable[[Any], Route]
    fields: Callable[[int, Any], dict[str, Any]] = lambda _, value: dict(value or {})
    """From HTTP's status and JSON to what `ParseDict` makes a message of."""
    body: Callable[[Any], dict[str, Any]] = lambda _: {}


def _load_parameters(asked: Any) -> dict[str, Any]:
    values = parameters_of(asked.parameters)  # HTTP has files as base64
    return {
        "parameters": {
            name: b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in values.items()
        }
    }


_DESCRIPTIONS = {
    "ServerLive": _Description(lambda _: ServerLive(), lambda status, _: {"live": status == 200}),
    "ServerReady": _Description(lambda _: ServerReady(), lambda status, _: {"ready": status == 200}),
    "ModelReady": _Description(
        lambda asked: ModelReady(asked.name, asked.version), lambda status, _: {"ready": status == 200}
    ),
    "ServerMetadata": _Description(lambda _: ServerMetadata()),
    "ModelMetadata": _Description(lambda asked: ModelMetadata(asked.name, asked.version)),
    "ModelConfig": _Description(
        lambda asked: ModelConfig(asked.name, asked.version), lambda _, value: {"config": value}
    ),
    "ModelStatistics": _Description(lambda asked: Statistics(asked.name, asked.version)),
    "RepositoryIndex": _Description(
        lambda _: RepositoryIndex(), lambda _, value: {"models": value}, lambda asked: {"ready": asked.ready}
    ),
    "RepositoryModelLoad": _Description(
        lambda asked: RepositoryLoad(asked.model_name), body=_load_parameters
    ),
    "RepositoryModelUnload": _Description(
        lambda asked: RepositoryUnload(asked.model_name), body=_load_parameters
    ),
    "SystemSharedMemoryStatus": _Description(
        lambda asked: SharedMemoryStatus(False, asked.name),
        lambda _, value: {"regions": {region["name"]: region for region in value}},
    ),
    "SystemSharedMemoryRegister": _Description(
        lambda asked: SharedMemoryRegister(False, asked.name),
        body=lambda asked: {"key": asked.key, "offset": asked.offset, "byte_size": asked.byte_size},
    ),
    "SystemSharedMemoryUnregister": _Description(lambda asked: SharedMemoryUnregister(False, asked.name)),
    "CudaSharedMemoryStatus": _Description(
        lambda asked: SharedMemoryStatus(True, asked.name), lambda *_: {"regions": {}}
    ),
    "CudaSharedMemoryRegister": _Description(lambda asked: SharedMemoryRegister(True, asked.name)),
    "CudaSharedMemoryUnregister": _Description(lambda asked: SharedMemoryUnregister(True, asked.name)),
}

DESCRIBED = frozenset(_DESCRIPTIONS)
"""The methods whose answers are HTTP's."""


def question(method: str, data: bytes) -> Question:
    """Read what a method of `DESCRIBED` asks. Raises `Refused` FS201."""
    description = _DESCRIPTIONS[method]
    try:
        asked = SERVICE.methods[method].request.FromString(data)
    except DecodeError as error:
        refuse("FS201", f"the request is not a {method}Request: {error}")
    return Question(method, asked, description.route(asked), msgspec.json.encode(description.body(asked)))


def said_not_ready(asked: Question) -> bool:
    """Whether a refusal has an answer, as in Triton: a model that does not exist is not ready."""
    return asked.method == "ModelReady"


def method_response(asked: Question, status: int, body: bytes) -> bytes:
    """Write the method's message from HTTP's answer."""
    value = msgspec.json.decode(body) if body else None
    fields = _DESCRIPTIONS[asked.method].fields(status, value)
    message = SERVICE.methods[asked.method].response()
    # What HTTP's JSON has beyond the message, a message of that version of the protocol has no place for.
    return bytes(ParseDict(fields, message, ignore_unknown_fields=True).SerializeToString())

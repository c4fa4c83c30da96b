"""Descriptions over gRPC: HTTP's own answers, whose JSON has the fields of the messages, or nearly."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.extension_routes import (
    LogSetting,
    RepositoryIndex,
    RepositoryLoad,
    RepositoryUnload,
    SharedMemoryRegister,
    SharedMemoryStatus,
    SharedMemoryUnregister,
    Statistics,
    TraceSetting,
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
    _refuse_repository(asked)
    values = parameters_of(asked.parameters)  # HTTP has files as base64
    return {
        "parameters": {
            name: b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in values.items()
        }
    }


def _index_body(asked: Any) -> dict[str, Any]:
    _refuse_repository(asked)
    return {"ready": asked.ready}


def _refuse_repository(asked: Any) -> None:
    if asked.repository_name:
        refuse("FS201", "`repository_name` must be left out: the server has one repository")


def _trace_body(asked: Any) -> dict[str, Any]:
    """No value means the setting's own, which is null in JSON; the level alone has a list of them."""
    given = {name: list(setting.value) for name, setting in asked.settings.items()}
    return {
        name: values[0] if len(values) == 1 and name != "trace_level" else values or None
        for name, values in given.items()
    }


def _trace_fields(_: int, value: dict[str, Any]) -> dict[str, Any]:
    return {"settings": {name: {"value": v if isinstance(v, list) else [v]} for name, v in value.items()}}


_LOG_FIELD = {bool: "bool_param", int: "uint32_param", str: "string_param"}


def _log_fields(_: int, value: dict[str, Any]) -> dict[str, Any]:
    return {"settings": {name: {_LOG_FIELD[type(v)]: v} for name, v in value.items()}}


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
        lambda _: RepositoryIndex(), lambda _, value: {"models": value}, _index_body
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
    "TraceSetting": _Description(
        lambda asked: TraceSetting(bool(asked.settings), asked.model_name), _trace_fields, _trace_body
    ),
    "LogSettings": _Description(
        lambda asked: LogSetting(bool(asked.settings)),
        _log_fields,
        lambda asked: parameters_of(asked.settings, "settings"),
    ),
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

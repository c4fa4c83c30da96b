"""The Open Inference Protocol v2 over gRPC, as values: protobuf messages to what HTTP's JSON is read into,
and answers to messages.

A model is asked through the same `InferRequest` as over HTTP, with the same refusals; paths in them are those
of the protobuf message. Descriptions are HTTP's own answers, whose JSON has the fields of the messages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.models.signature import Signature
from flowserve.core.wire.answers import Answer, refusal
from flowserve.core.wire.classification import best_classes
from flowserve.core.wire.datatypes import DATATYPES, Datatype
from flowserve.core.wire.protocol import (
    AskedOutput,
    AskedRequest,
    AskedTensor,
    InferRequest,
    check_form,
    wanted_outputs,
)
from flowserve.core.wire.routes import (
    ModelConfig,
    ModelMetadata,
    ModelReady,
    RepositoryIndex,
    Route,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from flowserve.core.wire.service import inference_service
from flowserve.core.wire.tensors import Array, from_binary
from flowserve.core.wire.tensors import to_binary as raw_of
from flowserve.core.wording import listed, shown

SERVICE = inference_service()
_InferRequest = SERVICE.messages["ModelInferRequest"]
_InferResponse = SERVICE.messages["ModelInferResponse"]
_StreamResponse = SERVICE.messages["ModelStreamInferResponse"]

# The field of InferTensorContents for a datatype; FP16 has none, and comes in raw_input_contents only.
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Urgency(msgspec.Struct, frozen=True):
    """What a request's parameters say of it: Triton's `priority` and `timeout` (in microseconds there)."""

    priority: int = 0
    timeout_ms: float | None = None


# Inference


def read_infer(data: bytes) -> Any:
    """Decode a `ModelInferRequest`. Raises `Refused` FS201."""
    try:
        return _InferRequest.FromString(data)
    except DecodeError as error:
        refuse("FS201", f"the request is not a ModelInferRequest: {error}")


def parse_infer(message: Any, signature: Signature) -> InferRequest:
    """Read a `ModelInferRequest` for a model of this signature. Raises `Refused` FS201 to FS207."""
    feed = _feed(message, signature)
    asked = AskedRequest(
        [],
        message.id,
        _parameters(message.parameters),
        [AskedOutput(output.name, _parameters(output.parameters)) for output in message.outputs],
    )
    return InferRequest(asked.id, feed, wanted_outputs(asked, signature))


def urgency(message: Any) -> Urgency:
    """Read a request's parameters `priority` and `timeout`. Raises `Refused` FS201."""
    if not message.parameters:
        return Urgency()
    values = _parameters(message.parameters)
    for name in ("priority", "timeout"):
        value = values.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            refuse("FS201", f"`parameters.{name}` must be a whole number of at least 0, got {shown(value)}")
    timeout_us = values.get("timeout", 0)
    return Urgency(values.get("priority", 0), timeout_us / 1000 if timeout_us else None)


def infer_response(name: str, version: int, request: InferRequest, outputs: Sequence[Array]) -> Any:
    """Make the `ModelInferResponse`; `outputs` are in the order of `request.wanted`. Tensors are raw."""
    response = _InferResponse(model_name=name, model_version=str(version), id=request.id)
    for wanted, array in zip(request.wanted, outputs, strict=True):
        datatype = wanted.spec.datatype
        if wanted.classes:
            array, datatype = best_classes(array, wanted.classes, wanted.spec.labels), DATATYPES["BYTES"]
        response.outputs.add(name=wanted.spec.name, datatype=datatype.name, shape=array.shape)
        response.raw_output_contents.append(raw_of(array, datatype))
    return response


def stream_response(response: Any) -> bytes:
    """Write a response of a stream. Each request of a stream has one, which is therefore the final one."""
    response.parameters["triton_final_response"].bool_param = True
    return bytes(_StreamResponse(infer_response=response).SerializeToString())


def stream_failure(message: str, request_id: str) -> bytes:
    """Write a failure of one request of a stream, which goes on."""
    response = _InferResponse(id=request_id) if request_id else None
    return bytes(_StreamResponse(error_message=message, infer_response=response).SerializeToString())


# Descriptions


class _Description(msgspec.Struct, frozen=True):
    """How a method is answered: the route that HTTP would take, and the response's fields from its answer."""

    route: Callable[[Any], Route]
    fields: Callable[[Any, Answer], dict[str, Any]] = lambda _, answer: dict(msgspec.json.decode(answer.body))


def _index(asked: Any, answer: Answer) -> dict[str, Any]:
    models = msgspec.json.decode(answer.body)
    return {"models": [model for model in models if model["state"] == "READY" or not asked.ready]}


_DESCRIPTIONS = {
    "ServerLive": _Description(lambda _: ServerLive(), lambda _, answer: {"live": answer.status == 200}),
    "ServerReady": _Description(lambda _: ServerReady(), lambda _, answer: {"ready": answer.status == 200}),
    "ModelReady": _Description(
        lambda asked: ModelReady(asked.name, asked.version), lambda _, answer: {"ready": answer.status == 200}
    ),
    "ServerMetadata": _Description(lambda _: ServerMetadata()),
    "ModelMetadata": _Description(lambda asked: ModelMetadata(asked.name, asked.version)),
    "ModelConfig": _Description(
        lambda asked: ModelConfig(asked.name, asked.version),
        lambda _, answer: {"config": msgspec.json.decode(answer.body)},
    ),
    "RepositoryIndex": _Description(lambda _: RepositoryIndex(), _index),
}

DESCRIBED = frozenset(_DESCRIPTIONS)
"""The methods that `describe_method` answers."""


def describe_method(name: str, data: bytes, describe: Callable[[Route], Answer]) -> bytes:
    """Answer a method of `DESCRIBED` with what `describe` says over HTTP. Raises `Refused` FS201, FS202.

    Whether a model that does not exist is ready has an answer, as in Triton: it is not.
    """
    method, description = SERVICE.methods[name], _DESCRIPTIONS[name]
    try:
        asked = method.request.FromString(data)
    except DecodeError as error:
        refuse("FS201", f"the request is not a {name}Request: {error}")
    try:
        answer = describe(description.route(asked))
    except Refused:
        if name != "ModelReady":
            raise
        answer = Answer(404)
    fields = description.fields(asked, answer)
    # What HTTP's JSON has beyond the message, a message of that version of the protocol has no place for.
    return bytes(ParseDict(fields, method.response(), ignore_unknown_fields=True).SerializeToString())


def code_of(refused: Refused) -> str:
    """Return the name of gRPC's status code for a refusal."""
    return _CODES.get(refusal(refused).status, "INTERNAL")


# Tensors


def _feed(message: Any, signature: Signature) -> dict[str, Array]:
    specs = {spec.name: spec for spec in signature.inputs}
    feed: dict[str, Array] = {}
    raw, inputs = message.raw_input_contents, message.inputs
    if raw and len(raw) != len(inputs):
        refuse(
            "FS206",
            f"`raw_input_contents` must have an entry for each of the {len(inputs)} inputs, got {len(raw)}",
        )
    for index, given in enumerate(inputs):
        at = f"inputs[{index}]"
        spec = specs.get(given.name)
        if spec is None:
            refuse("FS203", f"`{at}.name` must be one of {listed(list(specs))}, got {shown(given.name)}")
        if spec.name in feed:
            refuse("FS203", f"`{at}.name` gives input `{spec.name}` a second time")
        tensor = AskedTensor(given.name, list(given.shape), given.datatype)
        check_form(tensor, spec, at)
        if given.parameters and "shared_memory_region" in given.parameters:
            refuse("FS201", f"`{at}.parameters.shared_memory_region` is not supported: send the data itself")
        if not raw:
            feed[spec.name] = _from_contents(given.contents, spec.datatype, tensor.shape, f"{at}.contents")
        elif given.HasField("contents"):
            refuse("FS206", f"`{at}` must have either `contents` or raw_input_contents, got both")
        else:
            feed[spec.name] = from_binary(
                raw[index], spec.datatype, tensor.shape, f"raw_input_contents[{index}]"
            )
    missing = [name for name in specs if name not in feed]
    if missing:
        refuse("FS203", f"`inputs` must have {listed(list(specs))}, but {listed(missing)} is missing")
    return feed


def _from_contents(contents: Any, datatype: Datatype, shape: Sequence[int], at: str) -> Array:
    field = _CONTENTS.get(datatype.name)
    if field is None:
        refuse("FS206", f"`{at}` has no place for {datatype.name}: send it in `raw_input_contents`")
    others = [other.name for other, _ in contents.ListFields() if other.name != field]
    if others:
        refuse("FS206", f"`{at}` must have {datatype.name} in `{field}`, got `{others[0]}`")
    values = getattr(contents, field)
    count = math.prod(shape)
    if len(values) != count:
        refuse("FS206", f"`{at}.{field}` must have {count} elements, got {len(values)}")
    if datatype.name == "BYTES":
        return _strings(values, f"{at}.{field}").reshape(tuple(shape))
    try:
        array = np.array(list(values), datatype.numpy)
    except OverflowError:
        bounds = np.iinfo(datatype.numpy)
        index = next(i for i, value in enumerate(values) if not bounds.min <= value <= bounds.max)
        expected = f"from {bounds.min} to {bounds.max} ({datatype.name})"
        refuse("FS206", f"`{at}.{field}[{index}]` must be {expected}, got {values[index]}")
    return array.reshape(tuple(shape))


def _strings(values: Sequence[bytes], at: str) -> Array:
    array = np.empty(len(values), object)
    for index, value in enumerate(values):
        try:
            array[index] = value.decode()
        except UnicodeDecodeError:
            refuse("FS206", f"`{at}[{index}]` must be UTF-8")
    return array


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    if not given:
        return {}
    chosen = {name: (value, value.WhichOneof("parameter_choice")) for name, value in given.items()}
    return {name: getattr(value, choice) for name, (value, choice) in chosen.items() if choice}

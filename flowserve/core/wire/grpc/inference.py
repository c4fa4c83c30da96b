"""Inference over gRPC: protobuf messages to what HTTP's JSON is read into, and outputs to messages.

A model is asked through the same `InferRequest` as over HTTP, with the same refusals; paths in them are those
of the protobuf message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from flowc.plan.diagnostics import refuse
from flowserve.core.arrays import Array
from flowserve.core.datatypes import DATATYPES, Datatype
from flowserve.core.models.signature import Signature
from flowserve.core.wire.classification import best_classes
from flowserve.core.wire.grpc.service import inference_service
from flowserve.core.wire.protocol import (
    Admit,
    AskedOutput,
    AskedRequest,
    AskedTensor,
    InferRequest,
    ask,
    demand_whole,
    fitted,
    input_of,
    slot_of,
)
from flowserve.core.wire.shared import Regions, no_regions
from flowserve.core.wire.tensors import from_binary, to_binary
from flowserve.core.wording import shown

SERVICE = inference_service()
_InferRequest = SERVICE.messages["ModelInferRequest"]
_InferResponse = SERVICE.messages["ModelInferResponse"]
_StreamResponse = SERVICE.messages["ModelStreamInferResponse"]

# Every response of a stream is the final one of its request, whether a client asks for that or not.
_FINAL = "triton_enable_empty_final_response"
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


def read_infer(data: bytes) -> Any:
    """Decode a `ModelInferRequest`. Raises `Refused` FS201."""
    try:
        return _InferRequest.FromString(data)
    except DecodeError as error:
        refuse("FS201", f"the request is not a ModelInferRequest: {error}")


def parse_infer(
    message: Any, signature: Signature, regions: Regions = no_regions, admit: Admit | None = None
) -> InferRequest:
    """Read a `ModelInferRequest` for a model of this signature. Raises `Refused` FS201 to FS207, FS232."""
    parameters = parameters_of(message.parameters)
    if admit is not None:
        ask(admit, message.inputs[0].shape if message.inputs else (), parameters)
    feed = _feed(message, signature, regions)
    outputs = [
        AskedOutput(output.name, parameters_of(output.parameters, f"outputs[{index}].parameters"))
        for index, output in enumerate(message.outputs)
    ]
    return fitted(AskedRequest([], message.id, parameters, outputs), feed, signature, regions, _FINAL)


def infer_response(name: str, version: int, request: InferRequest, outputs: Sequence[Array]) -> Any:
    """Make the `ModelInferResponse`; `outputs` are in the order of `request.wanted`. Tensors are raw.

    Raises `Refused` FS232 for an output that is larger than the shared memory for it.
    """
    response = _InferResponse(model_name=name, model_version=str(version), id=request.id)
    for wanted, array in zip(request.wanted, outputs, strict=True):
        datatype = wanted.spec.datatype
        if wanted.classes:
            array, datatype = best_classes(array, wanted.classes, wanted.spec.labels), DATATYPES["BYTES"]
        output = response.outputs.add(name=wanted.spec.name, datatype=datatype.name, shape=array.shape)
        data = to_binary(array, datatype)
        if wanted.slot is not None:
            for key, value in wanted.slot.put(data, f"output `{wanted.spec.name}`").items():
                setattr(
                    output.parameters[key], "string_param" if key.endswith("region") else "int64_param", value
                )
            data = b""  # clients count: each output has its entry
        response.raw_output_contents.append(data)
    return response


def stream_response(response: Any) -> bytes:
    """Write a response of a stream. Each request of a stream has one, which is therefore the final one."""
    response.parameters["triton_final_response"].bool_param = True
    return bytes(_StreamResponse(infer_response=response).SerializeToString())


def stream_failure(message: str, request_id: str) -> bytes:
    """Write a failure of one request of a stream, which goes on."""
    response = _InferResponse(id=request_id) if request_id else None
    return bytes(_StreamResponse(error_message=message, infer_response=response).SerializeToString())


# Tensors


def _feed(message: Any, signature: Signature, regions: Regions) -> dict[str, Array]:
    specs = {spec.name: spec for spec in signature.inputs}
    feed: dict[str, Array] = {}
    raw, inputs = message.raw_input_contents, message.inputs
    shared = sum("shared_memory_region" in given.parameters for given in inputs if given.parameters)
    taken = 0
    if raw and len(raw) != len(inputs) - shared:
        inputs_with = f"{len(inputs) - shared} inputs outside shared memory"
        refuse(
            "FS206", f"`raw_input_contents` must have an entry for each of the {inputs_with}, got {len(raw)}"
        )
    for index, given in enumerate(inputs):
        at = f"inputs[{index}]"
        tensor = AskedTensor(given.name, list(given.shape), given.datatype)
        spec = input_of(tensor, specs, feed, at)
        if shared and "shared_memory_region" in given.parameters:
            slot = slot_of(parameters_of(given.parameters), f"{at}.parameters", regions)
            size_at = f"{at}.parameters.shared_memory_byte_size"
            data = slot.region.read(slot.offset, slot.size)
            feed[spec.name] = from_binary(data, spec.datatype, tensor.shape, size_at)
        elif not raw:
            feed[spec.name] = _from_contents(given.contents, spec.datatype, tensor.shape, f"{at}.contents")
        elif given.HasField("contents"):
            refuse("FS206", f"`{at}` must have either `contents` or raw_input_contents, got both")
        else:
            raw_at = f"raw_input_contents[{taken}]"
            feed[spec.name] = from_binary(raw[taken], spec.datatype, tensor.shape, raw_at)
            taken += 1
    demand_whole(feed, specs)
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


def parameters_of(given: Mapping[str, Any], at: str = "parameters") -> dict[str, Any]:
    """Return the values of a map whose messages hold one each. Raises `Refused` FS201 where one does not."""
    if not given:
        return {}
    chosen = {name: (value, value.WhichOneof("parameter_choice")) for name, value in given.items()}
    for name, (_, choice) in chosen.items():
        if choice is None:
            refuse("FS201", f"`{at}` must have a value for {shown(name)}")
    return {name: getattr(value, choice) for name, (value, choice) in chosen.items()}

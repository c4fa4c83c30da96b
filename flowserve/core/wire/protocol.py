"""Inference requests of the Open Inference Protocol v2, over HTTP.

Sources: the protocol's `required_api.md`, and Triton's `extension_binary_data.md`,
`extension_classification.md`, `extension_shared_memory.md` and `extension_schedule_policy.md`.
A body is JSON, or a JSON header of `Inference-Header-Content-Length` bytes with raw tensors after it, in the
order of the header's tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from flowc.plan.diagnostics import refuse
from flowserve.core.arrays import Array
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.shared import Regions, Slot, no_regions
from flowserve.core.wire.tensors import from_binary, from_json
from flowserve.core.wording import listed, shown, shown_shape

# Beyond this, numpy cannot even describe a tensor that has no elements because another dimension is 0.
_ELEMENTS_MAX = 2**40
_NUMBER_MAX = 2**64 - 1
_RESERVED = "triton_"

Parameters = dict[str, bool | int | float | str]


class Wanted(msgspec.Struct, frozen=True):
    """An output that is asked for; `classes` > 0 asks for so many best classes instead of the tensor.

    With a `slot` it goes into shared memory, and the response only says so.
    """

    spec: TensorSpec
    binary: bool = False
    classes: int = 0
    slot: Slot | None = None


class InferRequest(msgspec.Struct, frozen=True):
    """A request that fits its model: a tensor for every input, and the outputs to answer with, in order.

    `priority` is 0 for the model's own, else 1 for the highest and more for lower ones; `timeout_us` is 0 for
    none. `parameters` are all that came, those that have a meaning here among them.
    """

    id: str
    feed: dict[str, Array]
    wanted: tuple[Wanted, ...]
    timeout_us: int = 0
    priority: int = 0
    parameters: Mapping[str, bool | int | float | str] = {}


class AskedTensor(msgspec.Struct):
    """An input as a request has it."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class AskedOutput(msgspec.Struct):
    """An output that a request asks for."""

    name: str
    parameters: Parameters = {}


class AskedRequest(msgspec.Struct):
    """A request as it came, whatever the model."""

    inputs: list[AskedTensor]
    id: str = ""
    parameters: Parameters = {}
    outputs: list[AskedOutput] = []


_request_decoder = msgspec.json.Decoder(AskedRequest)


Admit = Callable[[int, int, int], None]
"""Told a request's rows, timeout and priority before its data is read; raises where it would be in vain."""


def parse_request(
    body: bytes,
    header_bytes: int | None,
    signature: Signature,
    admit: Admit | None = None,
    regions: Regions = no_regions,
) -> InferRequest:
    """Read a request for a model of this signature.

    `header_bytes` is the length of the JSON header, None when the whole body is JSON. Raises `Refused` FS201
    for what is not a request, FS203 to FS206 for inputs and FS207 for outputs that the model does not have
    so, FS232 for shared memory that is not in `regions` or too small.
    """
    if header_bytes is not None and not 0 < header_bytes <= len(body):
        refuse(
            "FS201",
            f"`Inference-Header-Content-Length` must be from 1 to the body's {len(body)} bytes, "
            f"got {shown(header_bytes)}",
        )
    view = memoryview(body)
    request = decode_request(body if header_bytes is None else view[:header_bytes])
    if admit is not None:
        ask(admit, request.inputs[0].shape if request.inputs else (), request.parameters)
    binary = view[len(body) if header_bytes is None else header_bytes :]
    feed = _feed(request.inputs, binary, signature, regions)
    return fitted(request, feed, signature, regions)


def ask(admit: Admit, shape: Sequence[int], parameters: Parameters) -> None:
    """Ask for a request whose first input has this shape."""
    timeout_us, priority = number_of(parameters, "timeout"), number_of(parameters, "priority")
    admit(max(0, shape[0]) if shape else 1, timeout_us, priority)


def fitted(
    request: AskedRequest,
    feed: dict[str, Array],
    signature: Signature,
    regions: Regions,
    allowed: str = "",
) -> InferRequest:
    """Return a request whose inputs have been read; `allowed` is a reserved parameter that it may have.

    Raises `Refused` FS201, FS207, FS232.
    """
    wanted, parameters = wanted_outputs(request, signature, regions), request.parameters
    if not parameters:
        return InferRequest(request.id, feed, wanted)
    refuse_reserved(parameters, allowed)
    timeout_us, priority = number_of(parameters, "timeout"), number_of(parameters, "priority")
    return InferRequest(request.id, feed, wanted, timeout_us, priority, parameters)


def decode_request(header: bytes | memoryview) -> AskedRequest:
    """Read a request's JSON, whatever the model. Raises `Refused` FS201."""
    try:
        return _request_decoder.decode(header)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        where = path.rstrip("`").lstrip(".") or "the request"
        refuse(
            "FS201", f"`{where}` is malformed: {reason}" if path else f"the request is malformed: {reason}"
        )
    except (ValueError, RecursionError) as error:
        refuse("FS201", f"the request is not JSON: {error}")


def _feed(
    tensors: list[AskedTensor], binary: memoryview, signature: Signature, regions: Regions
) -> dict[str, Array]:
    specs = {spec.name: spec for spec in signature.inputs}
    feed: dict[str, Array] = {}
    start = 0
    for index, tensor in enumerate(tensors):
        at = f"inputs[{index}]"
        spec = input_of(tensor, specs, feed, at)
        if "shared_memory_region" in tensor.parameters:
            if tensor.data is not msgspec.UNSET or "binary_data_size" in tensor.parameters:
                refuse("FS206", f"`{at}` must have its data in one place: here, or in shared memory")
            slot = slot_of(tensor.parameters, f"{at}.parameters", regions)
            shared = slot.region.read(slot.offset, slot.size)
            size_at = f"{at}.parameters.shared_memory_byte_size"
            feed[spec.name] = from_binary(shared, spec.datatype, tensor.shape, size_at)
            continue
        size = _binary_size(tensor, len(binary) - start, at)
        if size is None:
            assert isinstance(tensor.data, msgspec.Raw), "_binary_size refuses a tensor without data"
            feed[spec.name] = from_json(tensor.data, spec.datatype, tensor.shape, f"{at}.data")
        else:
            piece = binary[start : start + size]
            feed[spec.name] = from_binary(
                piece, spec.datatype, tensor.shape, f"{at}.parameters.binary_data_size"
            )
            start += size
    demand_whole(feed, specs)
    if start != len(binary):
        refuse("FS206", f"the body must end after its tensors, but has {len(binary) - start} bytes more")
    return feed


def input_of(
    tensor: AskedTensor, specs: Mapping[str, TensorSpec], feed: Mapping[str, Array], at: str
) -> TensorSpec:
    """Return the input that a tensor is for, one that is not in `feed` yet.

    Raises `Refused`: FS203 where there is none, FS204, FS205 for a datatype or shape that it does not take.
    """
    spec = specs.get(tensor.name)
    if spec is None:
        refuse("FS203", f"`{at}.name` must be one of {listed(list(specs))}, got {shown(tensor.name)}")
    if spec.name in feed:
        refuse("FS203", f"`{at}.name` gives input `{spec.name}` a second time")
    if tensor.datatype != spec.datatype.name:
        expected = f"`{spec.datatype.name}` for input `{spec.name}`"
        refuse("FS204", f"`{at}.datatype` must be {expected}, got {shown(tensor.datatype)}")
    if not spec.accepts(tensor.shape):
        rule = ", with sizes from 0 for -1" if min(tensor.shape, default=0) < 0 else ""
        expected = f"{list(spec.shape)} for input `{spec.name}`{rule}"
        refuse("FS205", f"`{at}.shape` must be {expected}, got {shown_shape(tensor.shape)}")
    if math.prod(size or 1 for size in tensor.shape) > _ELEMENTS_MAX:
        refuse("FS205", f"`{at}.shape` must be of at most 2^40 elements, got {shown_shape(tensor.shape)}")
    return spec


def demand_whole(feed: Mapping[str, Array], specs: Mapping[str, TensorSpec]) -> None:
    """Refuse (FS203) a request that lacks an input."""
    missing = [name for name in specs if name not in feed]
    if missing:
        refuse("FS203", f"`inputs` must have {listed(list(specs))}, but {listed(missing)} is missing")


def _binary_size(tensor: AskedTensor, left: int, at: str) -> int | None:
    """How many bytes after the header are this tensor's; None when its data is in the header."""
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if tensor.data is msgspec.UNSET:
            refuse("FS206", f"`{at}` must have `data`, or `binary_data_size` among its parameters")
        return None
    where = f"{at}.parameters.binary_data_size"
    if tensor.data is not msgspec.UNSET:
        refuse("FS206", f"`{at}` must have either `data` or `binary_data_size`, got both")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        refuse("FS201", f"`{where}` must be a number of bytes, got {shown(size)}")
    if size > left:
        refuse("FS206", f"`{where}` must be at most the {left} bytes left in the body, got {shown(size)}")
    return size


def wanted_outputs(request: AskedRequest, signature: Signature, regions: Regions) -> tuple[Wanted, ...]:
    """Return the outputs that are asked for, all where none is named. Raises `Refused` FS201, FS207."""
    binary = _flag(request.parameters, "binary_data_output", False, "parameters")
    if not request.outputs:
        return tuple(Wanted(spec, binary) for spec in signature.outputs)
    specs = {spec.name: spec for spec in signature.outputs}
    chosen: dict[str, Wanted] = {}
    for index, output in enumerate(request.outputs):
        at = f"outputs[{index}]"
        spec = specs.get(output.name)
        if spec is None:
            refuse("FS207", f"`{at}.name` must be one of {listed(list(specs))}, got {shown(output.name)}")
        if spec.name in chosen:
            continue  # as in Triton, which answers once, in the form asked for first
        in_binary = _flag(output.parameters, "binary_data", binary, f"{at}.parameters")
        slot = None
        if "shared_memory_region" in output.parameters:
            slot = slot_of(output.parameters, f"{at}.parameters", regions)
        chosen[spec.name] = Wanted(spec, in_binary, _classes(output.parameters, spec, at), slot)
    return tuple(chosen.values())


def slot_of(parameters: Parameters, at: str, regions: Regions) -> Slot:
    """Return where in shared memory a tensor stands. Raises `Refused` FS201, FS232."""
    name = parameters["shared_memory_region"]
    if not isinstance(name, str):
        refuse("FS201", f"`{at}.shared_memory_region` must be a string, got {shown(name)}")
    if "shared_memory_byte_size" not in parameters:
        refuse("FS201", f"`{at}.shared_memory_byte_size` must say how many bytes there are")
    offset, size = (number_of(parameters, f"shared_memory_{what}", at) for what in ("offset", "byte_size"))
    return Slot(name, regions(name), offset, size)


def number_of(parameters: Parameters, name: str, at: str = "parameters") -> int:
    """Return a parameter that is a whole number from 0, which it also is where there is none."""
    value = parameters.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _NUMBER_MAX:
        refuse("FS201", f"`{at}.{name}` must be a whole number from 0, got {shown(value)}")
    return value


def refuse_reserved(parameters: Parameters, allowed: str = "") -> None:
    """Refuse (FS201) names that Triton keeps for itself, but for one."""
    for name in parameters:
        if name.startswith(_RESERVED) and name != allowed:
            refuse("FS201", f"`parameters` must not have {shown(name)}: `{_RESERVED}` begins reserved names")


def _flag(parameters: Parameters, name: str, default: bool, at: str) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        refuse("FS201", f"`{at}.{name}` must be true or false, got {shown(value)}")
    return value


def _classes(parameters: Parameters, spec: TensorSpec, at: str) -> int:
    count = parameters.get("classification", 0)
    where = f"{at}.parameters.classification"
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        refuse("FS201", f"`{where}` must be a number of classes, got {shown(count)}")
    if count and spec.datatype.name in ("BOOL", "BYTES"):
        refuse("FS201", f"`{where}` needs numbers to rank, but output `{spec.name}` is {spec.datatype.name}")
    return count

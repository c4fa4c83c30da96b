"""gRPC messages and the values that they are read into. Messages are written by NVIDIA's generated code."""

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as theirs

from flowc.plan.diagnostics import Refused
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.grpc.inference import (
    infer_response,
    parse_infer,
    read_infer,
    stream_failure,
    stream_response,
)


def signature(*names: str, labels=()) -> Signature:
    specs = tuple(TensorSpec(name.lower(), DATATYPES[name], (-1,)) for name in names)
    return Signature(
        specs, tuple(TensorSpec(f"{s.name}_out", s.datatype, s.shape, (), labels) for s in specs)
    )


def request(**tensors) -> theirs.ModelInferRequest:
    """A request with inputs by datatype: bytes for raw contents, (field, values) for typed ones."""
    message = theirs.ModelInferRequest(model_name="m", id="7")
    for name, (count, given) in tensors.items():
        tensor = message.inputs.add(name=name.lower(), datatype=name, shape=[count])
        if isinstance(given, bytes):
            message.raw_input_contents.append(given)
        elif given is not None:
            getattr(tensor.contents, given[0]).extend(given[1])
    return message


def parsed(message, of: Signature):
    return parse_infer(read_infer(message.SerializeToString()), of)


def refused(message, of: Signature) -> str:
    with pytest.raises(Refused) as caught:
        parsed(message, of)
    return str(caught.value)


TYPED = {
    "BOOL": ("bool_contents", [True, False]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-(2**15), 2**15 - 1]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 2**16 - 1]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "FP32": ("fp32_contents", [0.5, -0.25]),
    "FP64": ("fp64_contents", [0.1, 1e308]),
}


@pytest.mark.parametrize("name", TYPED)
def test_typed_and_raw_contents_say_the_same(name):
    field, values = TYPED[name]
    raw = np.array(values, DATATYPES[name].numpy).tobytes()
    for given in ((field, values), raw):
        request_ = parsed(request(**{name: (2, given)}), signature(name))
        array = request_.feed[name.lower()]
        assert array.dtype == np.dtype(DATATYPES[name].numpy)
        assert array.tolist() == values
        assert (request_.id, [w.spec.name for w in request_.wanted]) == ("7", [f"{name.lower()}_out"])


def test_strings():
    for given in (("bytes_contents", ["ö".encode(), b""]), b"\2\0\0\0\xc3\xb6\0\0\0\0"):
        feed = parsed(request(BYTES=(2, given)), signature("BYTES")).feed
        assert feed["bytes"].tolist() == ["ö", ""]


def test_no_elements():
    for given in (None, b""):
        assert parsed(request(FP32=(0, given)), signature("FP32")).feed["fp32"].shape == (0,)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"FP64": (1, b"")}, '[FS203] `inputs[0].name` must be one of `fp32`, `int8`, got "fp64"'),
        ({"FP32": (1, None)}, "[FS206] `inputs[0].contents.fp32_contents` must have 1 elements, got 0"),
        ({"FP32": (1, b"123")}, "[FS206] `raw_input_contents[0]` must have 4 bytes (1 of FP32), got 3"),
        (
            {"FP32": (-1, b"")},
            "[FS205] `inputs[0].shape` must be [-1] for input `fp32`, with sizes from 0 for -1, got [-1]",
        ),
        ({"FP32": (1, b"1234")}, "[FS203] `inputs` must have `fp32`, `int8`, but `int8` is missing"),
        (
            {"FP32": (1, ("fp64_contents", [1]))},
            "[FS206] `inputs[0].contents` must have FP32 in `fp32_contents`, got `fp64_contents`",
        ),
        (
            {"INT8": (2, ("int_contents", [1, 128]))},
            "[FS206] `inputs[0].contents.int_contents[1]` must be from -128 to 127 (INT8), got 128",
        ),
        (
            {"FP32": (1, b"1234"), "INT8": (1, ("int_contents", [1]))},
            "[FS206] `raw_input_contents` must have an entry for each of the 2 inputs "
            "outside shared memory, got 1",
        ),
    ],
)
def test_inputs_that_do_not_fit(tensors, message):
    assert refused(request(**tensors), signature("FP32", "INT8")) == message


def test_other_refusals():
    both = request(FP32=(1, ("fp32_contents", [1])))
    both.raw_input_contents.append(b"1234")
    assert refused(both, signature("FP32")).startswith(
        "[FS206] `inputs[0]` must have either `contents` or raw"
    )
    half = request(FP16=(1, None))
    assert refused(half, signature("FP16")).startswith("[FS206] `inputs[0].contents` has no place for FP16")
    text = request(BYTES=(1, ("bytes_contents", [b"\xff"])))
    assert refused(text, signature("BYTES")) == (
        "[FS206] `inputs[0].contents.bytes_contents[0]` must be UTF-8"
    )
    twice = request(FP32=(0, None))
    twice.inputs.append(twice.inputs[0])
    assert refused(twice, signature("FP32")) == "[FS203] `inputs[1].name` gives input `fp32` a second time"
    with pytest.raises(Refused, match=r"\[FS201\] the request is not a ModelInferRequest"):
        read_infer(b"\x0a\xff")


def test_outputs_that_are_asked_for():
    message = request(FP32=(0, None), INT8=(0, None))
    message.outputs.add(name="int8_out").parameters["classification"].int64_param = 2
    wanted = parsed(message, signature("FP32", "INT8")).wanted
    assert [(w.spec.name, w.classes) for w in wanted] == [("int8_out", 2)]
    message.outputs.add(name="none")
    assert refused(message, signature("FP32", "INT8")).startswith("[FS207] `outputs[1].name` must be one of")


def test_the_response():
    of = signature("FP32", "BYTES", labels=("no", "yes"))
    message = request(FP32=(0, None), BYTES=(0, None))
    message.outputs.add(name="bytes_out")
    message.outputs.add(name="fp32_out").parameters["classification"].int64_param = 1
    outputs = [np.array(["ö"], object), np.array([0.25, 0.75], np.float32)]
    response = infer_response("m", 3, parsed(message, of), outputs)
    back = theirs.ModelInferResponse.FromString(response.SerializeToString())
    assert (back.model_name, back.model_version, back.id) == ("m", "3", "7")
    assert [(o.name, o.datatype, list(o.shape)) for o in back.outputs] == [
        ("bytes_out", "BYTES", [1]),
        ("fp32_out", "BYTES", [1]),
    ]
    assert list(back.raw_output_contents) == [b"\2\0\0\0\xc3\xb6", b"\x0e\0\0\x000.750000:1:yes"]
    streamed = theirs.ModelStreamInferResponse.FromString(stream_response(response))
    assert streamed.infer_response.parameters["triton_final_response"].bool_param
    failed = theirs.ModelStreamInferResponse.FromString(stream_failure("no", "7"))
    assert (failed.error_message, failed.infer_response.id) == ("no", "7")


def test_priority_and_timeout():
    message = request(FP32=(0, None))
    message.parameters["priority"].uint64_param = 2
    message.parameters["timeout"].int64_param = 1500
    request_ = parsed(message, signature("FP32"))
    assert (request_.priority, request_.timeout_us) == (2, 1500)
    message.parameters["timeout"].string_param = "soon"
    assert refused(message, signature("FP32")).startswith(
        "[FS201] `parameters.timeout` must be a whole number"
    )


class Memory:
    """A region, as the host would have it."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data


def test_shared_memory():
    message = request(FP32=(1, None), INT8=(1, b"\5"))
    given = message.inputs[0].parameters
    given["shared_memory_region"].string_param = "in"
    given["shared_memory_byte_size"].int64_param = 4
    given["shared_memory_offset"].int64_param = 4
    wanted = message.outputs.add(name="int8_out").parameters
    wanted["shared_memory_region"].string_param = "out"
    wanted["shared_memory_byte_size"].int64_param = 1
    message.outputs.add(name="fp32_out")
    memory = {"in": Memory(b"1234" + np.float32(0.5).tobytes()), "out": Memory(bytes(2))}
    of = signature("FP32", "INT8")
    request_ = parse_infer(read_infer(message.SerializeToString()), of, memory.__getitem__)
    assert {name: array.tolist() for name, array in request_.feed.items()} == {"fp32": [0.5], "int8": [5]}
    response = infer_response("m", 1, request_, [np.array([7], np.int8), np.array([1], np.float32)])
    assert bytes(memory["out"].data) == b"\7\0"
    assert response.outputs[0].parameters["shared_memory_byte_size"].int64_param == 1
    assert [len(data) for data in response.raw_output_contents] == [0, 4]
    assert "[FS232] there is no shared-memory region `in`" in refused(message, of)


@pytest.mark.parametrize("of", ["request", "output"])
def test_a_parameter_without_a_value(of):
    message = request(FP32=(1, b"1234"))
    at = message if of == "request" else message.outputs.add(name="fp32_out")
    at.parameters["mine"].SetInParent()
    where = "parameters" if of == "request" else "outputs[0].parameters"
    assert refused(message, signature("FP32")) == f'[FS201] `{where}` must have a value for "mine"'


def test_reserved_parameters():
    message = request(FP32=(1, b"1234"))
    message.parameters["triton_enable_empty_final_response"].bool_param = True  # as clients of streams ask
    assert parsed(message, signature("FP32")).feed["fp32"].size == 1
    message.parameters["triton_mine"].int64_param = 1
    assert "[FS201] `parameters` must not have" in refused(message, signature("FP32"))

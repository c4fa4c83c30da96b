"""Requests are read or refused with the field that is wrong; responses are written in JSON or in binary."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.signature import Signature, TensorSpec, axis_conflict
from flowserve.core.wire.classification import best_classes
from flowserve.core.wire.protocol import parse_request
from flowserve.core.wire.responses import encode_response

FP32, INT64, BYTES = DATATYPES["FP32"], DATATYPES["INT64"], DATATYPES["BYTES"]
IRIS = Signature(
    (TensorSpec("x", FP32, (-1, 4)),),
    (TensorSpec("label", INT64, (-1,)), TensorSpec("p", FP32, (-1, 3), labels=("a", "b"))),
)
PAIR = Signature(
    (TensorSpec("age", INT64, (-1,), ("n",)), TensorSpec("city", BYTES, (-1,), ("n",))),
    (TensorSpec("y", BYTES, (-1,)),),
)
X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}


def parse(request, signature=IRIS, binary=b"", header_bytes=None):
    head = request if isinstance(request, bytes) else json.dumps(request).encode()
    return parse_request(head + binary, len(head) if binary else header_bytes, signature)


def refusal(request, signature=IRIS, binary=b"", header_bytes=None) -> str:
    with pytest.raises(Refused) as caught:
        parse(request, signature, binary, header_bytes)
    return str(caught.value)


def answer(request, outputs):
    response = encode_response("iris", 3, request, outputs)
    return json.loads(response.header), b"".join(response.tensors)


def test_json_in_json_out():
    request = parse({"id": "7", "inputs": [X]})
    assert request.feed["x"].tolist() == [[1, 2, 3, 4]]
    body, binary = answer(request, [np.array([2]), np.array([[0.5, 0.25, 0.25]], np.float32)])
    assert body == {
        "model_name": "iris",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [1], "data": [2]},
            {"name": "p", "datatype": "FP32", "shape": [1, 3], "data": [0.5, 0.25, 0.25]},
        ],
    }
    assert binary == b""


def test_binary_in_binary_out():
    ages = {"name": "age", "shape": [2], "datatype": "INT64", "parameters": {"binary_data_size": 16}}
    cities = {"name": "city", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 10}}
    raw = np.array([3, 4]).tobytes() + b"\x01\x00\x00\x00a\x01\x00\x00\x00b"
    request = parse({"inputs": [ages, cities], "parameters": {"binary_data_output": True}}, PAIR, raw)
    assert request.feed["age"].tolist() == [3, 4]
    assert request.feed["city"].tolist() == ["a", "b"]
    body, binary = answer(request, [np.array(["é"], object)])
    assert body["outputs"] == [
        {"name": "y", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}
    ]
    assert binary == b"\x02\x00\x00\x00\xc3\xa9"


def test_tensors_without_bytes_make_no_binary_response():
    request = parse({"inputs": [X], "outputs": [{"name": "p"}], "parameters": {"binary_data_output": True}})
    outputs = [np.zeros((0, 3), np.float32)]
    assert answer(request, outputs)[0]["outputs"][0]["parameters"] == {"binary_data_size": 0}
    assert not encode_response("iris", 3, request, outputs).binary


def test_outputs_are_chosen_ordered_and_each_in_its_own_form():
    outputs = [{"name": "p", "parameters": {"binary_data": False}}, {"name": "label"}]
    request = parse({"inputs": [X], "outputs": outputs, "parameters": {"binary_data_output": True}})
    assert [(wanted.spec.name, wanted.binary) for wanted in request.wanted] == [("p", False), ("label", True)]


def test_an_output_asked_for_twice_comes_once():
    outputs = [{"name": "p", "parameters": {"binary_data": True}}, {"name": "p"}]
    wanted = parse({"inputs": [X], "outputs": outputs}).wanted
    assert [(one.spec.name, one.binary) for one in wanted] == [("p", True)]


def test_classification_names_the_best_classes():
    outputs = [{"name": "p", "parameters": {"classification": 2}}]
    body, _ = answer(parse({"inputs": [X], "outputs": outputs}), [np.array([[0.25, 0.5, 0.25]], np.float32)])
    expected = ["0.500000:1:b", "0.250000:0:a"]
    assert body["outputs"] == [{"name": "p", "datatype": "BYTES", "shape": [1, 2], "data": expected}]


def test_classification_ranks_every_row_and_more_than_there_are():
    scores = np.array([[1, 3, 3], [0, -128, 127]], np.int8)
    assert best_classes(scores, 9, ("a", "b")).tolist() == [
        ["3:1:b", "3:2", "1:0:a"],
        ["127:2", "0:0:a", "-128:1:b"],
    ]


def test_classification_of_nan_vectors_and_nothing():
    assert best_classes(np.array([np.nan, 0.5, -np.inf]), 2, ()).tolist() == ["0.500000:1", "nan:0"]
    assert best_classes(np.zeros((0, 3), np.float32), 1, ()).shape == (0, 1)
    assert best_classes(np.zeros((2, 0), np.float32), 1, ()).shape == (2, 0)


def test_nan_becomes_null_in_json():
    request = parse({"inputs": [X], "outputs": [{"name": "p"}]})
    body, _ = answer(request, [np.array([[np.nan, np.inf, 1]], np.float32)])
    assert body["outputs"][0]["data"] == [None, None, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "z"}, '[FS203] `inputs[0].name` must be one of `x`, got "z"'),
        ({"datatype": "FP64"}, '[FS204] `inputs[0].datatype` must be `FP32` for input `x`, got "FP64"'),
        ({"shape": [1, 3]}, "[FS205] `inputs[0].shape` must be [-1, 4] for input `x`, got [1, 3]"),
        ({"shape": [4]}, "got [4]"),
        ({"shape": []}, "got []"),
        (
            {"shape": [-1, 4]},
            "[FS205] `inputs[0].shape` must be [-1, 4] for input `x`, with sizes from 0 for -1, got",
        ),
        ({"shape": [2**62, 4]}, "[FS205] `inputs[0].shape` must be of at most 2^40 elements"),
        ({"shape": [10**4000, 4]}, "got [an integer of more than 38 digits, 4]"),
        ({"shape": [2, 4]}, "[FS206] `inputs[0].data` must be an array of 8, got an array of 4"),
        ({"shape": "1"}, "[FS201] `inputs[0].shape` is malformed: Expected `array`, got `str`"),
        ({"shape": [True, 4]}, "[FS201] `inputs[0].shape[0]` is malformed: Expected `int`, got `bool`"),
        ({"data": [1, 2, 3, "4"]}, "[FS206] `inputs[0].data[3]` must be a number within FP32"),
        ({"parameters": {"binary_data_size": 16}}, "[FS206] `inputs[0]` must have either `data` or"),
        (
            {"parameters": {"shared_memory_region": "r"}},
            "[FS206] `inputs[0]` must have its data in one",
        ),
        ({"parameters": {"a": [1]}}, "[FS201] `inputs[0].parameters[...]` is malformed: Expected"),
    ],
)
def test_a_wrong_input_is_named(change, message):
    assert message in refusal({"inputs": [X | change]})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "[FS201] the request is malformed: Object missing required field `inputs`"),
        ([], "[FS201] the request is malformed: Expected `object`, got `array`"),
        ({"inputs": []}, "[FS203] `inputs` must have `x`, but `x` is missing"),
        ({"inputs": [X, X]}, "[FS203] `inputs[1].name` gives input `x` a second time"),
        ({"inputs": [X], "id": 7}, "[FS201] `id` is malformed: Expected `str`, got `int`"),
        (
            {"inputs": [X], "outputs": [{"name": "q"}]},
            "[FS207] `outputs[0].name` must be one of `label`, `p`",
        ),
        (
            {"inputs": [X], "parameters": {"triton_mine": 1}},
            '[FS201] `parameters` must not have "triton_mine": `triton_` begins reserved names',
        ),
        ({"inputs": [X], "parameters": {"binary_data_output": 1}}, "must be true or false, got 1"),
        (
            {"inputs": [X], "outputs": [{"name": "p", "parameters": {"classification": -1}}]},
            "[FS201] `outputs[0].parameters.classification` must be a number of classes, got -1",
        ),
        (b"", "[FS201] the request is not JSON: Input data was truncated"),
        (b'{"inputs": [{"data": [NaN]}]}', "[FS201] the request is not JSON: JSON is malformed"),
        (
            b'{"inputs": [{"data": ' + b"[" * 100_000,
            "[FS201] the request is not JSON: maximum recursion depth",
        ),
        (b'{"id": "\xff"}', "[FS201] the request is not JSON"),
    ],
)
def test_a_wrong_request_is_explained(request_, message):
    assert message in refusal(request_)


def test_ranking_text_is_refused():
    inputs = [
        {"name": "age", "shape": [1], "datatype": "INT64", "data": [1]},
        {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["a"]},
    ]
    outputs = [{"name": "y", "parameters": {"classification": 1}}]
    assert "needs numbers to rank, but output `y` is BYTES" in refusal(
        {"inputs": inputs, "outputs": outputs}, PAIR
    )


@pytest.mark.parametrize(
    ("size", "binary", "message"),
    [
        (-1, b"_", "[FS201] `inputs[0].parameters.binary_data_size` must be a number of bytes, got -1"),
        (16, b"_", "[FS206] `inputs[0].parameters.binary_data_size` must be at most the 1 bytes left"),
        (12, bytes(12), "must have 16 bytes (4 of FP32), got 12"),
        (16, bytes(17), "[FS206] the body must end after its tensors, but has 1 bytes more"),
        (True, bytes(16), "must be a number of bytes, got true"),
    ],
)
def test_binary_sizes_must_be_right(size, binary, message):
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    assert message in refusal({"inputs": [tensor]}, IRIS, binary)


def test_an_input_without_data():
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    assert "[FS206] `inputs[0]` must have `data`, or `binary_data_size`" in refusal({"inputs": [tensor]})


@pytest.mark.parametrize("header_bytes", [0, 10**6])
def test_header_length_outside_of_the_body(header_bytes):
    assert "[FS201] `Inference-Header-Content-Length`" in refusal({"inputs": [X]}, header_bytes=header_bytes)


def test_messages_stay_short_and_printable():
    text = refusal({"inputs": [X | {"name": "\r\n" * 10_000}]})
    assert len(text) < 200
    assert text.isprintable()


def test_named_dimensions_that_disagree():
    assert axis_conflict(PAIR.inputs, [(2,), (2,)]) == ""
    assert (
        axis_conflict(PAIR.inputs, [(2,), (3,)])
        == "`city` must agree with `age` on dimension `n`: 3 is not 2"
    )


STEADY = settings(suppress_health_check=[HealthCheck.too_slow])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*X, "parameters"]), inner),
    max_leaves=8,
)


@STEADY
@given(st.dictionaries(st.sampled_from([*X, "parameters"]), _JSON), st.binary(max_size=20))
def test_whatever_comes_is_read_or_refused(change, binary):
    try:
        request = parse({"inputs": [X | change]}, IRIS, binary)
    except Refused:
        return
    assert request.feed["x"].shape[1:] == (4,)


@STEADY
@given(st.binary(), st.none() | st.integers(-1, 10))
def test_whatever_bytes_come_are_refused(body, header_bytes):
    with pytest.raises(Refused):
        parse_request(body, header_bytes, IRIS)


class Memory:
    """A region that is a bytearray."""

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)

    def read(self, offset, size):
        return bytes(self.content[offset : offset + size])

    def write(self, offset, data):
        self.content[offset : offset + len(data)] = data


def place(region="r", size=16, **more):
    return {"shared_memory_region": region, "shared_memory_byte_size": size, **more}


def parse_shared(parameters, outputs=(), **regions):
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": parameters}
    body = json.dumps({"inputs": [tensor], "outputs": list(outputs)}).encode()

    def named(name):
        if name not in regions:
            refuse("FS232", "no")
        return regions[name]

    return parse_request(body, None, IRIS, regions=named)


def test_tensors_in_shared_memory():
    given, taken = Memory(bytes(4) + np.array([1, 2, 3, 4], "<f4").tobytes()), Memory(bytes(16))
    output = {"name": "p", "parameters": place("out", 12, shared_memory_offset=4)}
    request = parse_shared(place(shared_memory_offset=4), [output], r=given, out=taken)
    assert request.feed["x"].tolist() == [[1, 2, 3, 4]]
    body, binary = answer(request, [np.array([[1, 2, 3]], "<f4")])
    assert (body["outputs"][0]["parameters"], binary) == (place("out", 12, shared_memory_offset=4), b"")
    assert "data" not in body["outputs"][0]
    assert np.frombuffer(taken.content, "<f4").tolist() == [0, 1, 2, 3]
    with pytest.raises(Refused, match=r"FS232.* output `p` needs 24 bytes, but 12 were given to it"):
        answer(request, [np.zeros((2, 3), "<f4")])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (place("none"), "[FS232]"),
        (place(1), "[FS201] `inputs[0].parameters.shared_memory_region` must be a string, got 1"),
        (place(size=-1), "[FS201] `inputs[0].parameters.shared_memory_byte_size` must be a whole number"),
        (place(size=12), "[FS206] `inputs[0].parameters.shared_memory_byte_size` must have 16 bytes"),
        (place(shared_memory_offset=1.5), "shared_memory_offset` must be a whole number from 0, got 1.5"),
        ({"shared_memory_region": "r"}, "shared_memory_byte_size` must say how many"),
    ],
)
def test_shared_memory_that_does_not_fit(parameters, message):
    with pytest.raises(Refused) as caught:
        parse_shared(parameters, r=Memory(bytes(16)))
    assert message in str(caught.value)


def test_parameters_of_a_request():
    sent = {"priority": 2, "timeout": 1500, "sequence_id": "s", "mine": 1.5}
    request = parse({"inputs": [X], "outputs": [{"name": "label"}], "parameters": sent})
    assert (request.priority, request.timeout_us, request.parameters) == (2, 1500, sent)
    assert "`parameters.priority` must be" in refusal({"inputs": [X], "parameters": {"priority": -1}})
    assert "`parameters.timeout` must be" in refusal({"inputs": [X], "parameters": {"timeout": "1"}})

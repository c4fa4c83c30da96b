"""What is remembered of requests changes nothing about how others are read."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowc.plan.diagnostics import Refused
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire import alike
from flowserve.core.wire.alike import Alike
from flowserve.core.wire.protocol import parse_request

FP32, INT64, BYTES = DATATYPES["FP32"], DATATYPES["INT64"], DATATYPES["BYTES"]
SIGNATURES = {
    "FP32": Signature((TensorSpec("x", FP32, (-1, 2)),), (TensorSpec("y", FP32, (-1,)),)),
    "INT64": Signature((TensorSpec("x", INT64, (-1, 2)),), (TensorSpec("y", FP32, (-1,)),)),
    "BYTES": Signature((TensorSpec("x", BYTES, (-1, 2)),), (TensorSpec("y", FP32, (-1,)),)),
}


def read(reader, body, header_bytes=None):
    """What is given or refused, in a form that compares."""
    told = []
    try:
        request = reader(body, header_bytes, admit=lambda *asked: told.append(asked))
    except Refused as refused:
        return str(refused)
    feed = {name: (array.dtype.str, array.shape, array.tolist()) for name, array in request.feed.items()}
    asked = (request.id, request.wanted, request.timeout_us, request.priority, dict(request.parameters))
    return feed, asked, told


def same(signature, bodies):
    reader = Alike(signature)
    for body, header_bytes in bodies:

        def anew(body, header_bytes, admit):
            return parse_request(body, header_bytes, signature, admit)

        assert read(reader.read, body, header_bytes) == read(anew, body, header_bytes)


NUMBERS = st.one_of(
    st.floats(width=32),
    st.floats(allow_nan=False),
    st.integers(),
    st.sampled_from(
        ["1e39", "3.4028235e38", "3.4028236e38", "-0.0", "null", '"1"', "true", "1]", "[1", "1,2"]
    ),
)
DATA = st.lists(NUMBERS.map(str), max_size=5).map(lambda parts: "[" + ",".join(parts) + "]")
ODD = st.sampled_from(
    ["[1,2]", " [ 1 , 2 ] ", "[[1,2]]", "[1,2],[3]", '["a","b"]', '["\\ud800","b"]', "{}", ""]
)
BEFORE = st.sampled_from(
    [
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"KIND","data":',
        '{"inputs": [{"name": "x", "datatype": "KIND", "shape": [1, 2], "data": ',
        '{"id":"7","parameters":{"timeout":9,"data":[1]},"inputs":[{"name":"x","shape":[1,2],"datatype":"KIND","data":',
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"KIND","\\"data":[1],"data":',
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"KIND","data":[1,2],"data":',
        '{"inputs":[{"name":"x","shape":[2,1],"datatype":"KIND","data":',
    ]
)
AFTER = st.sampled_from(
    [
        "}]}",
        "} ] }",
        '}],"id":"9","outputs":[{"name":"y"}]}',
        '}],"parameters":{"priority":2}}',
        "}]}x",
        ',"data":[3,4]}]}',
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SIGNATURES)),
    st.lists(st.tuples(BEFORE, st.one_of(DATA, ODD), AFTER), min_size=2, max_size=8),
)
def test_json_is_read_as_if_nothing_were_remembered(kind, parts):
    bodies = []
    for before, data, after in parts:
        head = before.replace("KIND", kind)
        # Twice with a good one before it, so that what can be remembered is.
        bodies += [
            (f"{head}[1,2]{after}".encode(), None),
            (f"{head}{data}{after}".encode(errors="replace"), None),
        ]
    same(SIGNATURES[kind], bodies)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(SIGNATURES)),
    st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=40)), min_size=2, max_size=8),
)
def test_binary_is_read_as_if_nothing_were_remembered(kind, parts):
    bodies = []
    for size, data in parts:
        tensor = {"name": "x", "shape": [1, 2], "datatype": kind, "parameters": {"binary_data_size": size}}
        header = json.dumps({"inputs": [tensor]}).encode()
        good = b"\x01\x00\x00\x00a" * 2 if kind == "BYTES" else bytes(8 if kind == "FP32" else 16)
        bodies += [
            (header + good, len(header)),
            (header + data, len(header)),
            (header + data, len(header) - 1),
        ]
    same(SIGNATURES[kind], bodies)


def body(data, name="x"):
    tensor = {"name": name, "shape": [1, 2], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def test_what_is_like_another_is_not_read_anew(monkeypatch):
    reader = Alike(SIGNATURES["FP32"])
    reader.read(body([1, 2]))
    monkeypatch.setattr(alike, "parse_request", pytest.fail)
    assert reader.read(body([3.5, -4])).feed["x"].tolist() == [[3.5, -4]]
    assert reader.read(body([0.1, 1e-3])).feed["x"].dtype == np.float32


def test_bytes_that_are_not_as_many_as_their_header_says_are_refused_however_well_they_read():
    tensor = {"name": "x", "shape": [1, 2], "datatype": "BYTES", "parameters": {"binary_data_size": 10}}
    header = json.dumps({"inputs": [tensor]}).encode()
    short, longer = b"\x01\x00\x00\x00a" * 2, b"\x01\x00\x00\x00a" + b"\x02\x00\x00\x00ab"
    same(SIGNATURES["BYTES"], [(header + data, len(header)) for data in (short, longer, short)])


def test_of_a_client_that_never_repeats_itself_little_is_kept():
    reader = Alike(SIGNATURES["FP32"])
    for number in range(1000):
        request = {"id": str(number), **json.loads(body([1, 2]))}
        reader.read(json.dumps(request).encode())
    assert len(reader._json) <= 32
    large = {"id": "x" * 5000, **json.loads(body([1, 2]))}
    reader = Alike(SIGNATURES["FP32"])
    reader.read(json.dumps(large).encode())
    assert not reader._json

"""Plain rows and columns become the very tensors that the protocol would have carried, or are refused."""

import json

import numpy as np
import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.datatypes import DATATYPES
from flowserve.core.wire.plain import encode_plain, parse_plain

FP32, INT64, BYTES = DATATYPES["FP32"], DATATYPES["INT64"], DATATYPES["BYTES"]
IRIS = Signature(
    (TensorSpec("x", FP32, (-1, 2)),),
    (TensorSpec("label", INT64, (-1,)), TensorSpec("p", FP32, (-1, 2), labels=("a", "b"))),
)
PERSON = Signature(
    (TensorSpec("age", INT64, (-1,)), TensorSpec("city", BYTES, (-1, 1))), (TensorSpec("y", FP32, (-1,)),)
)
WHOLE = Signature((TensorSpec("age", INT64, (-1, 1)),), (TensorSpec("y", FP32, (-1,)),))
EMPTY = {"age": (0,), "city": (0, 1)}
SCALAR = Signature((TensorSpec("s", FP32, ()),), (TensorSpec("y", FP32, ()),))


def feed(body, signature):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {name: array.tolist() for name, array in parse_plain(text, signature).feed.items()}


@pytest.mark.parametrize(
    "body",
    [
        [[1, 2], [3, 4]],
        {"rows": [[1, 2], [3, 4]]},
        {"columns": {"x": [[1, 2], [3, 4]]}},
        [{"x": [1, 2]}, {"x": [3, 4]}],
        b" \n[[1,2],\n[3,4]]",
    ],
)
def test_rows_and_columns_of_one_input(body):
    assert feed(body, IRIS) == {"x": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    "body",
    [
        [{"age": 31, "city": "Oslo"}, {"city": "Rome", "age": 5}],
        {"rows": [{"age": 31, "city": ["Oslo"]}, {"age": 5, "city": ["Rome"]}]},
        {"columns": {"age": [31, 5], "city": ["Oslo", "Rome"]}},
    ],
)
def test_a_single_value_fits_an_input_of_one_column(body):
    assert feed(body, PERSON) == {"age": [31, 5], "city": [["Oslo"], ["Rome"]]}


def test_a_number_is_whole_however_it_is_written():
    assert feed(b"[[31.0], [5], [2e3]]", WHOLE) == {"age": [[31], [5], [2000]]}


def test_no_rows_and_no_dimensions():
    assert parse_plain(b"[]", IRIS).feed["x"].shape == (0, 2)
    assert {name: array.shape for name, array in parse_plain(b"[]", PERSON).feed.items()} == EMPTY
    assert feed({"columns": {"s": 3}}, SCALAR) == {"s": 3}


@pytest.mark.parametrize(
    ("body", "signature", "message"),
    [
        ({"rows": [[1, 2, 3]]}, IRIS, "[FS234] input `x` must be of shape [-1, 2], got shape [1, 3]"),
        ([[1, 2], [3]], IRIS, "[FS206] `x[1]` must be an array of 2, got an array of 1"),
        ([[1, 2], [3, "a"]], IRIS, "[FS206] `x[1][1]` must be a number within FP32"),
        ([[1, 1e39]], IRIS, "[FS206] `x[0][1]` must be a number within FP32"),
        ([[1, 2], {"x": [1, 2]}], IRIS, "[FS234]"),
        ({}, IRIS, "[FS234] the request must be `{"),
        ({"rows": [], "more": 1}, IRIS, "[FS234] the request must be `{"),
        ([[31.5]], WHOLE, "[FS206] `age[0][0]` must be a whole number"),
        ({"rows": [], "columns": {}}, IRIS, "[FS234] the request must be `{"),
        (b"7", IRIS, "[FS234]"),
        (b"[[NaN, 1]]", IRIS, "[FS201] the request is not JSON"),
        (b"[" * 100_000, IRIS, "[FS201]"),
        (b'{"columns": {"x": ' + b"[" * 100_000 + b"}}", IRIS, "[FS201]"),
        (b"\xff", IRIS, "[FS201]"),
        ([1, 2], PERSON, "[FS234] each row must be an object with the inputs `age`, `city`"),
        (
            [{"age": 1, "city": "a"}, {"age": 1}],
            PERSON,
            "[FS234] `rows[1]` must have `age`, `city` as the first",
        ),
        ([{"age": 1}], PERSON, "[FS234] the inputs must be `age`, `city`, but `city` is missing"),
        ({"columns": {"age": [1], "city": ["a"], "z": [1]}}, PERSON, "`z` is not one of them"),
        ({"columns": {"s": [1]}}, SCALAR, "[FS234] input `s` must be a single value, got shape [1]"),
    ],
)
def test_what_does_not_fit(body, signature, message):
    with pytest.raises(Refused) as caught:
        feed(body, signature)
    assert message in str(caught.value)


def answer(signature, *outputs):
    model = Model("m", 2, signature, lambda feed, names: [])
    name = signature.inputs[0].name
    body = b'{"columns": {"%b": 1}}' % name.encode() if signature is SCALAR else b"[[1, 2]]"
    return json.loads(encode_plain(model, parse_plain(body, signature), outputs))


def test_predictions_by_row_with_labels():
    assert answer(IRIS, np.array([1, 0]), np.array([[0.25, 0.75], [1, 0]], np.float32)) == {
        "model": "m",
        "version": "2",
        "predictions": [
            {"label": "b", "p": {"a": 0.25, "b": 0.75}},
            {"label": "a", "p": {"a": 1.0, "b": 0.0}},
        ],
    }


def test_outputs_without_rows():
    assert answer(SCALAR, np.array(np.inf, np.float32))["outputs"] == {"y": None}

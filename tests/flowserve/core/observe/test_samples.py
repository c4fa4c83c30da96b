"""Lines of the log of samples."""

import json

import numpy as np

from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.observe.ended import Ended
from flowserve.core.observe.samples import Exchanged, Sample, sample_line, share_of
from flowserve.core.observe.settings import Samples
from flowserve.core.wire.datatypes import DATATYPES
from flowserve.core.wire.protocol import InferRequest, Wanted

X = TensorSpec("x", DATATYPES["FP32"], (-1, 2))
NAME = TensorSpec("name", DATATYPES["BYTES"], (-1,))
Y = TensorSpec("y", DATATYPES["FP32"], (-1,))
MODEL = Model("m", 7, Signature((X, NAME), (Y,)), lambda feed, names: [])


def sampled(rows, settings):
    feed = {
        "x": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2),
        "name": np.array([f"n{row}" for row in range(rows)], object),
    }
    outputs = [np.full(rows, np.nan, np.float32)]
    ended = Ended(1.5, "http", "c", "POST", "/t", 200, 1, 0.5, "id", "m", 7, rows)
    exchanged = Exchanged(MODEL, InferRequest("", feed, (Wanted(Y),)), outputs)
    return json.loads(sample_line(Sample(ended, exchanged), settings))


def test_what_was_brought_and_got():
    line = sampled(2, Samples("f"))
    assert {
        name: line[name] for name in ("format", "time", "model", "version", "request_id", "rows", "ms")
    } == {
        "format": 1,
        "time": "1970-01-01T00:00:01.500Z",
        "model": "m",
        "version": 7,
        "request_id": "id",
        "rows": 2,
        "ms": 0.5,
    }
    assert line["inputs"] == {
        "x": {"datatype": "FP32", "shape": [2, 2], "data": [0, 1, 2, 3]},
        "name": {"datatype": "BYTES", "shape": [2], "data": ["n0", "n1"]},
    }
    assert line["outputs"] == {"y": {"datatype": "FP32", "shape": [2], "data": [None, None]}}


def test_of_many_rows_the_first_are_kept():
    line = sampled(5, Samples("f", rows=2))
    assert line["inputs"]["x"] == {"datatype": "FP32", "shape": [5, 2], "kept": 2, "data": [0, 1, 2, 3]}
    assert line["outputs"]["y"]["kept"] == 2


def test_redacted_inputs_have_no_values():
    for redact in ({"m": ["name"]}, {"*": ["name"]}):
        line = sampled(1, Samples("f", redact=redact))
        assert line["inputs"]["name"] == {"datatype": "BYTES", "shape": [1], "redacted": True}
        assert line["inputs"]["x"]["data"] == [0, 1]
    assert all(of["redacted"] for of in sampled(1, Samples("f", redact={"m": ["*"]}))["inputs"].values())
    assert "n0" in json.dumps(sampled(1, Samples("f", redact={"other": ["name"]})))


def test_shares_by_model():
    settings = Samples("f", share=0.1, shares={"m": 0.0})
    assert (share_of(settings, "m"), share_of(settings, "other")) == (0.0, 0.1)

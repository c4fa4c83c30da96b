"""What is left open of a model is measured when it is loaded."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from flowc.plan.diagnostics import Refused
from flowserve.core.models.key import Key
from flowserve.core.models.settings import ModelSettings
from flowserve.shell.models import loading
from flowserve.shell.models.loading import load_measured
from flowserve.shell.models.repository import publish


def graph(nodes, *, open_rows=True):
    shape = ["n"] if open_rows else [2]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    made = helper.make_graph(nodes, "g", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


NEGATIVE = [helper.make_node("Neg", ["x"], ["y"])]


def loaded(folder, **said):
    return load_measured(folder, Key("m", 1), ModelSettings(**said), budget_ms=50)[0]


def test_threads_are_measured(tmp_path, monkeypatch):
    publish(tmp_path, "m", graph(NEGATIVE))
    took = iter([8.0, 4.4, 4.2])
    monkeypatch.setattr(loading, "time_run", lambda model: next(took))
    monkeypatch.setattr(loading, "_PROCESSORS", 8)
    model = loaded(tmp_path, threads="auto")
    assert model.settings.threads == 2
    assert model.run({"x": np.ones(1, np.float32)}, ["y"])[0].tolist() == [-1.0]
    assert list(took) == []


def test_what_is_short_has_one_thread(tmp_path):
    publish(tmp_path, "m", graph(NEGATIVE))
    assert loaded(tmp_path, threads="auto").settings.threads == 1


def test_batches_that_cannot_be_are_refused_where_they_are_demanded(tmp_path):
    publish(tmp_path, "m", graph(NEGATIVE, open_rows=False))
    assert loaded(tmp_path).settings.batching == "off"
    with pytest.raises(Refused, match=r"FS261.*open first axis"):
        loaded(tmp_path, batching="on")


def test_a_model_that_draws_lots_has_no_cache(tmp_path):
    publish(tmp_path, "m", graph([helper.make_node("RandomNormalLike", ["x"], ["y"])]))
    loaded(tmp_path)
    with pytest.raises(Refused, match="other outputs for the same inputs"):
        loaded(tmp_path, cache_mb=1)

"""Large weights lie beside the model, are mapped where that is wanted, and never come from elsewhere."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flowc.plan.diagnostics import Refused
from flowserve.core.models.key import Key
from flowserve.core.models.settings import ModelSettings, PerModel
from flowserve.shell.models.loading import load_measured
from flowserve.shell.models.proving import load_proven
from flowserve.shell.models.repository import publish, scan
from flowserve.shell.models.weights import Size, is_mapped, parted, size_on_disk

KEY = Key("m", 1)
WIDTH = 2100  # more than 16 MiB of weights
MIB = 2**20


def product(width=WIDTH, location=""):
    """`y = x @ w`, and a small tensor that is needed to read the graph."""
    weights = numpy_helper.from_array(np.full((width, width), 0.5, np.float32), "w")
    if location:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=location)
    shape = numpy_helper.from_array(np.int64([-1, width]), "shape")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Reshape", ["z", "shape"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], [weights, shape])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


# In a process of its own: what another test has freed could be used again, and nothing would grow.
GROWTH = f"""
import re, sys
from pathlib import Path
import numpy as np
from flowserve.core.models.key import Key
from flowserve.core.models.settings import ModelSettings
from flowserve.shell.models.proving import load_proven

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

before = anonymous()
model = load_proven(Path(sys.argv[1]), Key("m", 1), ModelSettings(weights=sys.argv[2]))
assert model.settings.weights == sys.argv[2]
assert model.run({{"x": np.ones((1, {WIDTH}), np.float32)}}, ["y"])[0][0, 0] == {WIDTH} / 2
print(anonymous() - before)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    publish(folder, "m", product())
    return folder


def test_large_weights_are_published_beside_the_model(repository):
    folder = repository / "m" / "1"
    assert sorted(file.name for file in folder.iterdir()) == ["model.onnx", "model.weights"]
    assert (folder / "model.onnx").stat().st_size < 1000
    assert publish(repository, "m", product()).version == 1, "the same bytes add nothing"
    onnx.checker.check_model(str(folder / "model.onnx"))
    assert numpy_helper.to_array(onnx.load(folder / "model.onnx").graph.initializer[0]).sum() == WIDTH**2 / 2
    assert [found.name for found in scan(repository)] == ["m"]


def test_small_weights_stay_in_the_model_and_every_tensor_begins_a_page():
    content = product(10)
    assert parted(content) == {"model.onnx": content}
    files = parted(product(100), least=1000)
    model = onnx.load_model_from_string(files["model.onnx"])
    external = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    assert [tensor.name for tensor in external] == ["w"]
    offsets = {entry.key: entry.value for entry in external[0].external_data}
    assert int(offsets["offset"]) % 4096 == 0
    assert files == parted(product(100), least=1000)


@pytest.mark.parametrize(
    ("weights", "least", "most"), [("mapped", 0, 8 * MIB), ("prepacked", 14 * MIB, 64 * MIB)]
)
def test_mapped_weights_are_no_memory_of_the_process(repository, weights, least, most):
    command = [sys.executable, "-c", GROWTH, repository, weights]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert least <= int(done.stdout) < most


@pytest.mark.parametrize(
    ("said", "mapped"),
    [
        ({}, False),
        ({"tier": 3}, True),
        ({"tier": 1, "weights": "mapped"}, True),
        ({"tier": 4, "weights": "prepacked"}, False),
    ],
)
def test_the_tier_chooses_unless_it_is_said(repository, said, mapped):
    settings = ModelSettings(**said)
    assert is_mapped(repository / "m" / "1", settings) == mapped
    model, _ = load_measured(repository, KEY, settings, budget_ms=1)
    assert model.settings.weights == ("mapped" if mapped else "prepacked")
    own, weights = (
        (repository / "m" / "1" / name).stat().st_size for name in ("model.onnx", "model.weights")
    )
    size = size_on_disk(repository, PerModel({"m": settings}), 2, KEY)
    assert size == (Size(own, weights // 2) if mapped else Size(own + weights))


def test_a_model_without_such_a_file_is_not_mapped(tmp_path):
    publish(tmp_path, "m", product(10))
    assert not is_mapped(tmp_path / "m" / "1", ModelSettings(weights="mapped"))
    assert size_on_disk(tmp_path, PerModel(), 2, Key("none", 1)) == Size(0)


@pytest.mark.parametrize("location", ["../w.bin", "{root}/w.bin", "link.bin", "x/../../w.bin", "gone.bin"])
def test_weights_from_elsewhere_are_refused(tmp_path, location):
    folder = tmp_path / "models" / "m" / "1"
    folder.mkdir(parents=True)
    for outside in (folder.parent, tmp_path):
        np.zeros(100, np.float32).tofile(outside / "w.bin")
    (folder / "link.bin").symlink_to("../w.bin")  # within the repository, which links may be
    (folder / "model.onnx").write_bytes(product(10, location.format(root=tmp_path)))
    with pytest.raises(Refused, match="FS103"):
        load_proven(tmp_path / "models", KEY)

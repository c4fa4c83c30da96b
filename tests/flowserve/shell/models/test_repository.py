"""Publishing and scanning a model repository, with crashes and with publishers at the same time."""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flowc.plan.diagnostics import Refused
from flowserve.shell.models import writing as writing_module
from flowserve.shell.models.repository import Published, publish, scan

LABELS = ["setosa", "versicolor", "virginica"]


def classifier(scale: float = 1.0, classes: int | str = 3) -> bytes:
    """`p = scale * x`, of one class for every feature."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["p"])],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", classes])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(np.float32(scale), "scale")],
    )
    return serialised(graph)


def serialised(graph: onnx.GraphProto) -> bytes:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def refusal(call, *arguments) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return str(caught.value)


def visible(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file()}


# Publishing


def test_the_first_version(tmp_path):
    models = tmp_path / "made" / "models"
    assert publish(models, "iris", classifier(), LABELS) == Published("iris", 1, str(models / "iris" / "1"))
    assert visible(models) == {"iris/1/model.onnx", "iris/config.pbtxt", "iris/labels.txt"}
    assert (models / "iris/1/model.onnx").read_bytes() == classifier()
    assert (models / "iris/labels.txt").read_text() == "setosa\nversicolor\nvirginica\n"


def test_versions_count_up_from_the_highest(tmp_path):
    publish(tmp_path, "iris", classifier(1))
    (tmp_path / "iris/1").rename(tmp_path / "iris/9")
    assert publish(tmp_path, "iris", classifier(2)).version == 10


def test_the_same_bytes_again_write_nothing(tmp_path):
    publish(tmp_path, "iris", classifier(), LABELS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert publish(tmp_path, "iris", classifier(), LABELS).version == 1
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert after == before


def test_only_the_newest_version_counts_as_the_same(tmp_path):
    for scale in (1, 2, 1):
        published = publish(tmp_path, "iris", classifier(scale))
    assert published.version == 3


def test_new_labels_for_the_same_bytes_are_written(tmp_path):
    publish(tmp_path, "iris", classifier())
    assert publish(tmp_path, "iris", classifier(), LABELS).version == 1
    assert scan(tmp_path)[0].labels == {"p": tuple(LABELS)}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a..b", ".hidden", "a b", "a\n", "é", "/abs", "x" * 201]
)
def test_names_that_are_no_folder(tmp_path, name):
    assert "[FS105] a model's name must be of" in refusal(publish, tmp_path / "models", name, classifier())
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("labels", "output", "message"),
    [
        (["a", "b"], None, "output `p` has 3 classes, but there are 2 labels"),
        (["a", "b\nc", "d"], None, "every label must be one line"),
        (["a", "", "d"], None, "every label must be one line"),
        (LABELS, "q", "the probabilities output must be one of `p`, got `q`"),
        ((), "q", "the probabilities output must be one of `p`, got `q`"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, labels, output, message):
    assert message in refusal(publish, tmp_path, "iris", classifier(), labels, output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a model", classifier()[:40]])
def test_bytes_that_are_no_model(tmp_path, content):
    assert "[FS105] the model must be" in refusal(publish, tmp_path, "iris", content)
    assert list(tmp_path.iterdir()) == []


def test_weights_in_another_file(tmp_path):
    model = onnx.load_model_from_string(classifier())
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    message = "the model must hold its weights itself, but `scale` is in another file"
    assert message in refusal(publish, tmp_path, "iris", model.SerializeToString())


def test_outputs_that_are_no_tensors(tmp_path):
    node = helper.make_node("ZipMap", ["x"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    zipped = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    )
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph([node], "zip", [value], [helper.make_value_info("z", zipped)])
    assert "output `z` must be a tensor, but is sequence" in refusal(
        publish, tmp_path, "zip", serialised(graph)
    )


def test_a_repository_that_is_a_file(tmp_path):
    (tmp_path / "models").write_text("")
    assert "[FS105] model `iris` cannot be written" in refusal(
        publish, tmp_path / "models", "iris", classifier()
    )


def test_a_folder_that_links_elsewhere(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models/iris").symlink_to("../elsewhere")
    assert "must not be a link" in refusal(publish, tmp_path / "models", "iris", classifier())


def test_a_crash_before_the_rename_leaves_no_version(tmp_path, monkeypatch):
    publish(tmp_path, "iris", classifier(1), LABELS)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing_module.os, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            publish(tmp_path, "iris", classifier(2), LABELS)
    assert scan(tmp_path)[0].versions == (1,)
    assert publish(tmp_path, "iris", classifier(2), LABELS).version == 2


def test_leftovers_of_a_killed_publisher_are_ignored_and_removed(tmp_path):
    publish(tmp_path, "iris", classifier(1))
    leftover = tmp_path / "iris" / ".publishing-0"
    leftover.mkdir()
    (leftover / "model.onnx").write_bytes(b"half")
    (tmp_path / "iris" / ".publishing-1").write_text("half")
    assert scan(tmp_path)[0].versions == (1,)
    publish(tmp_path, "iris", classifier(2))
    assert not list((tmp_path / "iris").glob(".publishing-*"))


def test_a_first_version_on_its_way_is_not_a_model_yet(tmp_path):
    publish(tmp_path, "iris", classifier())
    (tmp_path / "next" / ".publishing-0").mkdir(parents=True)
    assert [model.name for model in scan(tmp_path)] == ["iris"]


def _publish_many(path: Path, first: int, barrier) -> None:
    barrier.wait()
    for scale in range(first, first + 5):
        publish(path, "iris", classifier(scale), LABELS)


def test_publishers_at_the_same_time(tmp_path):
    forked = multiprocessing.get_context("fork")
    barrier = forked.Barrier(4)
    publishers = [forked.Process(target=_publish_many, args=(tmp_path, n * 10, barrier)) for n in range(4)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join()
    assert [publisher.exitcode for publisher in publishers] == [0] * 4
    [folder] = scan(tmp_path)
    assert folder.versions == tuple(range(1, 21))
    contents = {folder.model_file(version).read_bytes() for version in folder.versions}
    assert contents == {classifier(n * 10 + k) for n in range(4) for k in range(5)}


def test_a_version_is_never_replaced_even_without_locks(tmp_path, monkeypatch):
    publish(tmp_path, "iris", classifier(1))
    monkeypatch.setattr(writing_module, "versions_of", lambda names: [])
    assert "cannot be written" in refusal(publish, tmp_path, "iris", classifier(2))
    assert (tmp_path / "iris/1/model.onnx").read_bytes() == classifier(1)


# What Triton reads


def test_config_fits_tritons_schema(tmp_path):
    """Triton's own schema, taken out of tritonclient without importing it, which would need grpcio."""
    from google.protobuf import text_format

    file = distribution("tritonclient").locate_file("tritonclient/grpc/model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", str(file))
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)

    publish(tmp_path, "iris", mixed_model(), ["yes", "no"], "p")
    config = text_format.Parse((tmp_path / "iris/config.pbtxt").read_text(), schema.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("iris", "onnxruntime", 0)
    described = [
        (tensor.name, schema.DataType.Name(tensor.data_type), list(tensor.dims))
        for tensor in (*config.input, *config.output)
    ]
    assert described == [
        ("city", "TYPE_STRING", [-1]),
        ("half", "TYPE_FP16", [-1, 2]),
        ("text", "TYPE_STRING", [-1]),
        ("p", "TYPE_FP16", [-1, 2]),
        ("size", "TYPE_INT64", [1]),
    ]
    assert [output.label_filename for output in config.output] == ["", "labels.txt", ""]
    assert config.output[2].HasField("reshape")


def mixed_model() -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["city"], ["text"]),
            helper.make_node("Identity", ["half"], ["p"]),
            helper.make_node("Size", ["half"], ["size"]),
        ],
        "mixed",
        [
            helper.make_tensor_value_info("city", TensorProto.STRING, ["n"]),
            helper.make_tensor_value_info("half", TensorProto.FLOAT16, [None, 2]),
        ],
        [
            helper.make_tensor_value_info("text", TensorProto.STRING, ["n"]),
            helper.make_tensor_value_info("p", TensorProto.FLOAT16, [None, 2]),
            helper.make_tensor_value_info("size", TensorProto.INT64, []),
        ],
    )
    return serialised(graph)


def test_labels_need_to_know_their_output(tmp_path):
    graph = onnx.load_model_from_string(mixed_model()).graph
    graph.output[1].name = graph.node[1].output[0] = "scores"
    graph.output.add().CopyFrom(graph.output[1])
    graph.output[-1].name = "again"
    graph.node.append(helper.make_node("Identity", ["half"], ["again"]))
    message = "labels need `probabilities_output`, which must be one of `text`, `scores`, `size`, `again`"
    assert message in refusal(publish, tmp_path, "mixed", serialised(graph), ["yes", "no"])


# Scanning


def test_scan_lists_models_and_numeric_versions(tmp_path):
    for scale in (1, 2):
        publish(tmp_path, "iris", classifier(scale), LABELS)
    publish(tmp_path, "churn", classifier())
    for ignored in ("iris/.hidden", "iris/notes", "iris/01", "iris/0", "iris/-1", ".git/1"):
        (tmp_path / ignored).mkdir(parents=True)
    (tmp_path / "README.md").write_text("")
    assert [(m.name, m.versions) for m in scan(tmp_path)] == [("churn", (1,)), ("iris", (1, 2))]


def test_scan_without_a_repository_or_models(tmp_path):
    assert "[FS101]" in refusal(scan, tmp_path / "none")
    assert "[FS101]" in refusal(scan, tmp_path)
    (tmp_path / "file").write_text("")
    assert "[FS101]" in refusal(scan, tmp_path / "file")


def test_a_folder_by_hand_needs_no_config(tmp_path):
    (tmp_path / "iris/3").mkdir(parents=True)
    (tmp_path / "iris/3/model.onnx").write_bytes(classifier())
    assert [(m.name, m.versions, m.labels) for m in scan(tmp_path)] == [("iris", (3,), {})]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("name: ", "`config.pbtxt` is not protobuf text"),
        ('name: "other"', "`config.pbtxt` must name the model `iris`, as its folder does, got `other`"),
        ('backend: "tensorrt"', "the backend must be `onnxruntime`, got `tensorrt`"),
        ('output { name: "p" label_filename: "../../secret" }', "must lie in the model's folder"),
        ('output { name: "p" label_filename: "none.txt" }', "must lie in the model's folder"),
    ],
)
def test_configs_that_are_wrong(tmp_path, config, message):
    (tmp_path / "secret").write_text("")
    publish(tmp_path / "models", "iris", classifier())
    (tmp_path / "models/iris/config.pbtxt").write_text(config)
    assert message in refusal(scan, tmp_path / "models")


def test_every_wrong_folder_is_reported(tmp_path):
    (tmp_path / "empty" / "notes").mkdir(parents=True)
    (tmp_path / "half" / "1").mkdir(parents=True)
    with pytest.raises(Refused) as caught:
        scan(tmp_path)
    assert [d.message for d in caught.value.diagnostics] == [
        "model `empty` must have a version's folder, as `1/model.onnx`",
        "every version of model `half` must have `model.onnx`, or `pipeline.toml` in its place",
    ]


@pytest.mark.parametrize(
    "link", ["iris", "iris/2", "iris/1/model.onnx", "iris/1/weights.bin", "iris/labels.txt"]
)
def test_links_out_of_the_repository(tmp_path, link):
    publish(tmp_path / "models", "iris", classifier(), LABELS)
    outside = tmp_path / "outside"
    publish(outside, "iris", classifier())
    path = tmp_path / "models" / link
    if path.exists():
        path.rename(tmp_path / "moved")
    path.symlink_to(outside / "iris")
    assert "must not link out of the repository" in refusal(scan, tmp_path / "models")


def test_links_in_a_circle(tmp_path):
    publish(tmp_path, "iris", classifier())
    (tmp_path / "iris/2").symlink_to("2")
    assert "[FS102]" in refusal(scan, tmp_path)


def test_links_within_the_repository(tmp_path):
    publish(tmp_path, "iris", classifier())
    os.symlink("1", tmp_path / "iris/2")
    assert scan(tmp_path)[0].versions == (1, 2)


def test_importing_is_cheap():
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'asyncio', 'uvloop'}"
    program = f"import sys, flowserve.shell.models.repository; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

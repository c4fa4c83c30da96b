"""Pipelines are published into a repository that has their models, and Triton reads what is written."""

import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from flowc.plan.diagnostics import Refused
from flowserve.shell.models.aliases import write_aliases
from flowserve.shell.models.composing import publish_pipeline
from flowserve.shell.models.repository import look_at, publish, scan


def passing(kind=TensorProto.FLOAT):
    x, y = (helper.make_tensor_value_info(name, kind, ["n", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def chain(first="m", second="n@production"):
    return (
        f'inputs = ["x"]\noutputs = ["y"]\n[[step]]\nmodel = "{first}"\ninputs = {{ x = "x" }}\n'
        f'outputs = {{ y = "z" }}\n'
        f'[[step]]\nmodel = "{second}"\ninputs = {{ x = "z" }}\noutputs = {{ y = "y" }}\n'
    )


@pytest.fixture
def repository(tmp_path):
    publish(tmp_path, "m", passing(), ["a", "b", "c"])
    publish(tmp_path, "n", passing(), ["a", "b", "c"])
    publish(tmp_path, "n", passing(TensorProto.INT64))
    publish(tmp_path, "labelled", passing(), ["a", "b", "c"])
    write_aliases(tmp_path / "n", {"production": 1})
    return tmp_path


def test_what_is_published_is_found_and_triton_reads_it(repository):
    published = publish_pipeline(repository, "p", chain())
    assert (published.version, published.path) == (1, str(repository / "p" / "1"))
    assert publish_pipeline(repository, "p", chain()).version == 1
    assert publish_pipeline(repository, "p", chain(second="n@1")).version == 2
    folder = look_at(repository, "p")
    assert folder.needs == {1: ("m", "n@production"), 2: ("m", "n@1")}
    assert [folder.name for folder in scan(repository)] == ["labelled", "m", "n", "p"]
    config = text_format.Parse(
        (repository / "p" / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )
    assert config.platform == "ensemble"
    assert list(config.output[0].dims) == [-1, 3]
    steps = config.ensemble_scheduling.step
    assert [(s.model_name, s.model_version, dict(s.input_map)) for s in steps] == [
        ("m", -1, {"x": "x"}),
        ("n", 1, {"x": "z"}),
    ]


def test_pipelines_of_pipelines(repository):
    publish_pipeline(repository, "p", chain())
    assert publish_pipeline(repository, "q", chain("p", "labelled")).version == 1
    assert look_at(repository, "q").labels == {}
    with pytest.raises(Refused, match=r"FS263.*must not run itself"):
        publish_pipeline(repository, "p", chain(first="q"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (chain(first="none"), "FS263.*the repository has no model `none`"),
        (chain(first="m@2"), "FS263.*model `m` has no version `2`; it has `1`"),
        (chain(second="n"), r"FS263.*takes `z` as INT64\[-1, 3\]"),
        ("inputs = 1", "FS262.*`inputs` is wrong"),
    ],
)
def test_what_does_not_fit_is_not_published(repository, text, message):
    with pytest.raises(Refused, match=message):
        publish_pipeline(repository, "p", text)
    assert not (repository / "p").exists()


def test_a_version_is_a_model_or_a_pipeline(repository):
    publish_pipeline(repository, "p", chain())
    (repository / "p" / "1" / "model.onnx").write_bytes(passing())
    with pytest.raises(Refused, match=r"FS102.*`model.onnx`, or `pipeline.toml` in its place"):
        scan(repository)

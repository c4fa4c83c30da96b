"""Pipelines as people serve them: real processes, both protocols, members that come and go."""

import json
import shutil

import pytest
import tritonclient.grpc as grpc
from onnx import TensorProto, helper
from running import scaling, serving, until

from flowserve.shell.models.repository import publish
from tests.flowserve.shell.processes.test_server import ask_grpc

PIPELINE = """
inputs = ["x"]
outputs = ["y"]

[[step]]
model = "m"
inputs = { x = "x" }
outputs = { y = "scaled" }

[[step]]
model = "n@production"
inputs = { x = "scaled" }
outputs = { y = "y" }
"""


def write(folder, text=PIPELINE, name="p", version=1):
    inside = folder / name / str(version)
    inside.mkdir(parents=True)
    (inside / "pipeline.toml").write_text(text)


def whole_numbers() -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT64, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    publish(folder, "m", scaling(2))
    publish(folder, "n", scaling(3))
    (folder / "n" / "aliases.json").write_text('{"production": 1}')
    write(folder)
    return folder


def test_a_pipeline_is_served_as_a_model_and_follows_its_members(models, tmp_path):
    with serving(tmp_path, "--grpc", "127.0.0.1:0", "--processes", "2") as server:
        assert server.predict("p") == 6.0
        publish(models, "n", scaling(5))
        publish(models, "n", whole_numbers())
        assert until(lambda: "[FS204]" in str(server.predict("n@3")))
        assert server.predict("p") == 6.0, "it is the alias that counts"
        assert server.command("deploy", "n", "2").returncode == 0
        with grpc.InferenceServerClient(server.grpc) as client:
            assert {server.predict("p"), ask_grpc(client, "p")} == {10.0}
            config = client.get_model_config("p").config
            steps = [(s.model_name, s.model_version) for s in config.ensemble_scheduling.step]
            assert (config.platform, steps) == ("ensemble", [("m", 1), ("n", 2)])
            assert client.get_model_metadata("p").platform == "ensemble"

        refused = server.command("deploy", "n", "3")
        assert refused.returncode == 1
        assert "[FS107]" in refused.stderr
        assert "takes `scaled` as INT64[-1], but step 1 (`m`) gives it as FP32[-1]" in refused.stderr
        refused = server.command("unload", "m")
        assert "model `p` does not load: there is no model `m`" in refused.stderr
        assert server.predict("p") == 10.0

        counted = json.loads(server.ask("GET", "/v2/models/stats")[1])["model_stats"]
        successes = {(c["name"], c["version"]): c["inference_stats"]["success"]["count"] for c in counted}
        assert successes[("m", "1")] >= 5
        assert successes[("p", "1")] >= 1


def test_a_pipeline_whose_members_files_go_goes_on_with_them(models, tmp_path):
    with serving(tmp_path, "--processes", "2") as server:
        assert server.predict("p") == 6.0
        shutil.rmtree(models / "m")
        assert until(lambda: "[FS202]" in str(server.predict("m")))
        assert server.predict("p") == 6.0
        (row,) = [row for row in server.status()["models"] if row["name"] == "p"]
        assert (row["state"], row["serving"]) == ("ready", True)
        assert "there is no model `m`" in row["reason"]
        publish(models, "m", scaling(7))
        assert until(lambda: server.predict("p") == 21.0)


def test_members_are_loaded_with_a_cold_pipeline_and_stay_with_it(models, tmp_path):
    (tmp_path / "c.toml").write_text("tier = 3\nmemory_mb = 40\n")
    for name in "ab":
        publish(models, name, scaling(1, padding_mb=12))
    publish(models, "m", scaling(4, padding_mb=12))
    with serving(tmp_path, "--config", "c.toml") as server:
        for _ in range(3):
            assert server.predict("p") == 12.0
            assert [server.predict(name) for name in "ab"] == [1.0, 1.0]


def test_a_pipeline_that_does_not_fit_at_the_start_is_told_and_its_members_serve(models, tmp_path):
    publish(models, "m", whole_numbers())
    with serving(tmp_path) as server:
        assert "warning[FS263]" in server.said()
        assert "models/p/1/pipeline.toml:12" in server.said()
        assert "[FS103] no version of model `p` serves" in server.predict("p")
        assert server.predict("n@production") == 3.0
        assert server.command("unload", "m@2").returncode == 0
        assert server.predict("p") == 6.0, "it fits what serves now"


def test_pipelines_of_pipelines(models, tmp_path):
    write(models, PIPELINE.replace('"m"', '"p"'), name="q")
    with serving(tmp_path) as server:
        assert server.predict("q") == 18.0
        publish(models, "n", scaling(5))
        assert server.command("deploy", "n", "2").returncode == 0
        assert server.predict("q") == 50.0
        write(models, PIPELINE.replace('"m"', '"q"'), version=2)
        assert until(lambda: len([r for r in server.status()["models"] if r["name"] == "p"]) == 2)
        assert server.predict("p") == 10.0
        assert server.predict("q") == 50.0

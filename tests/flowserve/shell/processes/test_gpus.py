"""A server with GPUs, which are made up: its processes have a driver and an onnxruntime of the tests' own."""

import importlib.util
import json
from pathlib import Path

import pytest
from onnx import TensorProto, helper
from onnx_models import serialised
from running import Server, serving, until

from flowserve.core.config import Config, parse_config
from flowserve.core.models.seat import Gpu
from flowserve.shell.models.repository import publish
from flowserve.shell.processes import gpus as gpus_module
from flowserve.shell.processes.gpus import gpus_of, shared

MB = 2**20
THREE = [["A100", "GPU-aa", 2000], ["T4", "GPU-bb", 1000], ["H100", "GPU-cc", 9000]]


def graph(op):
    x, y = ((name, TensorProto.FLOAT, ["n"]) for name in "xy")
    return serialised([helper.make_node(op, ["x"], ["y"])], [x], [y])


@pytest.fixture
def with_gpus(monkeypatch, tmp_path):
    """Say which GPUs the processes have that are started from now on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = str(Path(__file__).parents[2] / "with_gpus")
    monkeypatch.setenv("PYTHONPATH", folder)

    def these(**said):
        monkeypatch.setenv("FAKE_GPUS", json.dumps({"gpus": THREE, **said}))

    return these


def used(server):
    """The memory of each model on GPUs, in MB."""
    rows = server.status()["models"]
    return {row["name"]: {k: n // MB for k, n in row["use"]["gpu_bytes"].items()} for row in rows}


def test_models_are_served_from_gpus_within_a_budget(with_gpus, tmp_path):
    with_gpus(divided=["GPU-cc"])
    # The bound of each is 100 MB of weights and 64 rows of 1 MB, a quarter more, and 32 MB: 237 MB.
    for name in ("a", "b"):
        publish(tmp_path / "models", name, graph("Neg"))
    publish(tmp_path / "models", "trees", graph("Abs"))
    (tmp_path / "c.toml").write_text(
        "tier = 3\ngpu_memory_mb = 500\n[model.a]\ntier = 2\n[model.b]\ndevice = 0\n"
    )
    with serving(tmp_path, "--config", "c.toml", "--processes", "2") as server:
        until(lambda: used(server) == {"a": {"gpu:0": 2 * 237}, "b": {}, "trees": {}})
        status = server.command("status").stdout
        assert "gpu:0 (A100): 474 MB of 500 MB for models\n" in status
        assert "gpu:1 (T4): 0.0 MB of 500 MB for models\n" in status
        assert "GPU 2 (H100) is in MIG mode, and left out" in status
        assert " on gpu:0" in server.command("models", "--running").stdout
        metrics = server.ask("GET", "/metrics")[1].decode()
        assert 'flowserve_model_memory_bytes{model="a",version="1",space="gpu:0"} 497' in metrics
        config = json.loads(server.ask("GET", "/v2/models/a/config")[1])
        assert config["instance_group"] == [{"count": 1, "kind": "KIND_GPU", "gpus": [0]}]

        assert [server.predict(name) for name in ("a", "trees", "b")] == [-1.0, 1.0, -1.0]
        # Whichever process was asked: there the one that was on this GPU has gone.
        until(lambda: used(server) == {"a": {"gpu:0": 237}, "b": {"gpu:0": 237}, "trees": {}})
        (said,) = [event for event in server.status()["events"] if "`trees`" in event]
        assert "version 1 of model `trees` computes on the CPU: none of its operators can run there" in said


def test_a_gpu_that_onnxruntime_cannot_use_is_told_of(with_gpus, tmp_path):
    with_gpus(cuda=None)
    publish(tmp_path / "models", "m", graph("Neg"))
    with serving(tmp_path) as server:
        assert server.predict() == -1.0
        assert "a GPU is there, and this onnxruntime cannot compute on it" in server.status()["events"][0]
    (tmp_path / "c.toml").write_text('tier = 4\nproviders = "cuda"\n')
    with pytest.raises(AssertionError, match=r"FS267.*has not got `CUDAExecutionProvider`"):
        Server(tmp_path, "--config", "c.toml")


def test_libraries_that_are_missing_are_told_of(with_gpus, tmp_path):
    with_gpus(cuda={"works": False})
    publish(tmp_path / "models", "m", graph("Neg"))
    with serving(tmp_path) as server:
        assert server.predict() == -1.0
        assert "computes on the CPU: onnxruntime could not begin" in server.status()["events"][0]


SHARES = [
    # free, of the configuration, processes: what the models of each may have
    (1000, 0, 1, 900),
    (1000, 0, 2, 450),
    (1000, 500, 2, 250),
    (1000, 5000, 1, 900),
]


@pytest.mark.parametrize(("free_mb", "said_mb", "processes", "share_mb"), SHARES)
def test_a_process_has_its_share_of_what_is_free(free_mb, said_mb, processes, share_mb):
    (gpu,) = shared([Gpu(0, "A", "GPU-a", free_mb * MB)], said_mb, processes)
    assert gpu == Gpu(0, "A", "GPU-a", share_mb * MB)


def test_gpus_are_as_described_where_they_are():
    found = gpus_of(Config(devices="2xOrin-8GB, 8 cores, 16 GiB"), {}, print)
    assert found == [Gpu(0, "Orin", "", 8192 * MB), Gpu(1, "Orin", "", 8192 * MB)]
    (unknown,) = gpus_of(Config(devices="Orin, 8 cores, 16 GiB"), {}, print)
    assert shared([unknown], 7, 1)[0].bytes == 7 * MB
    assert shared([unknown], 0, 1)[0].bytes == 0, "no bound is known"


def test_nobody_looks_for_gpus_that_no_model_may_use(monkeypatch):
    monkeypatch.delattr(gpus_module, "detect")
    assert gpus_of(parse_config('providers = "cpu"\n[model.m]\ntier = 1', "c.toml"), {}, print) == []


def test_onnxruntime_has_cuda_by_its_files(monkeypatch, tmp_path):
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    found = importlib.util.spec_from_file_location("onnxruntime", tmp_path / "onnxruntime" / "__init__.py")
    monkeypatch.setattr(gpus_module, "find_spec", lambda name: found)
    assert not gpus_module.has_cuda()
    (tmp_path / "onnxruntime" / "capi" / "libonnxruntime_providers_cuda.so").touch()
    assert gpus_module.has_cuda()
    monkeypatch.setattr(gpus_module, "find_spec", lambda name: None)
    assert not gpus_module.has_cuda()

"""What goes from memory is the system's again."""

import shutil
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from onnx_models import serialised
from running import serving, until

from flowserve.shell.models.repository import publish

MODELS = 8
EACH_MB = 12  # below what publishing puts into a file to be mapped: this is the process's own


def large(scale: float) -> bytes:
    """`y = scale * x`, by weights that are all needed."""
    x, y = ((name, TensorProto.FLOAT, ["n"]) for name in "xy")
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["column"]),
        helper.make_node("MatMul", ["column", "scales"], ["wide"]),
        helper.make_node("MatMul", ["wide", "weights"], ["products"]),
        helper.make_node("ReduceMax", ["products"], ["y"], axes=[1], keepdims=0),
    ]
    width = int((EACH_MB * 2**18) ** 0.5)
    arrays = {"scales": np.full((1, width), scale, np.float32), "weights": np.eye(width, dtype=np.float32)}
    return serialised(nodes, [x], [y], [("last", np.array([1])), *arrays.items()])


def private_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def test_what_is_evicted_or_unloaded_is_given_back_to_the_system(tmp_path):
    publish(tmp_path / "models", "m0", large(2))
    for number in range(1, MODELS):
        shutil.copytree(tmp_path / "models" / "m0" / "1", tmp_path / "models" / f"m{number}" / "1")
    (tmp_path / "c.toml").write_text("tier = 3\nmemory_mb = 40\n")
    with serving(tmp_path, "--config", "c.toml") as server:
        [process] = server.status()["processes"]
        assert server.predict("m0") == 2.0
        assert server.command("unload", "m0").returncode == 0
        none_mb = private_mb(process)  # with all that the first model brings along
        for number in range(1, MODELS):
            assert server.predict(f"m{number}") == 2.0
        # There is room for two, each up to twice as large as its file.
        until(lambda: private_mb(process) < none_mb + 4.5 * EACH_MB)
        for number in range(1, MODELS):
            assert server.command("unload", f"m{number}").returncode == 0
        until(lambda: private_mb(process) < none_mb + 1.5 * EACH_MB)  # what is left is on huge pages of 2 MB
        assert server.status()["restarts"] == 0

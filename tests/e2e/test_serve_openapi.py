"""The OpenAPI document held against the server by a public tool, schemathesis."""

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper
from running import scaling, serving

from flowserve.shell.models.repository import publish

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


def of_many_kinds() -> bytes:
    """A model with an input of every kind that JSON tells apart, which it gives back."""
    kinds = {"flag": TensorProto.BOOL, "count": TensorProto.INT8, "big": TensorProto.UINT64,
             "half": TensorProto.FLOAT16, "text": TensorProto.STRING}  # fmt: skip
    # What a schema cannot say is left out: rows that are alike in a length that is free.
    shapes = {name: ["rows"] if name in ("flag", "count") else ["rows", 2] for name in kinds}
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        "kinds",
        [helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(f"{name}_out", kind, shapes[name]) for name, kind in kinds.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.mark.slow
def test_the_document_is_what_the_server_does(tmp_path):
    publish(tmp_path / "models", "scaling", scaling(2))
    publish(tmp_path / "models", "kinds", of_many_kinds())
    with serving(tmp_path) as server:
        document = f"http://127.0.0.1:{server.port}/openapi.json"
        done = subprocess.run(
            [SCHEMATHESIS, "run", document, "--max-examples", "300", "--seed", "1"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout
        assert server.predict("scaling") == 2.0
        assert "Traceback" not in server.said()

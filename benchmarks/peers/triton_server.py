"""A real Triton with its Python backend, one instance, from pytriton's wheel: triton_server.py --port PORT.

pytriton itself would put processes of its own between Triton and the model, and milliseconds with them.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytriton

_MODEL = """
import sys

sys.path[:0] = {path}
import triton_python_backend_utils as utils
from perceptron import session


class TritonPythonModel:
    def initialize(self, args):
        self.model = session()

    def execute(self, requests):
        answers = []
        for request in requests:
            row = utils.get_input_tensor_by_name(request, "input").as_numpy()
            (given,) = self.model.run(None, {"input": row})
            answers.append(utils.InferenceResponse([utils.Tensor("output", given)]))
        return answers
"""
_CONFIG = """
backend: "python"
max_batch_size: 64
input [{ name: "input", data_type: TYPE_FP32, dims: [32] }]
output [{ name: "output", data_type: TYPE_FP32, dims: [1] }]
instance_group [{ count: 1, kind: KIND_CPU }]
"""

if __name__ == "__main__":
    port, folder = int(sys.argv[-1]), Path("triton").resolve()
    server = Path(pytriton.__file__).parent / "tritonserver"
    version = folder / "models" / "model" / "1"
    version.mkdir(parents=True, exist_ok=True)
    (version / "model.py").write_text(_MODEL.replace("{path}", repr(sys.path)))
    (version.parent / "config.pbtxt").write_text(_CONFIG)
    backends = folder / "backends"
    shutil.copytree(server / "backends", backends, dirs_exist_ok=True)
    stub = server / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copytree(stub, backends / "python", dirs_exist_ok=True)
    libraries = Path(pytriton.__file__).parents[1] / "nvidia_pytriton.libs"  # what the wheel brings along
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join([str(libraries), os.environ.get("LD_LIBRARY_PATH", "")])
    command = str(server / "bin" / "tritonserver")
    ports = [f"--http-port={port}", f"--grpc-port={port + 1}", f"--metrics-port={port + 2}"]
    places = [f"--model-repository={folder / 'models'}", f"--backend-directory={backends}"]
    os.execv(command, [command, "--http-address=127.0.0.1", *ports, *places])

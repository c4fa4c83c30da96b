"""A real Triton with its Python backend, one instance a model, from pytriton's wheel.

pytriton itself would put processes of its own between Triton and the model, and milliseconds with them. An
instance is a process.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytriton
from perceptron import Settings, settings

_MODEL = """
import sys

sys.path[:0] = {path}
import triton_python_backend_utils as utils
from perceptron import run, session


class TritonPythonModel:
    def initialize(self, args):
        self.model = session()

    def execute(self, requests):
        rows = [utils.get_input_tensor_by_name(request, "input").as_numpy() for request in requests]
        given = run(self.model, rows)
        return [utils.InferenceResponse([utils.Tensor("output", one)]) for one in given]
"""
_CONFIG = """
backend: "python"
max_batch_size: {batch}
input [{{ name: "input", data_type: TYPE_FP32, dims: [-1] }}]
output [{{ name: "output", data_type: TYPE_FP32, dims: [-1] }}]
instance_group [{{ count: 1, kind: KIND_CPU }}]
{scheduling}
"""
_POLICY = """
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {timeout_us}
    allow_timeout_override: true
  }}"""


def _config(chosen: Settings) -> str:
    """As its documentation advises: requests are joined without preferred sizes."""
    if chosen.timeout_ms:
        # Half of the time: what is taken from the queue has waited for nearly all that it may wait there.
        # Only the dynamic batcher has a queue with a policy. `max_queue_size` is not set: a full queue that
        # refuses does not wake the batcher, which then sleeps for half a second, and hardly anything is done.
        policy = _POLICY.format(timeout_us=int(chosen.timeout_ms / 2 * 1000))
        return _CONFIG.format(batch=chosen.batch, scheduling=f"dynamic_batching {{{policy}\n}}")
    if chosen.batch > 1:
        delay = f"max_queue_delay_microseconds: {int(chosen.wait_ms * 1000)}"
        return _CONFIG.format(batch=chosen.batch, scheduling=f"dynamic_batching {{ {delay} }}")
    return _CONFIG.format(batch=64, scheduling="")


if __name__ == "__main__":
    chosen, folder = settings(__doc__), Path("triton").resolve()
    server = Path(pytriton.__file__).parent / "tritonserver"
    for name in chosen.names:
        version = folder / "models" / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        (version / "model.py").write_text(_MODEL.format(path=repr(sys.path)))
        (version.parent / "config.pbtxt").write_text(_config(chosen))
    backends = folder / "backends"
    shutil.copytree(server / "backends", backends, dirs_exist_ok=True)
    stub = server / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copytree(stub, backends / "python", dirs_exist_ok=True)
    libraries = Path(pytriton.__file__).parents[1] / "nvidia_pytriton.libs"  # what the wheel brings along
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join([str(libraries), os.environ.get("LD_LIBRARY_PATH", "")])
    command = str(server / "bin" / "tritonserver")
    port = chosen.port
    ports = [f"--http-port={port}", f"--grpc-port={port + 1}", f"--metrics-port={port + 2}"]
    places = [f"--model-repository={folder / 'models'}", f"--backend-directory={backends}"]
    control = ["--model-control-mode=explicit", "--load-model=*"]  # all are loaded, and again when told so
    local = ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"]
    os.execv(command, [command, *local, *ports, *places, *control])

"""Python starts with this where its folder is on PYTHONPATH: every process of a server has GPUs then.

They are made up, and so is onnxruntime's CUDA: `FAKE_GPUS` says how, as `Driver` and `Cuda` take it.
"""

import json
import os
import sys

if made_up := os.environ.get("FAKE_GPUS"):
    sys.path.append(os.path.dirname(os.path.dirname(__file__)))
    from _pytest.monkeypatch import MonkeyPatch
    from fake_nvml import Driver

    said = json.loads(made_up)
    driver = Driver(MonkeyPatch(), said["gpus"], divided=said.get("divided", ()))
    cuda = said.get("cuda", {})
    if cuda is not None and "flowserve.shell.processes.worker" in " ".join(sys.orig_argv):
        from fake_cuda import Cuda

        Cuda(MonkeyPatch(), driver, **cuda)

"""The benchmarks' model and what it answers, for servers that run in the peers' own environment."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime


def session() -> Any:
    """The model in the file that PEER_MODEL names, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])


def predicted(model: Any, asked: Any) -> dict[str, Any]:
    """Answer the JSON of the Open Inference Protocol, unchecked."""
    tensor = asked["inputs"][0]
    row = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
    (given,) = model.run(None, {"input": row})
    output = {
        "name": "output",
        "datatype": "FP32",
        "shape": list(given.shape),
        "data": given.ravel().tolist(),
    }
    return {"model_name": "model", "model_version": "1", "outputs": [output]}

"""The benchmarks' model and what it answers, for servers that run in the peers' own environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime


class Settings(argparse.Namespace):
    """What a server is told on its command line."""

    port: int
    batch: int
    wait_ms: float
    queue: int
    timeout_ms: float
    names: list[str]


def settings(about: str | None) -> Settings:
    """Read the command line. Where a server has no such setting, its script says so or leaves it alone."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1, help="join up to so many requests")
    parser.add_argument("--wait-ms", type=float, default=0, help="for which the first of them waits so long")
    parser.add_argument("--queue", type=int, default=0, help="refuse a request when so many wait")
    parser.add_argument(
        "--timeout-ms", type=float, default=0, help="give up a request that has waited so long"
    )
    parser.add_argument("--models", type=int, default=1, help="so many, called m0, m1, ...; one is `model`")
    found = parser.parse_args(namespace=Settings())
    found.names = ["model"] if found.models == 1 else [f"m{index}" for index in range(found.models)]
    return found


def session() -> Any:
    """The model in the file that PEER_MODEL names, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])


def run(model: Any, rows: Sequence[Any]) -> list[Any]:
    """Run the model once for the rows of several requests, and give each what is its own."""
    if len(rows) == 1:
        return [model.run(None, {"input": rows[0]})[0]]
    (given,) = model.run(None, {"input": np.concatenate(rows)})
    return np.split(given, np.cumsum([len(row) for row in rows])[:-1])


def predicted(model: Any, asked: Sequence[Any]) -> list[dict[str, Any]]:
    """Answer the JSON of the Open Inference Protocol, unchecked, of one or of several requests together."""
    tensors = [one["inputs"][0] for one in asked]
    return [_answer(given) for given in run(model, [_rows(tensor) for tensor in tensors])]


def _rows(tensor: dict[str, Any]) -> Any:
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])


def _answer(given: Any) -> dict[str, Any]:
    output = {
        "name": "output",
        "datatype": "FP32",
        "shape": list(given.shape),
        "data": given.ravel().tolist(),
    }
    return {"model_name": "model", "model_version": "1", "outputs": [output]}

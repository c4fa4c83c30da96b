"""A prediction over HTTP, one keep-alive connection, beside the same model run in process.

The small model of the serving benchmarks: a 32 -> 64 -> 64 -> 1 perceptron in float32, one row a request.
"""

from __future__ import annotations

import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness

BODY = json.dumps(
    {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 32], "data": [0.5] * 32}]}
).encode()
REQUEST = b"POST /v2/models/small/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


def perceptron() -> bytes:
    """The small model as ONNX."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    nodes, weights, source = [], [], "input"
    for i, (rows, columns) in enumerate(((32, 64), (64, 64), (64, 1))):
        matrix = (generator.standard_normal((rows, columns)) / 8).astype(np.float32)
        weights += [numpy_helper.from_array(matrix, f"w{i}"), numpy_helper.from_array(matrix[0] * 0, f"b{i}")]
        target = "output" if i == 2 else f"h{i}"
        nodes.append(helper.make_node("Gemm", [source, f"w{i}", f"b{i}"], [f"g{i}" if i < 2 else target]))
        if i < 2:
            nodes.append(helper.make_node("Relu", [f"g{i}"], [target]))
        source = target
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 32])
    given = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph(nodes, "small", [taken], [given], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def measure(requests: int) -> dict[str, Any]:
    """Time single predictions in process and served."""
    from flowserve.shell.models.repository import publish

    harness.byte_compile()
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        publish(models, "small", perceptron())
        model_file = models / "small" / "1" / "model.onnx"
        command = [str(Path(sys.executable).parent / "flowserve"), "start", "--models", str(models)]
        with subprocess.Popen(
            [*command, "--http", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                address = _address(server)
                in_process, served = _alternate(model_file, address, requests)
            finally:
                server.terminate()
    return {
        "benchmark": "serve_latency",
        "requests": requests,
        "in_process_us": percentiles(in_process),
        "http_json_us": percentiles(served),
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        f"{name[:-3]:<12}p50 {values['p50']:>6.0f} us   p99 {values['p99']:>6.0f} us"
        for name, values in figures.items()
        if name.endswith("_us")
    ]
    return "\n".join(["one row through a 32-64-64-1 perceptron, one connection", *rows])


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"http://(\S+)", line):
            return found[1]
    sys.exit("the server ended before it listened")


def _alternate(model_file: Path, address: str, requests: int) -> tuple[list[float], list[float]]:
    """Ten rounds of each side in turn, after one that does not count; microseconds a prediction."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])
    row = {"input": np.full((1, 32), 0.5, np.float32)}
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask() -> None:
        connection.sendall(REQUEST)
        answer = connection.recv(65536)
        while not answer.endswith(b"}"):  # headers and body may come in pieces
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer

    in_process: list[float] = []
    served: list[float] = []
    for turn in range(11):
        for call, figures in ((lambda: session.run(None, row), in_process), (ask, served)):
            for _ in range(requests // 10):
                began = time.perf_counter()
                call()
                if turn:
                    figures.append((time.perf_counter() - began) * 1e6)
    return in_process, served


def percentiles(values: list[float]) -> dict[str, float]:
    """Microseconds: the middle, and what one of a hundred exceeds."""
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


if __name__ == "__main__":
    harness.run(measure, show, requests=5000)

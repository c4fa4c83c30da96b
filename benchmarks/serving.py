"""What the serving benchmarks share: models, servers on a core of their own, and a client to drive them."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SMALL = (32, 64, 64, 1)
MEDIUM = (256, 1024, 1024, 10)
PATH = "/v2/models/model/infer"


def perceptron(sizes: Sequence[int]) -> bytes:
    """A perceptron with layers of these sizes as ONNX, in float32."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    nodes, weights, source, last = [], [], "input", len(sizes) - 2
    for i, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        matrix = (generator.standard_normal((rows, columns)) / 8).astype(np.float32)
        bias = np.zeros(columns, np.float32)
        weights += [numpy_helper.from_array(matrix, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        target = "output" if i == last else f"h{i}"
        nodes.append(helper.make_node("Gemm", [source, f"w{i}", f"b{i}"], [target if i == last else f"g{i}"]))
        if i < last:
            nodes.append(helper.make_node("Relu", [f"g{i}"], [target]))
        source = target
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", sizes[0]])
    given = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", sizes[-1]])
    graph = helper.make_graph(nodes, "perceptron", [taken], [given], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def json_body(width: int, rows: int = 1, timeout_ms: float = 0) -> bytes:
    """A request for `rows` rows, as JSON."""
    tensor = {"name": "input", "datatype": "FP32", "shape": [rows, width], "data": [0.5] * (rows * width)}
    parameters = {"parameters": {"timeout": int(timeout_ms * 1000)}} if timeout_ms else {}
    return json.dumps({"inputs": [tensor], **parameters}).encode()


def post(body: bytes, path: str = PATH, headers: str = "") -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def binary_request(width: int, rows: int = 1) -> bytes:
    """A request for `rows` rows whose tensors are raw, in and out."""
    return raw_request([rows, width])


def raw_request(shape: Sequence[int]) -> bytes:
    """A request with an input of this shape, raw as its answer."""
    data = b"\x00\x00\x00\x3f" * math.prod(shape)  # 0.5
    tensor = {
        "name": "input",
        "datatype": "FP32",
        "shape": list(shape),
        "parameters": {"binary_data_size": len(data)},
    }
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return post(header + data, headers=f"Inference-Header-Content-Length: {len(header)}\r\n")


def cores() -> tuple[set[int], set[int]]:
    """A core for the server, and one for the client; the same where there is only one."""
    own = sorted(os.sched_getaffinity(0))
    return {own[0]}, {own[-1]}


@contextlib.contextmanager
def flowserve(folder: Path, sizes: Sequence[int], *options: str) -> Iterator[tuple[str, int, int]]:
    """flowserve with a perceptron called `model`: its host, port and the process that answers."""
    with listening(starting(folder, sizes, *options)) as (host, port, _):
        from flowserve.core.wire.addresses import Tcp
        from flowserve.shell.processes.control import Status, ask

        yield host, port, ask(Tcp(host, port), Status()).processes[0]


def starting(folder: Path, sizes: Sequence[int], *options: str) -> list[str]:
    """The command that serves a perceptron called `model`, on a free port."""
    from flowserve.shell.models.repository import publish

    models = folder / f"models-{'-'.join(map(str, sizes))}"
    publish(models, "model", perceptron(sizes))
    command = [str(Path(sys.executable).parent / "flowserve"), "start", "--models", str(models)]
    return [*command, "--http", "127.0.0.1:0", *options]


@contextlib.contextmanager
def listening(
    command: Sequence[str], scheme: str = "http", where: set[int] | None = None
) -> Iterator[tuple[str, int, int]]:
    """A server that prints its address, on the server's core unless told where: host, port and process."""

    def pin() -> None:
        os.sched_setaffinity(0, where or cores()[0])

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pin) as server:
        try:
            assert server.stdout is not None
            found = next(
                filter(None, (re.search(rf"{scheme}://(.+):(\d+)", line) for line in server.stdout)), None
            )
            if found is None:
                sys.exit(f"{command[0]} ended before it listened")
            yield found[1], int(found[2]), server.pid
        finally:
            server.terminate()


def in_process(sizes: Sequence[int]) -> Callable[[], Any]:
    """A prediction of one row by a perceptron, without a server: the floor of all others."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(perceptron(sizes), options, providers=["CPUExecutionProvider"])
    row = {"input": np.full((1, sizes[0]), 0.5, np.float32)}
    return lambda: session.run(None, row)


def latencies(
    sides: dict[str, Callable[[], Any]], requests: int, where: set[int] | None = None
) -> dict[str, dict[str, float]]:
    """Microseconds a call, by side, on the client's core unless told where.

    Ten rounds of each side in turn, after one that does not count; nor do the first calls of each turn, which
    find the caches full of another side's. A side that raises `OSError` is left out.
    """
    os.sched_setaffinity(0, where or cores()[1])
    took: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(11):
        for side in list(took):
            try:
                _timed(sides[side], 50)
                took[side] += _timed(sides[side], requests // 10) if turn else []
            except OSError as error:
                print(f"{side} is left out: {error}", file=sys.stderr)
                del took[side]
    return {f"{side}_us": percentiles(values) for side, values in took.items()}


def _timed(call: Callable[[], Any], times: int) -> list[float]:
    took: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1e6)
    return took


def latency_text(title: str, figures: dict[str, Any]) -> str:
    """What `latencies` found, as text."""
    rows = [
        f"{name[:-3]:<18}p50 {values['p50']:>6.0f} us   p99 {values['p99']:>6.0f} us"
        for name, values in figures.items()
        if name.endswith("_us")
    ]
    return "\n".join([title, *rows])


def cpu_s(process: int) -> float:
    """Seconds of processor that a process has used; unlike wall time, the same on a busy machine."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and the number of values."""
    if len(values) < 2:
        return {"p50": 0.0, "p99": 0.0, "count": len(values)}
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "count": len(values)}

"""A prediction over gRPC, one connection: beside the same model in process, and grpc with nothing in it.

The small model of the serving benchmarks, one row a request. `grpc_floor` is a server of grpc.aio on uvloop
that answers a request of that size with an answer of that size and does nothing else; it and flowserve are
asked with bytes, so that the client costs the same. `tritonclient` is what a user of NVIDIA's client sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import harness, serving

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


def measure(requests: int) -> dict[str, Any]:
    """Time single predictions in process and over gRPC."""
    from flowserve.shell.models.repository import publish

    harness.byte_compile()
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        publish(models, "small", serving.perceptron(serving.SMALL))
        served = [str(Path(sys.executable).parent / "flowserve"), "start", "--models", str(models)]
        served += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
        empty = [sys.executable, "-c", "from benchmarks.serve_grpc_latency import floor; floor()"]
        with _address(served) as address, _address(empty) as floor_address:
            sides = _sides(models / "small" / "1" / "model.onnx", address, floor_address)
            os.sched_setaffinity(0, serving.cores()[1])
            figures = _alternate(sides, requests)
    return {
        "benchmark": "serve_grpc_latency",
        "requests": requests,
        **{f"{name}_us": serving.percentiles(values) for name, values in figures.items()},
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        f"{name[:-3]:<14}p50 {values['p50']:>6.0f} us   p99 {values['p99']:>6.0f} us"
        for name, values in figures.items()
        if name.endswith("_us")
    ]
    return "\n".join(["one row through a 32-64-64-1 perceptron, one connection, gRPC", *rows])


def floor() -> None:
    """Run the server that does nothing."""
    import grpc.aio
    import uvloop

    async def serve() -> None:
        async def answer(_: bytes, __: object) -> bytes:
            return b"x" * 60

        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(answer)
        generic = grpc.method_handlers_generic_handler(
            "inference.GRPCInferenceService", {"ModelInfer": handler}
        )
        server.add_generic_rpc_handlers((generic,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(f"listening on grpc://127.0.0.1:{port}", flush=True)
        await server.wait_for_termination()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


@contextlib.contextmanager
def _address(command: list[str]) -> Iterator[str]:
    def pin() -> None:
        os.sched_setaffinity(0, serving.cores()[0])

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=harness.ROOT, preexec_fn=pin
    ) as server:
        try:
            assert server.stdout is not None
            found = next(filter(None, (re.search(r"grpc://(\S+)", line) for line in server.stdout)), None)
            if found is None:
                sys.exit("the server ended before it listened")
            yield found[1]
        finally:
            server.terminate()


def _sides(model_file: Path, address: str, floor_address: str) -> dict[str, Callable[[], Any]]:
    import grpc
    import numpy as np
    import onnxruntime
    import tritonclient.grpc as triton
    from tritonclient.grpc import service_pb2

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])
    row = np.full((1, 32), 0.5, np.float32)
    message = service_pb2.ModelInferRequest(model_name="small")
    message.inputs.add(name="input", datatype="FP32", shape=[1, 32])
    message.raw_input_contents.append(row.tobytes())
    data = message.SerializeToString()
    ask = grpc.insecure_channel(address).unary_unary(_METHOD)
    ask_floor = grpc.insecure_channel(floor_address).unary_unary(_METHOD)
    client = triton.InferenceServerClient(address)
    given = triton.InferInput("input", [1, 32], "FP32").set_data_from_numpy(row)
    return {
        "in_process": lambda: session.run(None, {"input": row}),
        "grpc_floor": lambda: ask_floor(data),
        "grpc_infer": lambda: ask(data),
        "tritonclient": lambda: client.infer("small", [given]),
    }


def _alternate(sides: dict[str, Callable[[], Any]], requests: int) -> dict[str, list[float]]:
    """Ten rounds of each side in turn, after one that does not count; microseconds a call."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(11):
        for name, call in sides.items():
            for _ in range(requests // 10):
                began = time.perf_counter()
                call()
                if turn:
                    figures[name].append((time.perf_counter() - began) * 1e6)
    return figures


if __name__ == "__main__":
    harness.run(measure, show, requests=5000)

"""A prediction over gRPC, one connection: beside the same model in process, and grpc with nothing in it.

The small model of the serving benchmarks, one row a request. `grpc_floor` is a server of grpc.aio on uvloop
that answers a request of that size with an answer of that size and does nothing else; it and flowserve are
asked with bytes, so that the client costs the same. `tritonclient` is what a user of NVIDIA's client sees.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import harness, serving

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


def measure(requests: int) -> dict[str, Any]:
    """Time single predictions in process and over gRPC."""
    harness.byte_compile()
    empty = [sys.executable, "-c", "from benchmarks.serve_grpc_latency import floor; floor()"]
    with tempfile.TemporaryDirectory() as name:
        served = serving.starting(Path(name), serving.SMALL, "--grpc", "127.0.0.1:0")
        with (
            serving.listening(served, "grpc") as (host, port, _),
            serving.listening(empty, "grpc") as (floor_host, floor_port, _),
        ):
            sides = _sides(f"{host}:{port}", f"{floor_host}:{floor_port}")
            took = serving.latencies(sides, requests)
    return {"benchmark": "serve_grpc_latency", "requests": requests, **took, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    return serving.latency_text("one row through a 32-64-64-1 perceptron, one connection, gRPC", figures)


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


def _sides(address: str, floor_address: str) -> dict[str, Callable[[], Any]]:
    import grpc
    import numpy as np
    import tritonclient.grpc as triton
    from tritonclient.grpc import service_pb2

    row = np.full((1, 32), 0.5, np.float32)
    message = service_pb2.ModelInferRequest(model_name="model")
    message.inputs.add(name="input", datatype="FP32", shape=[1, 32])
    message.raw_input_contents.append(row.tobytes())
    data = message.SerializeToString()
    ask = grpc.insecure_channel(address).unary_unary(_METHOD)
    ask_floor = grpc.insecure_channel(floor_address).unary_unary(_METHOD)
    client = triton.InferenceServerClient(address)
    given = triton.InferInput("input", [1, 32], "FP32").set_data_from_numpy(row)
    return {
        "in_process": serving.in_process(serving.SMALL),
        "grpc_floor": lambda: ask_floor(data),
        "grpc_infer": lambda: ask(data),
        "tritonclient": lambda: client.infer("model", [given]),
    }


if __name__ == "__main__":
    harness.run(measure, show, requests=5000)

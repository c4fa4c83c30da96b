"""A prediction over gRPC, one connection: beside the same model in process, and grpc with nothing in it.

The small model of the serving benchmarks, one row a request; server and client have a core each. The floors
are servers of grpc.aio on uvloop (`aio_floor`) and of grpc's own threads (`sync_floor`) that answer a request
of that size with an answer of that size and do nothing else. They and flowserve (`infer`) are asked with
bytes by grpc's client, which costs the same each time, and more than the servers do: so `socket` asks the
same over a plain socket. `tritonclient` is what a user of NVIDIA's client sees. Triton and MLServer are asked
in both ways, too, where PEERS names a Python that has them.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import harness, serve_peers, serving

_SELF = "benchmarks.serve_grpc_latency"
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_ANSWER = b"x" * 60


def measure(requests: int) -> dict[str, Any]:
    """Time single predictions in process and over gRPC."""
    harness.byte_compile()
    empty = [sys.executable, "-c"]
    with tempfile.TemporaryDirectory() as name, ExitStack() as started:
        commands = {
            "aio_floor": [*empty, f"from {_SELF} import aio_floor as f; f()"],
            "sync_floor": [*empty, f"from {_SELF} import sync_floor as f; f()"],
            "infer": serving.starting(Path(name), serving.SMALL, "--grpc", "127.0.0.1:0"),
        }
        ports = {
            side: started.enter_context(serving.listening(command, "grpc"))[1]
            for side, command in commands.items()
        }
        peers = serve_peers.servers(Path(name), serving.SMALL)
        for peer in ("triton", "mlserver"):
            at = started.enter_context(peers[peer].started())
            if at is not None:
                ports[peer] = at[1] + 1  # as their scripts have it
        took = serving.latencies(_sides(ports), requests)
    return {"benchmark": "serve_grpc_latency", "requests": requests, **took, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    return serving.latency_text("one row through a 32-64-64-1 perceptron, one connection, gRPC", figures)


def aio_floor() -> None:
    """Run the server of grpc.aio that does nothing."""
    import grpc.aio
    import uvloop

    async def answer(_: bytes, __: object) -> bytes:
        return _ANSWER

    async def serve() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_handler(answer),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(f"listening on grpc://127.0.0.1:{port}", flush=True)
        await server.wait_for_termination()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def sync_floor() -> None:
    """Run the server of grpc's own threads that does nothing."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((_handler(lambda _, __: _ANSWER),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on grpc://127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def _handler(answer: Callable[[bytes, Any], Any]) -> Any:
    import grpc

    handler = grpc.unary_unary_rpc_method_handler(answer)
    return grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler})


def _sides(ports: dict[str, int]) -> dict[str, Callable[[], Any]]:
    import grpc
    import numpy as np
    import tritonclient.grpc as triton
    from tritonclient.grpc import service_pb2

    row = np.full((1, 32), 0.5, np.float32)
    message = service_pb2.ModelInferRequest(model_name="model")
    message.inputs.add(name="input", datatype="FP32", shape=[1, 32])
    message.raw_input_contents.append(row.tobytes())
    data = message.SerializeToString()

    def asking(port: int) -> Callable[[], Any]:
        ask = grpc.insecure_channel(f"127.0.0.1:{port}").unary_unary(_METHOD)
        return lambda: ask(data)

    client = triton.InferenceServerClient(f"127.0.0.1:{ports['infer']}")
    given = triton.InferInput("input", [1, 32], "FP32").set_data_from_numpy(row)
    return {
        "in_process": serving.in_process(serving.SMALL),
        **{f"grpc_{side}": asking(port) for side, port in ports.items()},
        "tritonclient": lambda: client.infer("model", [given]),
        **{f"socket_{side}": _over_a_socket(port, data) for side, port in ports.items()},
    }


def _over_a_socket(port: int, data: bytes) -> Callable[[], None]:
    """Ask with frames that are ready but for the number of the stream, and wait for the end of the answer.

    The header block is all literals, which take longer to read than what grpc's client sends.
    """
    from flowserve.core.wire.http2 import frames
    from flowserve.core.wire.http2.messages import prefix
    from flowserve.core.wire.http2.rpc import literal

    fields = {":method": "POST", ":scheme": "http", ":path": _METHOD, ":authority": "127.0.0.1"}
    fields |= {"te": "trailers", "content-type": "application/grpc", "user-agent": "benchmark"}
    block = b"".join(literal(name.encode(), value.encode()) for name, value in fields.items())
    body = prefix(len(data)) + data
    server = socket.create_connection(("127.0.0.1", port))
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    windows = frames.settings({frames.INITIAL_WINDOW_SIZE: 2**30}) + frames.window_update(0, 2**30)
    server.sendall(frames.PREFACE + windows + frames.frame(frames.SETTINGS, frames.ACK, 0))
    numbers, came = itertools.count(1, 2), b""

    def ask() -> None:
        nonlocal came
        number = next(numbers)
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, number, block)
        server.sendall(head + frames.frame(frames.DATA, frames.END_STREAM, number, body))
        while True:
            while len(came) >= frames.HEAD_BYTES:
                high, low, kind, flags, of = frames.HEAD.unpack_from(came)
                end = frames.HEAD_BYTES + (high << 8 | low)
                if len(came) < end:
                    break
                came = came[end:]
                if kind == frames.HEADERS and flags & frames.END_STREAM and of == number:
                    return
            came += server.recv(65536)

    return ask


if __name__ == "__main__":
    harness.run(measure, show, requests=5000)

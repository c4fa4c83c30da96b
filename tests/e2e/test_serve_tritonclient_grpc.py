"""A real `flowserve start --grpc` process with real ONNX models, asked by NVIDIA's clients."""

import asyncio
import contextlib
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from onnx import TensorProto, helper
from onnx_models import serialised
from tritonclient.utils import InferenceServerException

from flowserve.shell.models.repository import publish

COMMAND = [sys.executable, "-c", "from flowserve.cli import main; main()"]
LABELS = ["setosa", "versicolor", "virginica"]
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [0, 0, 0, 0]], np.float32)
KINDS = {
    "BOOL": (TensorProto.BOOL, np.array([[True, False]])),
    "INT8": (TensorProto.INT8, np.array([[-128, 127]], np.int8)),
    "INT16": (TensorProto.INT16, np.array([[-(2**15), 2**15 - 1]], np.int16)),
    "INT32": (TensorProto.INT32, np.array([[-(2**31), 2**31 - 1]], np.int32)),
    "INT64": (TensorProto.INT64, np.array([[-(2**63), 2**63 - 1]], np.int64)),
    "UINT8": (TensorProto.UINT8, np.array([[0, 255]], np.uint8)),
    "UINT16": (TensorProto.UINT16, np.array([[0, 2**16 - 1]], np.uint16)),
    "UINT32": (TensorProto.UINT32, np.array([[0, 2**32 - 1]], np.uint32)),
    "UINT64": (TensorProto.UINT64, np.array([[0, 2**64 - 1]], np.uint64)),
    "FP16": (TensorProto.FLOAT16, np.array([[-65504, 0.1]], np.float16)),
    "FP32": (TensorProto.FLOAT, np.array([[3.4e38, 0.1]], np.float32)),
    "FP64": (TensorProto.DOUBLE, np.array([[1.7e308, 0.1]], np.float64)),
    "BYTES": (TensorProto.STRING, np.array([["", "größe"]], object)),
}


def iris(scale: float = 1.0) -> bytes:
    """A linear classifier: softmax of `scale * x @ WEIGHTS`."""
    return serialised(
        [
            helper.make_node("MatMul", ["x", "w"], ["s"]),
            helper.make_node("Softmax", ["s"], ["probabilities"]),
        ],
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("probabilities", TensorProto.FLOAT, ["n", 3])],
        [("w", WEIGHTS * np.float32(scale))],
    )


def echo() -> bytes:
    """Every input comes back as an output."""
    return serialised(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in KINDS],
        [(name, kind, [None, None]) for name, (kind, _) in KINDS.items()],
        [(f"{name}_out", kind, [None, None]) for name, (kind, _) in KINDS.items()],
    )


@contextlib.contextmanager
def served(models: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """A process, and the address where it answers gRPC."""
    command = [*COMMAND, "start", "--models", str(models), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        lines = []
        while not lines or not lines[-1].startswith("listening on http://"):
            lines.append(process.stdout.readline().rstrip("\n"))
            assert lines[-1], "the server ended before it listened"
        yield process, re.fullmatch(r"listening on grpc://(127\.0\.0\.1:\d+)", lines[-2])[1]
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    models = tmp_path_factory.mktemp("models")
    publish(models, "iris", iris(), LABELS)
    publish(models, "iris", iris(2.0), LABELS)
    publish(models, "echo", echo())
    with served(models) as (_, address):
        yield address


@pytest.fixture
def client(address) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as client:
        yield client


def tensor(name: str, datatype: str, array: np.ndarray) -> triton.InferInput:
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_health_and_descriptions(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", "1")
    assert not client.is_model_ready("iris", "3")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata().name == "flowserve"
    metadata = client.get_model_metadata("iris")
    assert list(metadata.versions) == ["1", "2"]
    assert client.get_model_metadata("iris", as_json=True)["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}
    ]
    config = client.get_model_config("iris", "1", as_json=True)["config"]
    assert config["output"] == [
        {
            "name": "probabilities",
            "data_type": "TYPE_FP32",
            "dims": ["-1", "3"],
            "label_filename": "labels.txt",
        }
    ]
    statistics = client.get_inference_statistics("iris", as_json=True)["model_stats"]
    assert [model["version"] for model in statistics] == ["1", "2"]
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {"name": "iris", "version": "2", "state": "READY"} in index


def test_infer(client):
    for version, scale in (("1", 1), ("2", 2), ("", 2)):
        result = client.infer("iris", [tensor("x", "FP32", ROWS)], version, request_id="7")
        expected = softmax(ROWS @ WEIGHTS * scale)
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-5)
        assert result.get_response().id == "7"
        assert result.get_response().model_version == (version or "2")


def test_every_datatype_comes_back_unchanged(client):
    outputs = [triton.InferRequestedOutput(f"{name}_out") for name in KINDS]
    result = client.infer("echo", [tensor(n, n, array) for n, (_, array) in KINDS.items()], outputs=outputs)
    for name, (_, array) in KINDS.items():
        back = result.as_numpy(f"{name}_out")
        if name == "BYTES":
            back = np.array([[text.decode() for text in row] for row in back], object)
        np.testing.assert_array_equal(back, array)


def test_no_rows(client):
    result = client.infer("iris", [tensor("x", "FP32", np.zeros((0, 4), np.float32))])
    assert result.as_numpy("probabilities").shape == (0, 3)


def test_classification(client):
    outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
    best = client.infer("iris", [tensor("x", "FP32", ROWS)], outputs=outputs).as_numpy("probabilities")
    assert [entry.split(b":")[1:] for entry in best[0]] == [[b"2", b"virginica"], [b"1", b"versicolor"]]
    assert best[1].tolist() == [b"0.333333:0:setosa", b"0.333333:1:versicolor"]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(client, algorithm):
    rows = np.tile(ROWS, (500, 1))
    result = client.infer("iris", [tensor("x", "FP32", rows)], compression_algorithm=algorithm)
    np.testing.assert_allclose(result.as_numpy("probabilities"), softmax(rows @ WEIGHTS * 2), rtol=1e-5)


def test_priority_and_timeouts(client):
    result = client.infer(
        "iris", [tensor("x", "FP32", ROWS)], priority=2, timeout=20_000_000, client_timeout=20
    )
    assert result.as_numpy("probabilities").shape == (2, 3)


def test_requests_beside_each_other(client):
    answers: queue.Queue = queue.Queue()
    for n in range(20):
        client.async_infer(
            "iris",
            [tensor("x", "FP32", ROWS + n)],
            lambda result, error: answers.put((result, error)),
            request_id=str(n),
        )
    for _ in range(20):
        result, error = answers.get(timeout=20)
        assert error is None
        expected = softmax((ROWS + int(result.get_response().id)) @ WEIGHTS * 2)
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-4)


def test_settings(client):
    assert list(client.get_trace_settings("iris").settings["trace_level"].value) == ["OFF"]
    changed = client.update_trace_settings(settings={"trace_level": "OFF", "trace_rate": None})
    assert list(changed.settings["trace_rate"].value) == ["1000"]
    assert client.get_log_settings().settings["log_info"].bool_param is True
    assert (
        client.update_log_settings({"log_verbose_level": 1}).settings["log_verbose_level"].uint32_param == 1
    )
    with pytest.raises(InferenceServerException, match="FS233"):
        client.update_log_settings({"log_file": "/tmp/log"})


def test_shared_memory(client):
    with contextlib.closing(shared_memory.SharedMemory(create=True, size=64)) as memory:
        try:
            memory.buf[:32] = ROWS.tobytes()
            key = f"/{memory.name.lstrip('/')}"
            client.register_system_shared_memory("rows", key, 64)
            assert client.get_system_shared_memory_status().regions["rows"].byte_size == 64
            given = triton.InferInput("x", [2, 4], "FP32")
            given.set_shared_memory("rows", 32)
            wanted = triton.InferRequestedOutput("probabilities")
            wanted.set_shared_memory("rows", 24, 32)
            response = client.infer("iris", [given], outputs=[wanted]).get_response()
            assert response.outputs[0].parameters["shared_memory_region"].string_param == "rows"
            back = np.frombuffer(bytes(memory.buf[32:56]), np.float32).reshape(2, 3)
            np.testing.assert_allclose(back, softmax(ROWS @ WEIGHTS * 2), rtol=1e-5)
            client.unregister_system_shared_memory("rows")
            client.unregister_cuda_shared_memory()
            assert not client.get_system_shared_memory_status().regions
            with pytest.raises(InferenceServerException, match="FS232"):
                client.infer("iris", [given])
        finally:
            memory.unlink()


def test_a_stream(client):
    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for n in range(10):
        client.async_stream_infer("iris", [tensor("x", "FP32", ROWS + n)], request_id=str(n))
    client.async_stream_infer("none", [tensor("x", "FP32", ROWS)])
    for n in range(10):
        result, error = answers.get(timeout=20)
        assert error is None
        assert result.get_response().id == str(n)
    result, error = answers.get(timeout=20)
    assert result is None
    assert "[FS202] there is no model `none`" in error.message()
    client.stop_stream()


def test_asyncio(address):
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            assert not await client.is_model_ready("none")
            results = await asyncio.gather(
                *(client.infer("iris", [tensor("x", "FP32", ROWS + n)]) for n in range(20))
            )
            for n, result in enumerate(results):
                expected = softmax((ROWS + n) @ WEIGHTS * 2)
                np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-4)

            async def requests():
                for n in range(5):
                    yield {
                        "model_name": "iris",
                        "inputs": [tensor("x", "FP32", ROWS)],
                        "request_id": str(n),
                    }

            streamed = [pair async for pair in client.stream_infer(requests())]
            assert [(result.get_response().id, error) for result, error in streamed] == [
                (str(n), None) for n in range(5)
            ]

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("model", "inputs", "status", "message"),
    [
        ("none", {"x": ROWS}, "NOT_FOUND", "[FS202] there is no model `none`; the server has `echo`, `iris`"),
        ("iris", {"z": ROWS}, "INVALID_ARGUMENT", "[FS203] `inputs[0].name` must be one of `x`"),
        ("iris", {"x": ROWS[:, :3]}, "INVALID_ARGUMENT", "[FS205] `inputs[0].shape` must be [-1, 4]"),
        ("iris", {"x": ROWS.astype(np.float64)}, "INVALID_ARGUMENT", "[FS204] `inputs[0].datatype` must be"),
    ],
)
def test_refusals_reach_the_client(client, model, inputs, status, message):
    names = {"float32": "FP32", "float64": "FP64"}
    given = [tensor(name, names[str(array.dtype)], array) for name, array in inputs.items()]
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, given)
    assert caught.value.status() == f"StatusCode.{status}"
    assert message in caught.value.message()


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_start_on_a_bad_address(address, tmp_path):
    publish(tmp_path, "iris", iris())
    start = ("start", "--models", str(tmp_path), "--http", "127.0.0.1:0", "--grpc")
    assert "error[FS104]: the address must be HOST:PORT" in run(*start, "8001").stderr
    taken = run(*start, address)
    assert taken.returncode == 1
    assert f"error[FS104]: the server cannot listen on `{address}`: address already in use" in taken.stderr
    assert "hint: `--grpc 127.0.0.1:0` takes a free port" in taken.stderr


def test_a_signal_ends_the_server_with_0(tmp_path):
    publish(tmp_path, "iris", iris())
    with served(tmp_path) as (process, address), triton.InferenceServerClient(address) as client:
        assert client.is_server_ready()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5)

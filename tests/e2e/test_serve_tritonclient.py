"""A real `flowserve start` process with real ONNX models, asked by NVIDIA's own client and by raw sockets."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from onnx import TensorProto, helper
from onnx_models import serialised
from tritonclient.utils import InferenceServerException, shared_memory

from flowserve.shell.models.repository import publish

COMMAND = [sys.executable, "-c", "from flowserve.cli import main; main()"]
LABELS = ["setosa", "versicolor", "virginica"]
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [0, 0, 0, 0]], np.float32)


def iris(scale: float = 1.0) -> bytes:
    """A linear classifier: softmax of `scale * x @ WEIGHTS`, and the best class."""
    return serialised(
        [
            helper.make_node("MatMul", ["x", "w"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"]),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        ],
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("label", TensorProto.INT64, ["n"]), ("probabilities", TensorProto.FLOAT, ["n", 3])],
        [("w", WEIGHTS * np.float32(scale))],
    )


def echo(kinds: dict[str, int]) -> bytes:
    """Every input comes back as an output."""
    return serialised(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        [(name, kind, [None, None]) for name, kind in kinds.items()],
        [(f"{name}_out", kind, [None, None]) for name, kind in kinds.items()],
    )


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


def add_rows() -> bytes:
    """Adds two inputs whose number of rows must agree; fails where it does not."""
    return serialised(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [("a", TensorProto.FLOAT, ["n"]), ("b", TensorProto.FLOAT, ["n"])],
        [("sum", TensorProto.FLOAT, ["n"])],
    )


def pick() -> bytes:
    """Takes one of three values by index; fails beyond them."""
    return serialised(
        [helper.make_node("Gather", ["values", "index"], ["value"])],
        [("index", TensorProto.INT64, [None])],
        [("value", TensorProto.FLOAT, [None])],
        [("values", np.array([1, 2, 3], np.float32))],
    )


class Served:
    """A running process."""

    def __init__(self, process: subprocess.Popen, lines: list[str]) -> None:
        self.process, self.lines = process, lines
        self.port = int(re.search(r"^listening on http://127\.0\.0\.1:(\d+)$", lines[-1])[1])
        self.address = f"127.0.0.1:{self.port}"

    def raw(self, data: bytes) -> bytes:
        """Send bytes, and return all that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextlib.contextmanager
def served(models: Path) -> Iterator[Served]:
    command = [*COMMAND, "start", "--models", str(models), "--http", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        lines = []
        while not lines or not lines[-1].startswith("listening"):
            lines.append(process.stdout.readline().rstrip("\n"))
            assert lines[-1], "the server ended before it listened"
        yield Served(process, lines)
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Served]:
    models = tmp_path_factory.mktemp("models")
    publish(models, "iris", iris(), LABELS)
    publish(models, "iris", iris(2.0), LABELS)
    publish(models, "echo", echo({name: kind for name, (kind, _) in KINDS.items()}))
    publish(models, "half", echo({"x": TensorProto.BFLOAT16}))
    publish(models, "add", add_rows())
    publish(models, "pick", pick())
    with served(models) as running:
        yield running


@pytest.fixture
def client(server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address, concurrency=4) as client:
        yield client


def tensor(name: str, datatype: str, array: np.ndarray, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput(name, list(array.shape), datatype)
    return given.set_data_from_numpy(array, binary_data=binary)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


# NVIDIA's client


def test_what_the_server_prints(server):
    printed = [line for line in server.lines if line.startswith("iris")]
    signature = "x FP32[-1, 4] -> label INT64[-1], probabilities FP32[-1, 3]"
    assert printed == [f"iris  version 1  {signature}", f"iris  version 2  {signature}"]


def test_health_and_descriptions(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", "1")
    assert not client.is_model_ready("iris", "3")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "flowserve"
    metadata = client.get_model_metadata("iris")
    assert metadata["versions"] == ["1", "2"]
    assert client.get_model_metadata("iris", "1")["versions"] == ["1"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    config = client.get_model_config("iris", "1")
    assert config["output"][1] == {
        "name": "probabilities",
        "data_type": "TYPE_FP32",
        "dims": [-1, 3],
        "label_filename": "labels.txt",
    }
    index = client.get_model_repository_index()
    assert {"name": "iris", "version": "2", "state": "READY"} in index


@pytest.mark.parametrize("binary", [True, False])
def test_infer(client, binary):
    outputs = None if binary else [triton.InferRequestedOutput("probabilities", binary_data=False)]
    for version, scale in (("1", 1), ("2", 2), ("", 2)):
        result = client.infer(
            "iris", [tensor("x", "FP32", ROWS, binary)], version, outputs=outputs, request_id="7"
        )
        expected = softmax(ROWS @ WEIGHTS * scale)
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-5)
        assert result.get_response()["id"] == "7"
        assert result.get_response()["model_version"] == (version or "2")
    if binary:
        assert result.as_numpy("label").tolist() == [2, 0]


@pytest.mark.parametrize("binary", [True, False])
def test_every_datatype_comes_back_unchanged(client, binary):
    inputs = [tensor(name, name, array, binary) for name, (_, array) in KINDS.items()]
    outputs = [triton.InferRequestedOutput(f"{name}_out", binary_data=binary) for name in KINDS]
    result = client.infer("echo", inputs, outputs=outputs)
    for name, (_, array) in KINDS.items():
        back = result.as_numpy(f"{name}_out")
        if name == "BYTES":
            back = np.array(
                [[x.decode() if isinstance(x, bytes) else x for x in row] for row in back], object
            )
        np.testing.assert_array_equal(back, array)


def test_bfloat16(client):
    array = np.array([[1, -2.5, 3e38, np.inf]], ml_dtypes.bfloat16)
    inputs = [tensor("x", "BF16", array)]
    assert (
        client.infer("half", inputs).as_numpy("x_out").astype(float).tolist() == array.astype(float).tolist()
    )
    in_json = client.infer("half", inputs, outputs=[triton.InferRequestedOutput("x_out", binary_data=False)])
    assert in_json.get_response()["outputs"][0]["data"] == [1.0, -2.5, float(array[0, 2]), None]


def test_system_shared_memory(client):
    size, name = ROWS.nbytes, f"/flowserve-e2e-{os.getpid()}"
    given = shared_memory.create_shared_memory_region("given", f"{name}-in", size)
    taken = shared_memory.create_shared_memory_region("taken", f"{name}-out", 24)
    try:
        shared_memory.set_shared_memory_region(given, [ROWS])
        client.register_system_shared_memory("given", f"{name}-in", size)
        client.register_system_shared_memory("taken", f"{name}-out", 24)
        assert [region["name"] for region in client.get_system_shared_memory_status()] == ["given", "taken"]
        x, output = triton.InferInput("x", [2, 4], "FP32"), triton.InferRequestedOutput("probabilities")
        x.set_shared_memory("given", size)
        output.set_shared_memory("taken", 24)
        client.infer("iris", [x], "1", outputs=[output], timeout=10_000_000, priority=1)
        found = shared_memory.get_contents_as_numpy(taken, np.float32, [2, 3])
        np.testing.assert_allclose(found, softmax(ROWS @ WEIGHTS), rtol=1e-5)
        output.set_shared_memory("taken", 20)
        with pytest.raises(InferenceServerException, match="FS232"):
            client.infer("iris", [x], outputs=[output])
        client.unregister_system_shared_memory()
        assert client.get_system_shared_memory_status() == []
    finally:
        shared_memory.destroy_shared_memory_region(given)
        shared_memory.destroy_shared_memory_region(taken)


def test_statistics_and_settings(client):
    assert client.get_inference_statistics("iris", "1")["model_stats"][0]["version"] == "1"
    assert client.get_trace_settings("iris")["trace_level"] == ["OFF"]
    assert client.update_trace_settings(settings={"trace_level": None})["trace_level"] == ["OFF"]
    assert client.update_log_settings({"log_verbose_level": 0})["log_info"] is True
    assert client.get_log_settings()["log_format"] == "default"


def test_the_client_of_asyncio(server):
    async def ask():
        async with triton_aio.InferenceServerClient(server.address) as client:
            assert await client.is_model_ready("iris")
            x = triton_aio.InferInput("x", list(ROWS.shape), "FP32")
            x.set_data_from_numpy(ROWS)
            results = await asyncio.gather(*(client.infer("iris", [x], "1") for _ in range(20)))
            return [result.as_numpy("probabilities") for result in results]

    for probabilities in asyncio.run(ask()):
        np.testing.assert_allclose(probabilities, softmax(ROWS @ WEIGHTS), rtol=1e-5)


def test_no_rows(client):
    result = client.infer("iris", [tensor("x", "FP32", np.zeros((0, 4), np.float32))])
    assert result.as_numpy("probabilities").shape == (0, 3)


@pytest.mark.parametrize("binary", [True, False])
def test_classification(client, binary):
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    result = client.infer("iris", [tensor("x", "FP32", ROWS)], outputs=outputs)
    best = [
        [str(e, "utf-8") if isinstance(e, bytes) else e for e in row]
        for row in result.as_numpy("probabilities")
    ]
    assert [entry.split(":")[1:] for entry in best[0]] == [["2", "virginica"], ["1", "versicolor"]]
    assert best[1] == ["0.333333:0:setosa", "0.333333:1:versicolor"]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(client, algorithm):
    rows = np.tile(ROWS, (500, 1))
    result = client.infer(
        "iris",
        [tensor("x", "FP32", rows)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_allclose(result.as_numpy("probabilities"), softmax(rows @ WEIGHTS * 2), rtol=1e-5)


def test_requests_beside_each_other(client):
    asked = [client.async_infer("iris", [tensor("x", "FP32", ROWS + n)]) for n in range(20)]
    for n, request in enumerate(asked):
        expected = softmax((ROWS + n) @ WEIGHTS * 2)
        np.testing.assert_allclose(request.get_result().as_numpy("probabilities"), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "inputs", "status", "message"),
    [
        (
            "none",
            {"x": ROWS},
            "404",
            "[FS202] there is no model `none`; the server has `add`, `echo`, `half`",
        ),
        ("iris", {"z": ROWS}, "400", "[FS203]"),
        (
            "iris",
            {"x": ROWS[:, :3]},
            "400",
            "[FS205] `inputs[0].shape` must be [-1, 4] for input `x`, got [2, 3]",
        ),
        ("iris", {"x": ROWS.astype(np.float64)}, "400", "[FS204] `inputs[0].datatype` must be `FP32`"),
        (
            "add",
            {"a": ROWS[0], "b": ROWS[0, :3]},
            "400",
            "[FS205] the shape of input `b` must agree with `a`",
        ),
        ("pick", {"index": np.array([3])}, "500", "[FS210] the model failed: "),
    ],
)
def test_refusals_reach_the_client(client, model, inputs, status, message):
    names = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}
    given = [tensor(name, names[str(array.dtype)], array) for name, array in inputs.items()]
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, given)
    assert caught.value.status() == status
    assert message in caught.value.message()


# Raw sockets


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "FS201"),
        (b"nonsense\r\n\r\n", 400, "FS201"),
        (b"GET /v2/models/../../etc HTTP/1.1\r\n\r\n", 404, "FS209"),
        (b"GET /v2/models/%2e%2e%2f%2e%2e HTTP/1.1\r\n\r\n", 404, "FS202"),
        (b"POST /v2/models/iris/infer HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413, "FS208"),
        (b"POST /v2/models/iris/infer HTTP/1.1\r\nContent-Length: 4\r\n\r\nnull", 400, "FS201"),
        (b"POST /v2/models/iris/infer HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400, "FS201"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 413, "FS208"),
    ],
)
def test_malformed_requests(server, request_, status, code):
    answer = server.raw(request_)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith(f"[{code}] ")


def test_the_server_outlives_all_this(server, client):
    assert server.process.poll() is None
    assert client.is_server_ready()


# The command line


def test_predict_prints_the_label(server):
    done = run("predict", "iris", "[[5.1, 3.5, 1.4, 0.2], [0, 0, 0, 0]]", "--http", server.address)
    assert (done.returncode, done.stdout) == (0, "virginica  0.872\nsetosa  0.333\n")


def test_predict_in_json_and_of_a_version(server):
    done = run("predict", "iris/versions/1", "[[0, 0, 0, 0]]", "--http", server.address, "--json")
    assert json.loads(done.stdout) == [{"label": "setosa", "probability": 0.333333}]


def test_predict_without_labels(server):
    done = run("predict", "pick", "[2, 0]", "--http", server.address)
    assert (done.returncode, done.stdout) == (0, "value=3.0\nvalue=1.0\n")


@pytest.mark.parametrize(
    ("model", "rows", "message"),
    [
        ("iris", "[[1, 2]]", "error[FS205]: `inputs[0].shape` must be [-1, 4] for input `x`, got [1, 2]"),
        ("iris", "[[1, 2, 3, 4], [1]]", "error[FS302]: rows must be alike"),
        ("iris", "1, 2", "error[FS302]: the rows must be a JSON array"),
        ("iris", "[]", "got an empty one"),
        ("irsi", "[[1]]", "error[FS202]: there is no model `irsi`; the server has"),
        ("add", "[1]", "error[FS302]: rows fit a model of one input, but `add` takes `a`, `b`"),
    ],
)
def test_predict_says_what_is_wrong(server, model, rows, message):
    done = run("predict", model, rows, "--http", server.address)
    assert done.returncode == 1
    assert message in done.stderr


def test_predict_without_a_server():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        done = run("predict", "iris", "[[1]]", "--http", address)
    assert done.returncode == 1
    assert f"error[FS301]: no server answers at `http://{address}`: connection refused" in done.stderr
    assert f"hint: `flowserve start --models DIR --http {address}` starts one" in done.stderr


def test_models_lists_what_is_on_disk(tmp_path):
    publish(tmp_path, "iris", iris(), LABELS)
    done = run("models", "--models", str(tmp_path))
    assert done.stdout.splitlines() == [
        "model  versions  labels",
        "iris   1         setosa, versicolor, virginica",
    ]
    done = run("models", "--models", str(tmp_path), "--json")
    assert json.loads(done.stdout) == [{"name": "iris", "versions": [1], "labels": {"probabilities": LABELS}}]


def test_start_refuses_when_no_model_loads_and_says_why_of_each(tmp_path):
    for name, content in (("cut", iris()[:50]), ("text", b"hello"), ("outside", external("../../secret"))):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(content)
    (tmp_path / "secret").write_bytes(bytes(48))
    done = run("start", "--models", str(tmp_path), "--http", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (1, "")
    for name in ("cut", "text", "outside"):
        assert f"error[FS103]: version 1 of model `{name}` does not load: " in done.stderr
    assert "escapes model directory" in done.stderr


def external(location: str) -> bytes:
    model = onnx.load_model_from_string(iris())
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("8000", "error[FS104]: the address must be HOST:PORT"),
        ("127.0.0.1:99999", "error[FS104]: the address must be HOST:PORT"),
        ("127.0.0.1:x", "error[FS104]: the address must be HOST:PORT"),
        ("256.1.1.1:0", "error[FS104]: the server cannot listen on `256.1.1.1:0`"),
    ],
)
def test_start_on_a_bad_address(tmp_path, address, message):
    publish(tmp_path, "iris", iris())
    done = run("start", "--models", str(tmp_path), "--http", address)
    assert done.returncode == 1
    assert message in done.stderr


def test_start_on_an_address_in_use(server, tmp_path):
    publish(tmp_path, "iris", iris())
    done = run("start", "--models", str(tmp_path), "--http", server.address)
    assert done.returncode == 1
    assert (
        f"error[FS104]: the server cannot listen on `{server.address}`: address already in use" in done.stderr
    )


def test_start_without_models(tmp_path):
    done = run("start", "--models", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "error[FS101]" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_server_with_0(tmp_path, number):
    publish(tmp_path, "iris", iris())
    with served(tmp_path) as running, socket.create_connection(("127.0.0.1", running.port), 20) as idle:
        idle.sendall(b"GET /v2/health/ready HTTP/1.1\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200 ")
        os.kill(running.process.pid, number)
        assert running.process.wait(20) == 0
        assert idle.recv(100) == b""


def test_help_imports_nothing_heavy():
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'asyncio', 'uvloop', 'httptools'}"
    program = (
        "import sys\nsys.argv = ['flowserve', '--help']\nfrom flowserve.cli import main\n"
        f"try: main()\nexcept SystemExit: print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

"""Unix sockets, TLS and tokens of real `flowserve start` processes, asked by NVIDIA's clients and by ours."""

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from onnx_models import negative
from tritonclient.utils import InferenceServerException

from flowserve.shell.models.repository import publish

COMMAND = [sys.executable, "-c", "from flowserve.cli import main; main()"]
TOKEN = "a-token-for-the-tests"
ROW = np.array([1, 2], np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    publish(folder, "negative", negative())
    return folder


@contextlib.contextmanager
def served(models: Path, *options: str, **environment: str) -> Iterator[tuple[str, str, Path]]:
    """Where a process answers HTTP and gRPC, without the schemes, and the file of all that it writes."""
    log = models.parent / f"log-{os.urandom(4).hex()}"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*COMMAND, "start", "--models", str(models), *options],
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            env=os.environ | environment,
        )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        lines = []
        while not lines or not lines[-1].startswith("listening on http"):
            lines.append(process.stdout.readline().rstrip("\n"))
            assert lines[-1], log.read_text()
        grpc, http_ = (line.removeprefix("listening on ") for line in lines[-2:])
        yield bare(http_), bare(grpc), log
    finally:
        watchdog.cancel()
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


def bare(url: str) -> str:
    return url.partition("://")[2] or url.partition("+")[2]


def ask_grpc(address: str, headers=None, **settings) -> list[float]:
    with triton_grpc.InferenceServerClient(address, **settings) as client:
        given = triton_grpc.InferInput("x", [2], "FP32").set_data_from_numpy(ROW)
        return client.infer("negative", [given], headers=headers).as_numpy("y").tolist()


def predict(address: str, **environment: str) -> subprocess.CompletedProcess:
    command = [*COMMAND, "predict", "negative", "[1, 2]", "--http", address]
    environ = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)


def test_unix_sockets(models, tmp_path):
    here, there = f"unix:{tmp_path}/http.sock", f"unix:{tmp_path}/grpc.sock"
    with served(models, "--http", here, "--grpc", there) as (http_, grpc, _):
        assert (http_, grpc) == (here, there)
        assert predict(here).stdout == "y=-1.0\ny=-2.0\n"
        assert ask_grpc(there) == [-1, -2]
        taken = subprocess.run(
            [*COMMAND, "start", "--models", str(models), "--http", here],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"error[FS104]: the server cannot listen on `{here}`: address already in use" in taken.stderr
    assert list(tmp_path.glob("*.sock")) == []
    assert f"error[FS301]: no server answers at `{here}`: no such file" in predict(here).stderr


def test_tokens(models):
    options = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    with served(models, *options, FLOWSERVE_TOKENS=f"another-token-of-ours {TOKEN}") as (http_, grpc, log):
        assert f"hint: without TLS it is `http://{http_}`" in predict(f"https://{http_}").stderr
        assert predict(http_, FLOWSERVE_TOKEN=TOKEN).stdout == "y=-1.0\ny=-2.0\n"
        assert "error[FS252]" in predict(http_, FLOWSERVE_TOKEN=f"{TOKEN}x").stderr
        right, wrong = {"authorization": f"Bearer {TOKEN}"}, {"authorization": "Bearer x"}
        with triton_http.InferenceServerClient(http_) as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.get_server_metadata(headers=right)["name"] == "flowserve"
            for headers in (None, wrong):
                with pytest.raises(InferenceServerException) as caught:
                    client.get_server_metadata(headers=headers)
                assert caught.value.status() == "401"
        assert ask_grpc(grpc, right) == [-1, -2]
        for headers in (None, wrong):
            with pytest.raises(InferenceServerException, match="FS252") as caught:
                ask_grpc(grpc, headers)
            assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        with triton_grpc.InferenceServerClient(grpc) as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            with pytest.raises(InferenceServerException, match="FS252"):
                client.is_model_ready("negative")
        assert TOKEN not in log.read_text()


def test_a_body_without_a_token_is_not_waited_for(models):
    options = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    with served(models, *options, FLOWSERVE_TOKENS=TOKEN) as (http_, _, _):
        host, port = http_.split(":")
        with socket.create_connection((host, int(port)), 20) as connection:
            head = b"POST /v2/models/negative/infer HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n"
            connection.sendall(head)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, answer.getheader("WWW-Authenticate")) == (401, "Bearer")
            assert b"FS252" in answer.read()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[str, str]:
    """A certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    command = ["openssl", "req", "-x509", *kind, *names, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_tls(models, certificate):
    options = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--tls-cert", certificate[0])
    with served(models, *options, "--tls-key", certificate[1]) as (http_, grpc, _):
        assert predict(f"https://{http_}", SSL_CERT_FILE=certificate[0]).stdout == "y=-1.0\ny=-2.0\n"
        distrusted = predict(f"https://{http_}").stderr
        assert (
            f"error[FS301]: the certificate of `https://{http_}` cannot be trusted: self-signed" in distrusted
        )
        assert f"hint: where it has TLS, it is `https://{http_}`" in predict(http_).stderr
        bench = ["bench", "negative", "--http", f"https://{http_}", "--grpc", grpc, "--seconds", "0.1"]
        trusting = os.environ | {"SSL_CERT_FILE": certificate[0]}
        done = subprocess.run([*COMMAND, *bench], capture_output=True, text=True, timeout=60, env=trusting)
        assert (done.returncode, "failed" in done.stdout) == (0, False), done.stdout
        assert ask_grpc(grpc, ssl=True, root_certificates=certificate[0]) == [-1, -2]
        context = ssl.create_default_context(cafile=certificate[0])
        with triton_http.InferenceServerClient(
            http_, ssl=True, ssl_context_factory=lambda: context
        ) as client:
            rows = np.arange(100_000, dtype=np.float32)
            given = triton_http.InferInput("x", [len(rows)], "FP32").set_data_from_numpy(rows)
            np.testing.assert_array_equal(client.infer("negative", [given]).as_numpy("y"), -rows)
        host, port = http_.split(":")
        with socket.create_connection((host, int(port)), 20) as plain:
            plain.sendall(b"GET /v2 HTTP/1.1\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP")


def test_beyond_the_host(models):
    command = [*COMMAND, "start", "--models", str(models), "--http", "0.0.0.0:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "can be reached from other hosts, which needs TLS and tokens" in done.stderr
    options = ("--http", "0.0.0.0:0", "--grpc", "0.0.0.0:0", "--trust-network")
    with served(models, *options) as (http_, _, _):
        assert predict(http_.replace("0.0.0.0", "127.0.0.1")).returncode == 0

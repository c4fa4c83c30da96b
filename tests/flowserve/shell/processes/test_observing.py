"""What a server of two processes tells of itself: metrics of both, one log, use in `status`."""

import json
import os
import re
import signal
import subprocess
from http.client import HTTPConnection

import numpy as np
import pytest
import tritonclient.grpc as grpc
from onnx_models import negative
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from running import FLOWSERVE, PATIENCE_S, Server, serving, until

from flowserve.shell.models.repository import publish

INFER = "/v2/models/m/infer"
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
BODY = json.dumps({"inputs": [TENSOR]})
CONFIG = """
grpc = "127.0.0.1:0"

[access_log]
file = "access.log"
max_mb = 1

[samples]
file = "samples.log"
share = 1.0

[samples.redact]
m = ["x"]
"""


class Observed(Server):
    """One for all tests: they only add to what it has counted."""

    @property
    def http(self):
        return f"127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, headers=None):
        connection = HTTPConnection(self.http, timeout=PATIENCE_S)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        found = response.status, response.read().decode(), response.headers["Content-Type"]
        connection.close()
        return found

    def metrics(self):
        status, text, _ = self.ask("GET", "/metrics")
        assert status == 200
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in read_text(text)
            for sample in family.samples
        }

    def requests(self, code="200"):
        return self.metrics().get(
            ("flowserve_requests_total", ("code", code), ("model", "m"), ("version", "1")), 0
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    publish(folder / "models", "m", negative())
    (folder / "flowserve.toml").write_text(CONFIG)
    with serving(folder, "--processes", "2", "--config", "flowserve.toml", kind=Observed) as server:
        yield server


def test_one_answer_has_what_both_processes_counted(server):
    before, refused = server.requests(), server.requests("400")
    for _ in range(20):  # each over a connection of its own, which either process may take
        assert server.ask("POST", INFER, BODY)[0] == 200
    assert server.ask("POST", INFER, "{}")[0] == 400
    found = server.metrics()
    assert server.requests() == before + 20
    assert server.requests("400") == refused + 1
    assert found["flowserve_model_loaded", ("model", "m"), ("version", "1")] == 2
    assert found["flowserve_process_resident_bytes", ("process", "0")] > 2**20
    assert found["flowserve_process_resident_bytes", ("process", "1")] > 2**20
    stage = ("model", "m"), ("stage", "inference"), ("version", "1")
    assert found["flowserve_stage_duration_seconds_count", *stage] == before + 20


def test_grpc_is_counted_with_it(server):
    before = server.requests()
    with grpc.InferenceServerClient(server.grpc) as client:
        given = grpc.InferInput("x", [1], "FP32").set_data_from_numpy(np.ones(1, np.float32))
        client.infer("m", [given], request_id="by-grpc", client_timeout=PATIENCE_S)
    assert server.requests() == before + 1
    assert server.metrics()["flowserve_answers_total", ("code", "200"), ("protocol", "grpc")] >= 1
    log = server.folder / "access.log"
    line = until(lambda: next((of for of in log.read_text().splitlines() if "by-grpc" in of), None))
    assert json.loads(line)["protocol"] == "grpc"


def test_openmetrics_for_who_accepts_it(server):
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    status, text, kind = server.ask("GET", "/metrics", headers=accept)
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert {family.name for family in read_openmetrics(text)} >= {
        "flowserve_requests",
        "flowserve_generation",
    }
    assert "stage_duration" not in server.ask("GET", "/metrics?stages=false")[1]


def test_both_write_into_one_log_and_samples_hide_what_is_redacted(server):
    ids = {f"id-{number}" for number in range(20)}
    for one in ids:
        server.ask("POST", INFER, BODY, {"X-Request-Id": one})

    def logged(name):
        lines = [json.loads(line) for line in (server.folder / name).read_text().splitlines()]
        found = {line["request_id"]: line for line in lines}
        return found if ids <= found.keys() else None

    assert {until(lambda: logged("access.log"))[one]["code"] for one in ids} == {200}
    samples = until(lambda: logged("samples.log"))
    assert {samples[one]["inputs"]["x"].get("redacted") for one in ids} == {True}
    assert {samples[one]["outputs"]["y"]["data"][0] for one in ids} == {-1.0}


def test_status_and_models_tell_of_use(server):
    server.ask("POST", INFER, BODY)
    state = json.loads(server.command("status", "--json").stdout)
    assert state["use"]["requests"] == server.requests()
    assert 0 < state["use"]["p50_ms"] <= state["use"]["p99_ms"]
    assert state["resident_bytes"] > 2**20
    text = server.command("status").stdout
    assert re.search(r"\d+ requests answered, \d+ refused, .*/s now, p50 .*, p99 ", text)
    rows = server.command("models", "--running").stdout.splitlines()
    assert rows[0].split()[:5] == ["model", "version", "state", "aliases", "requests"]
    assert rows[1].split()[:3] == ["m", "1", "ready"]


def test_bench_reports_what_it_did(server):
    quick = ("--seconds", "0.3", "--warm-up", "0.1", "--connections", "2", "--json")
    for more in ((), ("--binary",), ("--grpc", server.grpc), ("--rate", "100")):
        done = json.loads(server.command("bench", "m", *quick, *more).stdout)
        assert done["answered"] > 5
        assert done["failed"] == {}
        assert done["latency_us"]["p50"] <= done["latency_us"]["p99.9"]
        assert done["server_us"].keys() == {"parse", "queue", "inference", "serialise"}


def test_bench_prints_what_there_is_when_it_is_interrupted(server):
    command = [FLOWSERVE, "bench", "m", "--http", server.http, "--seconds", "60", "--json"]
    before = server.requests()
    with subprocess.Popen(command, env=server.env, stdout=subprocess.PIPE, text=True) as bench:
        until(lambda: server.requests() > before + 10)
        bench.send_signal(signal.SIGINT)
        text, _ = bench.communicate(timeout=PATIENCE_S)
    assert json.loads(text)["seconds"] < 60
    assert bench.returncode == 130


def test_bench_prints_what_there_is_when_the_server_has_ended(tmp_path):
    publish(tmp_path / "models", "m", negative())
    with serving(tmp_path) as ending:
        here, times = f"127.0.0.1:{ending.port}", ["--warm-up", "0", "--seconds", "60"]
        command = [FLOWSERVE, "bench", "m", "--http", here, *times, "--json"]
        with subprocess.Popen(command, env=ending.env, stdout=subprocess.PIPE, text=True) as bench:
            until(lambda: b'"inference_count":0' not in ending.ask("GET", "/v2/models/m/stats")[1])
            ending.end()
            bench.send_signal(signal.SIGINT)
            text, _ = bench.communicate(timeout=PATIENCE_S)
    assert json.loads(text)["server_us"] == {}
    assert bench.returncode == 130


def test_what_a_killed_process_had_counted_counts_on(server):
    server.ask("POST", INFER, BODY)
    before = server.requests()  # and with that the supervisor knows
    restarts = server.metrics()["flowserve_restarts_total",]
    os.kill(json.loads(server.command("status", "--json").stdout)["processes"][0], signal.SIGKILL)
    until(lambda: server.metrics()["flowserve_restarts_total",] == restarts + 1)
    assert server.requests() >= before
    (stats,) = json.loads(server.ask("GET", "/v2/models/m/stats")[1])["model_stats"]
    assert stats["inference_stats"]["success"]["count"] >= before

"""A server as people run it: real processes, real sockets, kill -9."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from running import FLOWSERVE, PATIENCE_S, scaling, serving, until
from tritonclient.utils import InferenceServerException

from flowc.plan.machine import whole_processors
from flowserve.shell.models.repository import publish


def ask_grpc(client: grpc.InferenceServerClient, model: str) -> float:
    """What the model makes of 1."""
    given = grpc.InferInput("x", [1], "FP32").set_data_from_numpy(np.ones(1, np.float32))
    return float(client.infer(model, [given], client_timeout=PATIENCE_S).as_numpy("y")[0])


def answers_grpc(address: str) -> bool:
    with grpc.InferenceServerClient(address) as client, contextlib.suppress(InferenceServerException):
        return client.is_server_ready()
    return False


@pytest.fixture
def models(tmp_path) -> Path:
    publish(tmp_path / "models", "m", scaling(1))
    return tmp_path / "models"


def test_a_process_that_is_killed_is_absorbed(models, tmp_path):
    with serving(tmp_path, "--processes", "2") as server:
        before = server.status()["processes"]
        os.kill(before[0], signal.SIGKILL)
        # New connections are for the one that lives: the two accept from the same queue.
        assert [server.predict() for _ in range(20)] == [1.0] * 20
        after = until(lambda: len(found := server.status()["processes"]) == 2 and found)
        assert before[1] in after
        assert before[0] not in after
        assert server.predict() == 1.0
        assert server.status()["restarts"] == 1
        assert server.end() == 0


def test_the_only_process_that_is_killed_is_waited_for(models, tmp_path):
    with serving(tmp_path) as server:
        server.command("alias", "m", "production", "1")
        os.kill(server.status()["processes"][0], signal.SIGKILL)
        assert server.predict("m@production") == 1.0  # in the queue of the socket until there is another


def test_a_new_version_is_found_and_an_alias_moves_in_all_processes_at_once(models, tmp_path):
    with serving(tmp_path, "--processes", "2") as server:
        assert "production" in server.command("deploy", "m", "1").stdout
        publish(models, "m", scaling(2))
        assert until(lambda: server.predict() == 2.0)
        assert server.predict("m@production") == 1.0
        connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=30) for _ in range(8)]
        assert {server.predict("m@production", c) for c in connections} == {1.0}
        assert server.command("deploy", "m", "2").returncode == 0
        assert {server.predict("m@production", c) for c in connections} == {2.0}
        assert json.loads((models / "m" / "aliases.json").read_text()) == {"production": 2}


def test_a_version_that_fails_takes_no_traffic_and_moves_no_alias(models, tmp_path):
    with serving(tmp_path) as server:
        server.command("deploy", "m", "1")
        (models / "m" / "2").mkdir()
        (models / "m" / "2" / "model.onnx").write_bytes(scaling(2)[:-20])
        refused = server.command("deploy", "m", "2")
        assert refused.returncode == 1
        assert "nothing was changed" in refused.stderr
        assert server.predict() == server.predict("m@production") == 1.0
        golden = {"cases": [{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [3]}]}]}
        golden["cases"][0]["outputs"] = [{"name": "y", "datatype": "FP32", "shape": [1], "data": [6.5]}]
        (models / "m" / "2" / "golden.json").write_text(json.dumps(golden))
        (models / "m" / "2" / "model.onnx").write_bytes(scaling(2))
        refused = server.command("deploy", "m", "2")
        assert "fails its golden case 0: output `y` is off by 0.5, more than 0.001" in refused.stderr
        golden["cases"][0]["outputs"][0]["data"] = [6.0]
        (models / "m" / "2" / "golden.json").write_text(json.dumps(golden))
        assert server.command("deploy", "m", "2").returncode == 0
        assert server.predict("m@production") == 2.0


def test_what_waits_to_be_asked_for_is_loaded_before_somebody_names_it(models, tmp_path):
    (tmp_path / "c.toml").write_text("tier = 4\n")
    with serving(tmp_path, "--config", "c.toml") as server:
        assert server.command("deploy", "m", "1").returncode == 0
        (models / "m" / "2").mkdir()
        (models / "m" / "2" / "model.onnx").write_bytes(scaling(2)[:-20])
        assert server.command("load", "m").returncode == 0  # it is there; nobody has loaded it
        for command in (("deploy", "m", "2"), ("rollout", "start", "m", "2"), ("load", "m@2")):
            refused = server.command(*command)
            assert refused.returncode == 1
            assert "version 2 of model `m` does not load" in refused.stderr
        assert server.predict("m@production") == 1.0
        (models / "m" / "2" / "model.onnx").write_bytes(scaling(2))
        assert server.command("deploy", "m", "2").returncode == 0
        assert server.predict("m@production") == 2.0


def test_aliases_outlive_the_server_and_unloaded_models_are_refused(models, tmp_path):
    publish(models, "m", scaling(2))
    with serving(tmp_path) as server:
        server.command("alias", "m", "default", "1")
        assert server.predict() == 1.0
        assert "`default` names it" in server.command("unload", "m@1").stderr
    with serving(tmp_path) as server:
        assert server.predict() == 1.0
        assert server.command("unload", "m").returncode == 0
        assert "[FS202]" in server.predict()
        assert server.command("load", "m").returncode == 0
        assert server.predict() == 1.0
        assert server.command("stop").returncode == 0
        assert server.process.wait(PATIENCE_S) == 0


def test_no_request_fails_while_versions_come_and_a_process_is_not_the_same_for_all(models, tmp_path):
    """Requests on kept connections while ten versions are published and deployed."""
    with serving(tmp_path, "--processes", "2") as server:
        server.command("deploy", "m", "1")
        stop, answers, wrong = threading.Event(), [], []

        def ask():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            last = 0.0
            while not stop.is_set():
                answer = server.predict("m@production", connection)
                answers.append(answer)
                if not isinstance(answer, float) or answer < last:
                    wrong.append(answer)
                else:
                    last = answer

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for version in range(2, 6):
            publish(models, "m", scaling(version))
            assert server.command("deploy", "m", str(version)).returncode == 0
        stop.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert answers[-1] == 5.0


def test_cold_models_are_loaded_when_they_are_asked_for_and_go_when_there_is_no_room(models, tmp_path):
    for number in range(4):
        publish(models, f"large{number}", scaling(number, padding_mb=8))
    (tmp_path / "c.toml").write_text("tier = 3\nmemory_mb = 36\n[model.m]\ntier = 1\n")
    with serving(tmp_path, "--config", "c.toml") as server:
        assert server.predict("large3/versions/1") == 3.0
        for _ in range(3):
            assert [server.predict(f"large{number}") for number in range(4)] == [0.0, 1.0, 2.0, 3.0]
        assert server.predict() == 1.0


def test_what_is_cold_is_loaded_to_be_described_but_not_to_be_listed(models, tmp_path):
    (tmp_path / "c.toml").write_text("tier = 4\n")
    with serving(tmp_path, "--config", "c.toml", "--grpc", "127.0.0.1:0") as server:
        assert b"loaded when it is asked for" in server.ask("GET", "/")[1]
        assert b'"/predict/m"' in server.ask("GET", "/openapi.json")[1]
        assert b"loaded when it is asked for" in server.ask("GET", "/")[1]
        assert b"<textarea" in server.ask("GET", "/predict/m")[1]
        assert b"FP32[-1]" in server.ask("GET", "/")[1]
        publish(models, "n", scaling(3))
        publish(models, "o", scaling(4))
        with grpc.InferenceServerClient(server.grpc) as client:
            assert until(lambda: client.is_model_ready("o"))
            assert ask_grpc(client, "n") == 3.0
            assert client.get_model_metadata("o").inputs[0].name == "x"
        assert server.ask("POST", "/predict/m", [5])[0] == 200


def test_small_models_have_a_process_for_each_processor(models, tmp_path):
    with serving(tmp_path, "--processes", "0") as server:
        assert until(lambda: len(server.status()["processes"]) == whole_processors())


def test_what_requests_leave_holds_in_all_processes_and_in_one_that_is_started_again(models, tmp_path):
    """Shared memory and log settings, asked over connections that go to either process."""
    with serving(tmp_path, "--processes", "2") as server, shared_floats(3.0) as key:
        region = {"key": key, "offset": 0, "byte_size": 4}
        assert server.ask("POST", "/v2/systemsharedmemory/region/r/register", region) == (200, b"")
        assert server.ask("POST", "/v2/logging", {"log_verbose_level": 1})[0] == 200
        assert seen_by(server, 8) == {(3.0, 1)}
        before = server.status()["processes"]
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(found := server.status()["processes"]) == 2 and before[0] not in found)
        os.kill(before[1], signal.SIGSTOP)  # so that the new one answers
        try:
            assert seen_by(server, 1) == {(3.0, 1)}
        finally:
            os.kill(before[1], signal.SIGCONT)
        assert server.ask("POST", "/v2/systemsharedmemory/unregister", {}) == (200, b"")
        assert seen_by(server, 8) == {("FS232", 1)}


@contextlib.contextmanager
def shared_floats(value: float):
    with contextlib.closing(shared_memory.SharedMemory(create=True, size=4)) as memory:
        memory.buf[:4] = np.float32(value).tobytes()
        yield f"/{memory.name.lstrip('/')}"
        memory.unlink()


def seen_by(server, connections: int) -> set:
    """What the model `m` makes of the region `r`, and the log level, over each of some connections."""
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": place}]}
    clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=30) for _ in range(connections)]
    found = set()
    for client in clients:
        client.connect()
    for client in clients:
        client.request("POST", "/v2/models/m/infer", json.dumps(body))
        answer = json.loads(client.getresponse().read())
        client.request("GET", "/v2/logging")
        level = json.loads(client.getresponse().read())["log_verbose_level"]
        y = answer["outputs"][0]["data"][0] if "outputs" in answer else answer["error"][1:6]
        found.add((y, level))
        client.close()
    return found


def test_all_protocols_answer_in_all_processes(models, tmp_path):
    publish(models, "m", scaling(2))
    options = ("--processes", "2", "--grpc", "127.0.0.1:0", "--model-control")
    with serving(tmp_path, *options) as server:
        server.command("deploy", "m", "1")
        clients = [grpc.InferenceServerClient(server.grpc) for _ in range(8)]
        for version in (1, 2):
            assert server.command("deploy", "m", str(version)).returncode == 0
            assert {ask_grpc(client, "m@production") for client in clients} == {version}
        # What one process is asked for is done in all.
        clients[0].unload_model("m")
        for client in clients:
            assert not client.is_model_ready("m")
        assert "[FS202]" in server.predict()
        status, index = server.ask("POST", "/v2/repository/index", {})
        states = [(entry["version"], entry["state"], entry["reason"]) for entry in json.loads(index)]
        assert states == [("1", "UNAVAILABLE", "unloaded"), ("2", "UNAVAILABLE", "unloaded")]
        assert server.ask("POST", "/v2/repository/models/m/load")[0] == 200
        assert {ask_grpc(client, "m") for client in clients} == {2.0}
        status, said = server.ask("POST", "/v2/repository/models/none/load")
        assert (status, b"[FS107]" in said) == (400, True)
        for client in clients:
            client.close()
        os.kill(server.status()["processes"][0], signal.SIGKILL)
        until(lambda: server.status()["restarts"] == 1 and len(server.status()["processes"]) == 2)
        with grpc.InferenceServerClient(server.grpc) as client:
            assert until(lambda: ask_grpc(client, "m") == 2.0)
        assert server.end() == 0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_was_asked_is_counted_over_all_processes(models, tmp_path, processes):
    with serving(tmp_path, "--grpc", "127.0.0.1:0", "--processes", processes) as server:
        for _ in range(4):
            with grpc.InferenceServerClient(server.grpc) as client:
                ask_grpc(client, "m")
            server.predict()
        assert "[FS2" in server.predict("m/versions/2")
        (stats,) = json.loads(server.ask("GET", "/v2/models/m/stats")[1])["model_stats"]
        assert (stats["inference_count"], stats["execution_count"]) == (8, 8)
        assert server.ask("GET", "/v2/models/none/stats")[0] == 404
        for stage in ("success", "compute_input", "compute_infer", "compute_output"):
            assert stats["inference_stats"][stage]["count"] == 8
            assert stats["inference_stats"][stage]["ns"] > 0


def test_the_control_socket_of_a_server_on_a_unix_socket(models, tmp_path):
    address = f"unix:{tmp_path}/s"
    with serving(tmp_path, "--http", address, "--grpc", f"unix:{tmp_path}/g") as server:
        for _ in range(2):
            done = server.command("status", "--json", address=address)
            (process,) = json.loads(done.stdout)["processes"]
            assert server.command("predict", "m", "[1]", address=address).stdout == "y=1.0\n"
            with grpc.InferenceServerClient(f"unix:{tmp_path}/g") as client:
                assert ask_grpc(client, "m") == 1.0
            os.kill(process, signal.SIGKILL)
            until(lambda: (tmp_path / "g").exists() and (tmp_path / "s").exists())
            until(lambda: server.command("predict", "m", "[1]", address=address).returncode == 0)
            until(lambda: answers_grpc(f"unix:{tmp_path}/g"))
        assert server.command("stop", address=address).returncode == 0
        assert not (tmp_path / "g").exists()
        assert not (tmp_path / "s").exists()


def test_grpc_that_cannot_listen_ends_the_server(models, tmp_path):
    with serving(tmp_path, "--grpc", "127.0.0.1:0") as server:
        command = [FLOWSERVE, "start", "--http", "127.0.0.1:0", "--grpc", server.grpc]
        done = subprocess.run(
            command, cwd=tmp_path, env=server.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert f"error[FS104]: the server cannot listen on `{server.grpc}`" in done.stderr


def test_a_model_that_has_no_room_is_refused(models, tmp_path):
    publish(models, "huge", scaling(2, padding_mb=9))
    (tmp_path / "c.toml").write_text("memory_mb = 8\n")
    with serving(tmp_path, "--config", "c.toml") as server:
        assert "[FS260]" in server.predict("huge")
        assert server.predict() == 1.0


def test_the_workers_end_with_a_supervisor_that_is_killed(models, tmp_path):
    with serving(tmp_path) as server:
        worker = server.status()["processes"][0]
        server.process.kill()
        until(lambda: not Path(f"/proc/{worker}").exists() or "Z" in _state(worker))


def test_a_terminal_that_goes_away_ends_a_server_gently_but_not_under_nohup(models, tmp_path):
    """To all processes, as when a session ends. Half a request waits for its end: that is under way."""
    head = b"POST /predict/m HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\n\r\n"
    with serving(tmp_path, "--http", "127.0.0.1:0") as server:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as client:
            client.sendall(head + b"[")
            until(lambda: server.status()["connections"] == 1)
            for process in (server.process.pid, *server.status()["processes"] * 2):
                os.kill(process, signal.SIGHUP)
            client.sendall(b"4]")
            assert b'"y":4' in client.recv(4096).replace(b" ", b"")
        assert server.process.wait(PATIENCE_S) == 0
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving(tmp_path) as server:
            for process in (server.process.pid, *server.status()["processes"]):
                os.kill(process, signal.SIGHUP)
            assert server.predict() == 1.0
            assert server.status()["restarts"] == 0
            assert server.end() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def _state(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


def test_what_is_said_of_a_model_holds_and_is_told(models, tmp_path):
    (tmp_path / "c.toml").write_text(
        '[model.m]\nbatching = "on"\nmax_rows = 8\npreferred_rows = 4\ndelay_ms = 2.5\ntimeout_ms = 900\n'
        "queue = 7\nthreads = 2\nconcurrency = 3\npriority = 2\n[model.none]\n"
    )
    with serving(tmp_path, "--config", "c.toml", "--grpc", "127.0.0.1:0") as server:
        assert "settings of model `none`, which the repository has not" in server.status()["events"][0]
        said = json.loads(server.ask("GET", "/v2/models/m/config")[1])
        batching = said["dynamic_batching"]
        assert (batching["preferred_batch_size"], batching["max_queue_delay_microseconds"]) == ([4], 2500)
        assert batching["default_queue_policy"]["default_timeout_microseconds"] == 900_000
        with grpc.InferenceServerClient(server.grpc) as client:
            config = client.get_model_config("m").config
            assert ask_grpc(client, "m") == 1.0
        assert config.instance_group[0].count == 3
        assert config.dynamic_batching.default_priority_level == 2
        assert config.dynamic_batching.default_queue_policy.max_queue_size == 7
        parameters = {name: value.string_value for name, value in config.parameters.items()}
        expected = {"intra_op_thread_count": "2", "max_rows": "8", "tier": "2", "weights": "prepacked"}
        assert parameters == expected


@pytest.mark.slow  # what is regular takes its seconds
def test_what_is_asked_for_regularly_is_loaded_before_somebody_asks(models, tmp_path):
    for name in ("often", "once"):
        publish(models, name, scaling(2, padding_mb=10))
    (tmp_path / "c.toml").write_text("tier = 3\nmemory_mb = 15\n")
    with serving(tmp_path, "--config", "c.toml") as server:
        for _ in range(50):
            assert server.predict("often") == 2.0
            time.sleep(0.1)  # so that several looks find some
        assert server.predict("once") == 2.0
        page = server.ask("GET", "/")[1].decode()
        assert re.search(r"often.*loaded when it is asked for.*once", page, re.DOTALL)
        server.command("unload", "once")
        until(lambda: re.search(r"often.*?FP32.*(once|$)", server.ask("GET", "/")[1].decode(), re.DOTALL))

"""A server among broken files, full disks, killed processes, jumping clocks and crowds."""

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import onnx
import pytest
import tritonclient.grpc as grpc
from onnx import TensorProto, helper
from running import FLOWSERVE, PATIENCE_S, scaling, serving, until

from flowserve.shell.models.repository import publish


@pytest.fixture
def models(tmp_path) -> Path:
    """A repository with a model `m` that gives what it is given."""
    publish(tmp_path / "models", "m", scaling(1))
    return tmp_path / "models"


def with_unknown_operator() -> bytes:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Sorcery", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def with_weights_at(location: str) -> bytes:
    model = onnx.load_from_string(scaling(2))
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return model.SerializeToString()


def put(models: Path, version: int, content: bytes | None) -> None:
    """A version as somebody puts it there who checks nothing."""
    folder = models / f".{version}"
    shutil.copytree(models / "m" / "1", folder)
    if content is None:
        (folder / "model.onnx").unlink()
    else:
        (folder / "model.onnx").write_bytes(content)
    folder.rename(models / "m" / str(version))


BROKEN = {
    "cut short": (scaling(2, padding_mb=1)[:500_000], "does not load"),
    "empty": (b"", "does not load"),
    "no model": (b"# a page about models\n" * 100, "does not load"),
    "an operator that nobody knows": (with_unknown_operator(), "Sorcery"),
    "weights outside its folder": (with_weights_at("../../secret"), "does not load"),
    "weights anywhere": (with_weights_at("/etc/passwd"), "does not load"),
    "weights that are gone": (with_weights_at("weights"), "does not load"),
    "no file": (None, "model.onnx"),
}


def test_a_version_that_is_broken_takes_no_traffic_and_says_why(models, tmp_path):
    (tmp_path / "secret").write_bytes(b"\0\0\0@")
    with serving(tmp_path, "--processes", "2") as server:
        for version, (title, (content, reason)) in enumerate(BROKEN.items(), start=2):
            put(models, version, content)
            done = server.command("deploy", "m", str(version))
            assert done.returncode == 1, title
            assert "Traceback" not in done.stderr, title
            assert reason in done.stderr, (title, done.stderr)
            assert "`m`" in done.stderr, (title, done.stderr)
            assert server.predict() == 1.0, title
        assert server.status()["restarts"] == 0
        assert server.end() == 0


def test_a_server_starts_with_what_loads_and_tells_of_the_rest(models, tmp_path):
    """A deployment that failed, and then a restart: the same as in a server that runs on."""
    for version, content in ((2, with_unknown_operator()), (3, scaling(3)), (4, b"no model")):
        put(models, version, content)
    (models / "m" / "aliases.json").write_text('{"production": 4, "stable": 1, "gone": 9}')
    publish(models, "n", scaling(5))
    (models / "n" / "1" / "model.onnx").write_bytes(scaling(5)[:40])
    publish(models, "o", scaling(6))
    (models / "o" / "aliases.json").write_text("{")
    (models / "both" / "1").mkdir(parents=True)
    (models / "both" / "1" / "pipeline.toml").write_text(PIPELINE)
    with serving(tmp_path, "--grpc", "127.0.0.1:0") as server:
        said = server.said()
        for version in (2, 4):
            assert f"warning[FS103]: version {version} of model `m` does not load" in said
        assert "warning[FS103]: version 1 of model `n` does not load" in said
        assert "warning[FS102]: `aliases.json` must be" in said
        assert "`both`" not in said
        assert "`flowserve load NAME` tries again" in said
        events = "\n".join(server.status()["events"])
        assert all(f"not served: version {v} of model `m` does not load" in events for v in (2, 4))
        assert "`m@gone` names version 9, which the repository has not" in events

        assert server.predict() == server.predict("both") == 3.0  # the newest that loads
        assert server.predict("m@stable") == 1.0
        assert "[FS103] `m@production` names version 4, which does not serve" in server.predict(
            "m@production"
        )
        assert "[FS103] version 2 of model `m`" in server.predict("m/versions/2")
        assert "[FS103] no version of model `n` serves" in server.predict("n")
        ready = {path: server.ask("GET", f"/v2/models/{path}/ready")[0] for path in READY}
        assert ready == READY
        assert server.ask("GET", "/v2/health/ready")[0] == 200
        with grpc.InferenceServerClient(server.grpc) as client:
            assert not client.is_model_ready("n")
            assert client.is_model_ready("m")

        (models / "m" / "4" / "model.onnx").write_bytes(scaling(4))
        (models / "n" / "1" / "model.onnx").write_bytes(scaling(5))
        assert server.command("load", "m@4").returncode == server.command("load", "n").returncode == 0
        assert server.predict("m@production") == server.predict() == server.predict("both") == 4.0
        assert server.predict("n") == 5.0
        assert server.end() == 0


READY = {"m": 200, "m@production": 503, "m/versions/2": 503, "m/versions/9": 404, "n": 503, "o": 404}
PIPELINE = """
inputs = ["x"]
outputs = ["y"]

[[step]]
model = "m"
inputs = { x = "x" }
outputs = { y = "y" }
"""


def test_what_is_taken_away_while_it_serves_leaves_and_the_rest_stays(models, tmp_path):
    publish(models, "m", scaling(2))
    publish(models, "n", scaling(7))
    with serving(tmp_path) as server:
        assert server.predict() == 2.0
        shutil.rmtree(models / "m" / "2")
        until(lambda: server.predict() == 1.0)
        shutil.rmtree(models / "m")
        until(lambda: "[FS202]" in str(server.predict()))
        assert server.predict("n") == 7.0
        shutil.rmtree(models)  # the repository itself: what is served goes on, or leaves; the server stays
        until(lambda: server.status()["events"])
        assert server.ask("GET", "/v2/health/live")[0] == 200
        publish(models, "m", scaling(3))
        until(lambda: server.predict() == 3.0)
        assert server.end() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_an_alias_that_cannot_be_written_down_moves_and_tells(models, tmp_path):
    publish(models, "m", scaling(2))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        shutil.copytree(models, disk / "models")
        with serving(tmp_path, "--models", str(disk / "models")) as server:
            assert server.command("deploy", "m", "1").returncode == 0
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
            done = server.command("deploy", "m", "2")
            # Who rolls back a bad version cannot wait for somebody to clean up.
            assert "is not kept after a restart: [Errno 28] No space left on device" in done.stdout
            assert server.predict("m@production") == 2.0
            aliases = disk / "models" / "m" / "aliases.json"
            assert json.loads(aliases.read_text()) == {"production": 1}
            filler.unlink()
            assert "is not kept" not in server.command("deploy", "m", "2").stdout
            assert json.loads(aliases.read_text()) == {"production": 2}
            assert server.end() == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_deployers_at_the_same_time_take_turns(models, tmp_path):
    publish(models, "m", scaling(2))
    with serving(tmp_path, "--processes", "2") as server:
        assert server.command("deploy", "m", "1").returncode == 0
        answers: Counter[float | str] = Counter()
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                answers[server.predict("m@production")] += 1

        asking = threading.Thread(target=ask)
        asking.start()
        command = [FLOWSERVE, "deploy", "m", "--http", f"127.0.0.1:{server.port}"]
        deployers = [
            subprocess.Popen(
                [*command, str(version)], env=server.env, cwd=tmp_path, stdout=subprocess.DEVNULL
            )
            for _ in range(5)
            for version in (1, 2)
        ]
        ended = [deployer.wait(PATIENCE_S) for deployer in deployers]
        is_over.set()
        asking.join()
        assert ended == [0] * len(deployers)
        assert set(answers) <= {1.0, 2.0}
        aliases = json.loads((models / "m" / "aliases.json").read_text())
        assert {server.predict("m@production") for _ in range(8)} == {float(aliases["production"])}


def test_only_what_was_under_way_is_lost_with_a_process_that_is_killed(models, tmp_path):
    clients = 4
    failed: list[int] = []
    is_over = threading.Event()

    def ask(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})
        lost = 0
        while not is_over.is_set():
            try:
                connection.request("POST", "/v2/models/m/infer", body)
                assert json.loads(connection.getresponse().read())["outputs"][0]["data"] == [1.0]
            except (OSError, http.client.HTTPException):
                lost += 1
                connection.close()  # the next request opens it again
        connection.close()
        failed.append(lost)

    with serving(tmp_path, "--processes", "2") as server:
        threads = [threading.Thread(target=ask, args=(server.port,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        kills = 3
        for number in range(1, kills + 1):
            os.kill(server.status()["processes"][0], signal.SIGKILL)
            until(lambda n=number: (s := server.status())["restarts"] == n and len(s["processes"]) == 2)
        is_over.set()
        for thread in threads:
            thread.join()
        # Each client has one request under way, and may find its idle connection closed once.
        assert max(failed) <= 2 * kills
        assert server.end() == 0


def test_a_process_that_hangs_is_killed_and_started_again(models, tmp_path):
    (tmp_path / "c.toml").write_text("[limits]\nsilent_s = 2\n")
    with serving(tmp_path, "--config", "c.toml", "--processes", "2") as server:
        hanging = server.status()["processes"][0]
        os.kill(hanging, signal.SIGSTOP)
        until(lambda: hanging not in (now := server.status()["processes"]) and len(now) == 2)
        assert server.command("deploy", "m", "1").returncode == 0
        assert server.predict("m") == 1.0
        told = [event for event in server.status()["events"] if "no sign of life" in event]
        assert len(told) == 1


JUMPING = """
import os, time
_real = time.time
def _jumped():
    try:
        return _real() + float(open(os.environ["JUMP"]).read() or 0)
    except OSError:
        return _real()
time.time = _jumped
"""


def test_a_clock_that_jumps_changes_nothing(models, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(JUMPING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("JUMP", str(tmp_path / "jump"))
    publish(models, "m", scaling(2))
    with serving(tmp_path, "--processes", "2") as server:
        for jump in (-10_000_000, 10_000_000, 0):
            (tmp_path / "jump").write_text(str(jump))
            began = time.monotonic()
            assert server.predict() == 2.0
            assert server.command("deploy", "m", "1").returncode == 0
            assert server.predict("m@production") == 1.0
            assert len(server.status()["processes"]) == 2
            # A deadline is not passed because a clock says so.
            body = {
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}],
                "parameters": {"timeout": 20_000_000},
            }
            assert server.ask("POST", "/v2/models/m/infer", body)[0] == 200
            assert time.monotonic() - began < PATIENCE_S
        assert server.status()["restarts"] == 0
        assert server.end() == 0


CROWD = """
import resource, socket, sys, time
port, many = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(many)]
print("there", flush=True)
sys.stdin.read()
"""
MOST_KB = 24  # of memory for a connection that only is there


def resident_kb(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_ten_thousand_idle_connections(models, tmp_path):
    many = 10_000
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < many + 500:
        pytest.skip("this host lets a process have fewer files")
    (tmp_path / "c.toml").write_text(f"[limits]\nconnections = {many + 100}\n")
    with serving(tmp_path, "--config", "c.toml") as server:
        [process] = server.status()["processes"]
        assert server.predict() == 1.0
        before_kb = resident_kb(process)
        crowd = subprocess.Popen(
            [sys.executable, "-c", CROWD, str(server.port), str(many)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert crowd.stdout.readline() == "there\n"
            assert server.predict() == 1.0  # accepted after all the others
            grown_kb = resident_kb(process) - before_kb
            assert grown_kb < many * MOST_KB
            assert server.ask("GET", "/v2/health/ready")[0] == 200
        finally:
            crowd.communicate("")
        assert server.predict() == 1.0
        assert server.end() == 0


def test_more_connections_than_are_allowed_are_turned_away_and_hurt_nobody(models, tmp_path):
    (tmp_path / "c.toml").write_text("[limits]\nconnections = 10\n")
    with serving(tmp_path, "--config", "c.toml") as server:
        mine = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        assert server.predict(connection=mine) == 1.0
        crowd = [socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) for _ in range(30)]
        turned_away = [one for one in crowd[-20:] if one.recv(12) == b"HTTP/1.1 503"]
        assert len(turned_away) == 20
        assert server.predict(connection=mine) == 1.0
        for one in crowd:
            one.close()
        mine.close()
        until(lambda: server.predict() == 1.0)

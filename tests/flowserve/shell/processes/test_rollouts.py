"""Rollouts of real servers, under load: candidates good and bad, killed processes, two who deploy."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
from collections import Counter

import numpy as np
import pytest
import tritonclient.grpc as grpc
from onnx import TensorProto, helper, numpy_helper
from running import FLOWSERVE, PATIENCE_S, scaling, serving, until

from flowserve.core.rollout.sides import position
from flowserve.shell.models.repository import publish

# What tests wait for comes soon, and a machine with other work to do makes no candidate a bad one.
QUICK = ("--step-time", "0.2", "--min-requests", "40", "--max-error-rate", "0.2", "--max-latency-ratio", "20")


def slow() -> bytes:
    """`y = x`, after a while."""
    weights = np.full((500, 500), 1e-6, np.float32)
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["weights", "largest"], ["scaled"]),
        *(helper.make_node("MatMul", [f"m{i}", "weights"], [f"m{i + 1}"]) for i in range(4)),
        helper.make_node("ReduceMin", ["m4"], ["smallest"], keepdims=0),
        helper.make_node("Mul", ["smallest", "zero"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    nodes[1].output[0] = "m0"
    return model(nodes, weights=weights, zero=np.float32(0))


def failing() -> bytes:
    """Takes seven numbers only."""
    return model([helper.make_node("Reshape", ["x", "shape"], ["y"])], shape=np.int64([7]))


def model(nodes, **weights) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


class Load:
    """Clients that ask for models until they are told to stop; every answer is counted."""

    def __init__(self, server, *models: str) -> None:
        self.answers: Counter = Counter()
        self._server = server
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=[model]) for model in models]

    def _ask(self, model: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            while not self._stop.is_set():
                self.answers[model, *answer(self._server, model, connection)] += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def answer(server, model: str, connection=None, **headers: str) -> tuple[int, str, float]:
    """Status, the version that answered, and what it makes of 1."""
    mine = connection or http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        mine.request("POST", f"/v2/models/{model}/infer", body, named)
        response = mine.getresponse()
        said = json.loads(response.read())
    finally:
        if connection is None:
            mine.close()
    if response.status != 200:
        return response.status, "", 0.0
    return 200, said["model_version"], said["outputs"][0]["data"][0]


def status(server) -> dict:
    return json.loads(server.command("rollout", "status", "--json").stdout)


def ended(server, model: str) -> dict | None:
    found = status(server)
    assert not found["rollouts"] or all(row["rollout"]["stable"] == 1 for row in found["rollouts"])
    return next((past for past in found["past"] if past["name"] == model), None)


@pytest.fixture
def models(tmp_path):
    for scale in (1, 2, 3):
        publish(tmp_path / "models", "m", scaling(scale))
    (tmp_path / "models" / "m" / "aliases.json").write_text('{"production": 1}')
    return tmp_path / "models"


def test_a_good_candidate_is_promoted_step_by_step_and_no_request_fails(models, tmp_path):
    with serving(tmp_path, "--processes", "2") as server:
        with Load(server, "m@production", "m@production") as load:
            done = server.command("rollout", "start", "m", "2", "--steps", "20,60", "--shadow", "50", *QUICK)
            assert "from version 1 to 2, 20 % (20 → 60 → 100 %)" in done.stdout
            past = until(ended, server, "m")
            assert {key[1] for key in load.answers} == {200}
        assert past["promoted"], past
        assert {key[2:] for key in load.answers} == {("1", 1.0), ("2", 2.0)}
        connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=30) for _ in range(8)]
        assert {answer(server, "m@production", c) for c in connections} == {(200, "2", 2.0)}
        assert json.loads((models / "m" / "aliases.json").read_text()) == {"production": 2}
        assert not (models / "m" / "rollouts.json").exists()
        assert any("version 2 gets 60 %" in event for event in server.status()["events"])
        of = '{model="m",alias="production"'
        metrics = server.ask("GET", "/metrics")[1].decode()
        assert f'flowserve_rollout_verdicts_total{of},verdict="advance"}} 1\n' in metrics
        assert f'flowserve_rollout_verdicts_total{of},verdict="promote"}} 1\n' in metrics
        assert f'flowserve_rollout_requests_total{of},side="candidate",outcome="answered"}}' in metrics
        assert "flowserve_rollout_share{" not in metrics
        # What was only run in shadow is in nobody's statistics.
        (stats,) = json.loads(server.ask("GET", "/v2/models/m/versions/2/stats")[1])["model_stats"]
        asked = sum(count for key, count in load.answers.items() if key[2] == "2")
        assert stats["inference_count"] == asked + len(connections)


def test_bad_candidates_are_rolled_back_and_it_is_said_why(tmp_path):
    bad = {"slow": slow(), "wrong": scaling(1.5), "failing": failing()}
    for name, content in bad.items():
        publish(tmp_path / "models", name, scaling(1))
        publish(tmp_path / "models", name, content)
        (tmp_path / "models" / name / "aliases.json").write_text('{"production": 1}')
    with serving(tmp_path, "--processes", "2") as server:
        names = [f"{name}@production" for name in bad]
        with Load(server, *names, *names) as load:
            for name in bad:
                options = (*QUICK[:-1], "5", "--share", "30", "--shadow", "20", "--max-disagreement", "0.1")
                assert server.command("rollout", "start", name, "2", *options).returncode == 0
            past = {name: until(ended, server, name) for name in bad}
            for said, name in (
                ("99th percentile", "slow"),
                ("something else", "wrong"),
                ("failed", "failing"),
            ):
                assert not past[name]["promoted"]
                assert past[name]["reason"].startswith("rolled back: version 2")
                assert said in past[name]["reason"]
        # Only the candidate that fails has failed anybody.
        assert {key[0] for key in load.answers if key[1] != 200} == {"failing@production"}
        assert {answer(server, name)[1] for name in names for _ in range(10)} == {"1"}
        assert "rolled back: version 2" in server.command("rollout", "status", "wrong").stdout


def test_sides_by_header_and_key_over_all_protocols_and_killed_processes(models, tmp_path):
    with serving(tmp_path, "--processes", "2", "--grpc", "127.0.0.1:0") as server:
        users = ("ann", "bob", "cy", "dan", "eve", "flo")
        # Heads that are known from before mean something from now on.
        for user in users:
            assert {answer(server, "m@production", X_User=user)[1] for _ in range(6)} == {"1"}
        assert {answer(server, "m@production", X_Try="always")[1] for _ in range(6)} == {"1"}
        options = ("--share", "40", "--manual", "--key", "X-User", "--header", "X-Try")
        assert server.command("rollout", "start", "m", "2", *options).returncode == 0

        def sides() -> None:
            for user in users:
                expected = "2" if position("m", "production", 2, user) < 40 else "1"
                found = {answer(server, "m@production", X_User=user)[1] for _ in range(4)}
                assert found == {expected}
                with grpc.InferenceServerClient(server.grpc) as client:
                    given = grpc.InferInput("x", [1], "FP32").set_data_from_numpy(np.ones(1, np.float32))
                    said = client.infer("m@production", [given], headers={"x-user": user})
                    assert said.get_response().model_version == expected
            assert {answer(server, "m@production", X_Try="always")[1] for _ in range(8)} == {"2"}
            assert {answer(server, "m@production", X_Try="never", X_User="ann")[1] for _ in range(8)} == {"1"}
            assert {answer(server, "m@production")[1] for _ in range(60)} == {"1", "2"}
            assert answer(server, "m/versions/1")[1] == "1"

        sides()
        os.kill(server.status()["processes"][0], signal.SIGKILL)
        until(lambda: server.status()["restarts"] == 1 and len(server.status()["processes"]) == 2)
        sides()
        # Processes tell of what they have seen every second.
        until(lambda: status(server)["rollouts"][0]["evidence"]["candidate"]["forced"])
        # A process that crashes is another matter: who is to be trusted less must go.
        os.kill(server.status()["processes"][0], signal.SIGSEGV)
        past = until(ended, server, "m")
        assert past["reason"] == "rolled back: a process ended with signal 11 meanwhile"
        until(lambda: len(server.status()["processes"]) == 2)
        assert {answer(server, "m@production")[1] for _ in range(10)} == {"1"}


def test_a_rollout_outlives_its_supervisor(models, tmp_path):
    file = models / "m" / "rollouts.json"
    with serving(tmp_path) as server:
        options = ("--steps", "50,60", "--manual")
        assert server.command("rollout", "start", "m", "2", *options).returncode == 0
        worker = server.status()["processes"][0]
        server.process.kill()
        until(lambda: not _lives(worker))
    assert json.loads(file.read_text())["production"]["candidate"] == 2
    with serving(tmp_path) as server:
        (row,) = status(server)["rollouts"]
        assert (row["rollout"]["candidate"], row["share"]) == (2, 50.0)
        assert {answer(server, "m@production")[1] for _ in range(40)} == {"1", "2"}
        assert server.command("deploy", "m", "3").returncode == 1
        assert server.end() == 0
    # Meanwhile somebody moves the alias.
    (models / "m" / "aliases.json").write_text('{"production": 3}')
    with serving(tmp_path) as server:
        assert status(server)["rollouts"] == []
        assert "does not go on: the alias names version 3 now" in server.said()
        assert {answer(server, "m@production")[1] for _ in range(20)} == {"3"}
        assert until(lambda: not file.exists())
        refused = server.command("rollout", "promote", "m")
        assert "error[FS282]" in refused.stderr


def test_of_two_who_deploy_at_once_one_has_the_rollout(models, tmp_path):
    with serving(tmp_path, "--processes", "2") as server:
        address = ("--http", f"127.0.0.1:{server.port}")

        def all_at_once(*commands):
            running = [
                subprocess.Popen(
                    [FLOWSERVE, *words, *address],
                    env=server.env,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                for words in commands
            ]
            ended = [process.communicate(timeout=PATIENCE_S) for process in running]
            return [process.returncode for process in running], [said.decode() for _, said in ended]

        start = ("rollout", "start", "m")
        options = ("--manual", "--share", "50")
        codes, said = all_at_once((*start, "2", *options), (*start, "3", *options), (*start, "3", *options))
        assert sorted(codes) == [0, 1, 1]
        assert all("error[FS281]" in text for code, text in zip(codes, said, strict=True) if code)
        (row,) = status(server)["rollouts"]
        candidate = row["rollout"]["candidate"]
        # One promotes it, the other aborts it, a third deploys something else: whoever comes first.
        finish = ("rollout", "promote", "m"), ("rollout", "abort", "m"), ("deploy", "m", "1")
        codes, said = all_at_once(*finish)
        assert sorted(codes[:2]) == [0, 1]
        assert status(server)["rollouts"] == []
        aliases = json.loads((models / "m" / "aliases.json").read_text())
        assert aliases == {"production": 1} if codes[2] == 0 or codes[0] else {"production": candidate}
        found = {answer(server, "m@production")[1] for _ in range(10)}
        assert found == {str(aliases["production"])}


def test_a_candidate_that_does_not_load_begins_nothing(models, tmp_path):
    (tmp_path / "c.toml").write_text("[rollout]\nsteps = [30, 70]\nmanual = true\nkey = 'X-User'\n")
    with serving(tmp_path, "--config", "c.toml") as server:
        (models / "m" / "4").mkdir()
        (models / "m" / "4" / "model.onnx").write_bytes(scaling(4)[:-20])
        refused = server.command("rollout", "start", "m", "4")
        assert "version 4 of model `m` does not load" in refused.stderr
        assert "nothing was changed" in refused.stderr
        assert server.command("rollout", "status").stdout == "no rollouts\n"
        begun = server.command("rollout", "start", "m", "3", "--key", "X-Other").stdout
        assert "30 % (30 → 70 → 100 %)" in begun
        (row,) = status(server)["rollouts"]
        assert (row["rollout"]["plan"]["key"], row["rollout"]["plan"]["manual"]) == ("X-Other", True)
        # Its files go: what cannot be started again cannot be promoted.
        (models / "m" / "3" / "model.onnx").unlink()
        (models / "m" / "3").rmdir()
        past = until(ended, server, "m")
        assert past["reason"] == "rolled back, since version 3 serves no longer"


def _lives(process: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{process}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False

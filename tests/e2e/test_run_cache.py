"""Results of other runs are taken, as people see it: with real processes, kills and a daemon."""

import json
import os

from project import Project

FLOW = """
import numpy as np
from flowc import Array, foreach

@operator
def load(n: int) -> Array:
    note("load")
    return np.arange(n, dtype=float)

@operator
def parts(data: Array) -> list[int]:
    note("parts")
    return list(range(3))

@operator
def scale(k: int, data: Array) -> Array:
    note(f"scale{k}")
    return data * k

@operator
def total(scaled: list[Array]) -> float:
    note("total")
    return float(sum(part.sum() for part in scaled))

@operator(cache=False)
def publish(total: float) -> None:
    note("publish")

@workflow
def main(n: int = 10) -> float:
    data = load(n)
    ks = parts(data)
    scaled = foreach(scale, ks, data=data)
    result = total(scaled)
    publish(result)
    return result
"""
ALL = ["load", "parts", "scale0", "scale1", "scale2", "total", "publish"]


def ran(project):
    """What ran since the last time."""
    found = project.ran()
    (project.folder / "ran").unlink(missing_ok=True)
    return dict(found)


def test_a_second_run_computes_only_what_is_to_be_done_each_time(project):
    project.execute()
    assert ran(project) == dict.fromkeys(ALL, 1)
    done = project.execute()
    assert ran(project) == {"publish": 1}
    assert "8 nodes, 8 succeeded, 6 of them computed by earlier runs" in done.stdout
    assert project.artifacts("main-2") == project.artifacts("main-1")
    origins = {node["node"]: node.get("origin") for node in project.json("show", "main-2")["nodes"]}
    assert origins["scaled[1]"] == {"run": "main-1", "node": "scaled[1]"}
    assert origins["publish"] is None


def test_what_changed_runs_and_what_came_out_the_same_goes_no_further(project):
    project.execute()
    ran(project)
    project.write(FLOW.replace("list(range(3))", "[0, 1, 2]"))
    project.compile()
    project.execute()
    assert ran(project) == {"parts": 1, "publish": 1}
    assert (
        "`ks` ran: its operator's code differs from main-1" in project.flowrun("why", "main-2", "ks").stdout
    )


def test_all_or_some_may_be_computed_afresh(project):
    project.execute()
    ran(project)
    project.execute("--no-cache")
    assert ran(project) == dict.fromkeys(ALL, 1)
    project.execute("--refresh", "scaled", "--refresh", "data")
    assert ran(project) == {"load": 1, "scale0": 1, "scale1": 1, "scale2": 1, "publish": 1}
    assert "error[FR165]" in project.execute("--refresh", "scale", status=1).stderr


def test_what_is_damaged_is_computed_again(project):
    project.execute("-i", "n=5000")
    ran(project)
    for path in (project.folder / ".flow/artifacts").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(b"nonsense")
    project.execute("-i", "n=5000")
    assert ran(project)["load"] == 1
    assert project.artifacts("main-2") == project.artifacts("main-1")


def test_what_is_large_is_verified_while_others_run(project):
    """Two megabytes: one that is intact is taken, one of which a bit has flipped is computed."""
    project.execute("-i", "n=250000")
    ran(project)
    project.execute("-i", "n=250000")
    assert ran(project) == {"publish": 1}
    rows = [json.loads(line)["change"] for line in project.flowrun("events", "main-2").stdout.splitlines()]
    assert (rows.count("verify"), rows.count("verified")) == (4, 4)
    (largest, *_) = sorted(
        (project.folder / ".flow/artifacts").glob("??/*"), key=lambda path: (-path.stat().st_size, path)
    )
    damage(largest)
    project.execute("-i", "n=250000")
    assert sum(ran(project).values()) == 2
    assert project.artifacts("main-3") == project.artifacts("main-1")


def damage(path):
    """Flip a bit, and leave the rest as it is."""
    was = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def test_a_run_that_was_killed_leaves_its_results_to_others(project):
    run = project.start()
    run.until("done")
    run.process.kill()
    run.end()
    done = {node.replace("data", "load") for node in run.done()}
    ran(project)
    project.execute()
    assert not done & set(ran(project))


def test_a_resumed_run_remembers_from_whom_it_has_what(project):
    project.execute()
    project.write(FLOW.replace('note("publish")', 'raise ValueError("no")'))
    project.compile()
    project.execute(status=1)
    project.write(FLOW)
    project.compile()
    ran(project)
    project.execute("--resume", "main-2")
    assert ran(project) == {"publish": 1}
    nodes = {node["node"]: node for node in project.json("show", "main-2")["nodes"]}
    assert nodes["result"]["kept"]
    assert nodes["result"]["origin"]["run"] == "main-1"


def test_the_daemon_takes_them_too(project):
    project.execute()
    ran(project)
    daemon = project.daemon()
    project.submit("--wait")
    assert ran(project) == {"publish": 1}
    project.submit("--wait", "--refresh", "data")
    assert ran(project) == {"load": 1, "publish": 1}
    project.submit("--wait", "--no-cache")
    assert ran(project) == dict.fromkeys(ALL, 1)
    assert "error[FR165]" in project.submit("--refresh", "no", status=1).stderr
    daemon.process.terminate()
    daemon.end()


def test_lineage_goes_from_a_result_to_its_data_and_back(project):
    project.execute()
    project.execute()
    found = project.json("lineage", "main-2/result")
    steps = {step["node"]: step for step in found["made_from"]}
    assert list(steps) == ["result", "scaled[0]", "scaled[1]", "scaled[2]", "data", "ks"]
    assert steps["data"]["values"] == {"n": 10}
    back = project.json("lineage", "main-1/data")
    used = {(step["run"], step["node"]) for step in back["used_by"]}
    assert {("main-1", "result"), ("main-2", "result"), ("main-2", "publish")} <= used
    by_hash = project.json("lineage", project.artifacts("main-1")["data"][:12])
    assert [step["op"] for step in by_hash["made_from"]] == ["flows:load"]
    assert {(step["run"], step["node"]) for step in by_hash["used_by"]} == used


LOGS = """
from flowc import log_artifact, log_metric, log_note

@operator
def train(epochs: int) -> float:
    note("train")
    for epoch in range(epochs):
        log_metric("loss", 1 / (epoch + 1), epoch)
    log_note("trained")
    log_artifact("losses", [1 / (epoch + 1) for epoch in range(1000)])
    return 1.0

@workflow
def main(epochs: int = 3) -> float:
    return train(epochs)
"""


def test_what_a_node_logged_counts_for_each_run_that_takes_its_result(tmp_path):
    project = Project(tmp_path, LOGS)
    for _ in range(3):
        project.execute()
    assert ran(project) == {"train": 1}
    found = project.json("runs", "--where", "metric.loss<0.5")
    assert [row["run"] for row in found] == ["main-1", "main-2", "main-3"]
    first, third = (project.json("show", run)["logged"] for run in ("main-1", "main-3"))
    assert [point[:3] for point in third["metrics"][0]["points"]] == [
        ["loss", 1.0, 0],
        ["loss", 0.5, 1],
        ["loss", 1 / 3, 2],
    ]
    assert [note["text"] for note in third["notes"]] == ["trained"]
    assert third["artifacts"] == first["artifacts"]
    assert "loss" in project.flowrun("show", "main-3").stdout
    changes = [json.loads(line) for line in project.flowrun("events", "main-3").stdout.splitlines()]
    assert [change["change"] for change in changes] == ["opened", "reuse", "logged", "finish"]
    assert not [
        event
        for event in json.loads(trace(project, "main-3"))["traceEvents"]
        if event["ph"] in "Ci" and "loss" in event["name"]
    ]
    project.flowrun("gc", "--keep-runs", "1")
    project.flowrun("get", "main-3/train/losses", "-o", "losses")
    assert (tmp_path / "losses").stat().st_size > 8000
    digest = third["artifacts"][0]["artifact"]["hash"]
    assert (tmp_path / ".flow/artifacts" / digest[:2] / digest[2:]).is_file()


def trace(project, run):
    project.flowrun("trace", run)
    return (project.folder / f"{run}.trace.json").read_text()

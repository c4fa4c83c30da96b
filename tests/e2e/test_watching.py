"""Runs as other tools see them: events as they happen, traces, reports, counts."""

import json
import os
import signal
import subprocess
from xml.etree import ElementTree

from project import BIN, Project

FLOW = """
@operator
def load(n: int) -> int:
    tell("loads")
    while not (project() / "open").exists():
        import time
        time.sleep(0.01)
    return n

@operator
def train(n: int) -> int:
    if n == 13:
        raise ValueError("unlucky")
    return n + 1

@workflow
def main(n: int = 3):
    return train(load(n))
"""


def follow(project, *words):
    command = [BIN / "flowrun", "events", *words, "--follow"]
    return subprocess.Popen(
        command, cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_events_come_as_they_happen_and_end_with_the_run(project):
    run = project.start()
    assert project.told() == "loads"
    events = follow(project, "main-1")
    told = [json.loads(events.stdout.readline()) for _ in range(2)]
    assert [row["change"] for row in told] == ["opened", "start"]
    (project.folder / "open").touch()
    rest, said = events.communicate(timeout=60)
    told += [json.loads(line) for line in rest.splitlines()]
    assert [row["position"] for row in told] == list(range(len(told)))
    assert {row["run"] for row in told} == {"main-1"}
    assert told[-1]["change"] == "finish"
    assert (events.returncode, said) == (0, "")
    assert run.end()[0] == 0
    since = project.flowrun("events", "main-1", "--since", "2").stdout.splitlines()
    assert [json.loads(line) for line in since] == told[2:]


def test_events_of_a_run_that_is_killed_end(project):
    run = project.start()
    assert project.told() == "loads"
    events = follow(project, "main-1")
    events.stdout.readline()
    os.kill(run.process.pid, signal.SIGKILL)
    _, said = events.communicate(timeout=60)
    assert said == "main-1 was interrupted: nobody executes it any more\n"
    run.end()


LOGGING = """
import numpy as np
import threading
from flowc import log_artifact, log_metric, log_note

@operator
def train(epochs: int) -> float:
    for epoch in range(epochs):
        log_metric("loss", 1 / (epoch + 1), epoch)
    log_note("begun")
    tell("logged")
    while not (project() / "open").exists():
        import time
        time.sleep(0.01)
    log_metric("accuracy", 0.9)
    log_artifact("weights", np.arange(1000.0))
    threads = [threading.Thread(target=lambda: [log_metric("t", i) for i in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1.0

@operator
def fails(x: float) -> float:
    log_metric("before", float("nan"))
    raise ValueError("no")

@workflow
def main(epochs: int = 30):
    return fails(train(epochs))
"""


def test_what_operators_log_lands_with_the_run_at_once(tmp_path):
    project = Project(tmp_path, LOGGING)
    run = project.start()
    assert project.told() == "logged"
    events = follow(project, "main-1")
    changes = [json.loads(events.stdout.readline()) for _ in range(3)]
    assert [change["change"] for change in changes] == ["opened", "start", "logged"]
    assert changes[2]["points"][0][:3] == ["loss", 1.0, 0]
    shown = project.json("show", "main-1")["logged"]["metrics"]
    assert [(one["name"], len(one["points"])) for one in shown] == [("loss", 30)]
    (project.folder / "open").touch()
    events.communicate(timeout=60)
    assert run.end()[0] == 1
    logged = project.json("show", "main-1")["logged"]
    assert [(one["name"], one["points"][-1][1]) for one in logged["metrics"]] == [
        ("loss", 1 / 30), ("accuracy", 0.9), ("t", logged["metrics"][2]["points"][-1][1]), ("before", "nan")
    ]  # fmt: skip
    assert len(logged["metrics"][2]["points"]) == 2000
    assert [note["text"] for note in logged["notes"]] == ["begun"]
    assert [kept["name"] for kept in logged["artifacts"]] == ["weights"]
    assert "loss      train  0.0333333  0.0333333  1" in project.flowrun("show", "main-1").stdout
    found = project.json("runs", "--where", "metric.accuracy>=0.9 and metric.loss<0.1 and metric.before!=1")
    assert [row["run"] for row in found] == ["main-1"]


def test_files_for_other_tools(project):
    (project.folder / "open").touch()
    project.execute("-i", "n=13", status=1)
    project.flowrun("trace", "main-1")
    slices = json.loads((project.folder / "main-1.trace.json").read_text())["traceEvents"]
    assert {event["name"] for event in slices if event["ph"] == "X"} == {"load", "train", "process"}
    assert project.flowrun("show", "main-1", "--junit", "report.xml").stdout == ""
    (failure,) = ElementTree.parse(project.folder / "report.xml").getroot().iter("failure")
    assert "ValueError: unlucky" in failure.text
    assert 'flowrun_runs{state="failed"} 1\n' in project.flowrun("metrics").stdout
    project.flowrun("metrics", "-o", "flowrun.prom")
    assert "flowrun_attempts_total" in (project.folder / "flowrun.prom").read_text()

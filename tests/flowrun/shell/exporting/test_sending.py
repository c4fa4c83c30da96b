"""Sending runs to OpenTelemetry and OpenLineage: what arrives, and that nothing holds up or fails the run."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from graphs import host, plan

from flowc.plan.diagnostics import Refused
from flowrun.core.changes import Exited, Logged, Opened
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure, Usage
from flowrun.core.state import State
from flowrun.shell.exporting import sending as exporting
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog

GRAPH = "load reads=n\nclean < load retries=1 backoff=0\ntrain < clean"
trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("openlineage.client")


@pytest.fixture
def log(tmp_path):
    return RunLog(Home(tmp_path / "state"), writable=True)


def play(log, ends=True):
    """A run in which `clean` fails once and `train` for good; its name."""
    run = log.create("main", "p", 1000)
    described = plan(GRAPH, {"n": "int"})
    state, position = State(described, {"n": 3}), 0
    happened = [
        Opened(1000, log.keep_plan(described)[0], {"n": 3}, host()),
        Exited(1100, "load", 1, Artifact("1" * 64, 8), usage=Usage(50, 20)),
        Logged(1150, "clean", 1, (), ("half way",)),
        Exited(1200, "clean", 1, failure=Failure("FR201", "ValueError: no")),
        Exited(1300, "clean", 2, Artifact("2" * 64, 8)),
        Exited(1400, "train", 1, failure=Failure("FR202", "killed")),
    ]
    for event in happened[: None if ends else -1]:
        position = log.append(run, position, [event, *decide(state, event)])
    return run


class Receiver(HTTPServer):
    """Takes whatever comes, and answers with a status, after a while if that is wanted."""

    def __init__(self, status=200, delay_s=0.0):
        self.heard = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.server.heard.append((self.path, body))
                time.sleep(delay_s)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.shutdown()


def spans(receiver):
    found = []
    for path, body in receiver.heard:
        assert path == "/v1/traces"
        request = trace_service.ExportTraceServiceRequest()
        request.ParseFromString(body)
        found += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
    return {span.name: span for span in found if span.name != "clean" or span.status.code != 2}, found


def send(log, run, targets, environment=None):
    exporters = exporting.exporters_for(targets, run, environment or {})
    return exporting.export(log, run, 0, exporters)


def test_spans_of_a_run_its_attempts_and_what_they_needed(log, receiver):
    assert send(log, play(log), {"otel": receiver.url}) == []
    by_name, found = spans(receiver)
    assert sorted(span.name for span in found) == ["clean", "clean", "load", "main", "train"]
    root = by_name["main"]
    assert {span.parent_span_id for span in found} == {b"", root.span_id}
    assert len({span.trace_id for span in found}) == 1
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (1000 * 10**6, 1400 * 10**6)
    assert [link.span_id for link in by_name["clean"].links] == [by_name["load"].span_id]
    assert (root.status.code, by_name["load"].status.code, by_name["train"].status.code) == (2, 1, 2)
    assert by_name["train"].status.message == "[FR202] killed"
    attributes = {a.key: a.value for a in by_name["load"].attributes}
    assert attributes["flow.cpu_ms"].int_value == 50
    assert [e.name for span in found for e in span.events] == ["note", "exception", "exception", "retry"]


def test_who_sends_twice_sends_the_same(log, receiver):
    run = play(log)
    for _ in range(2):
        send(log, run, {"otel": receiver.url})
    _, found = spans(receiver)
    assert len(found) == 10
    assert len({span.span_id for span in found}) == 5


def test_a_run_is_a_part_of_the_trace_that_it_was_started_in(log, receiver):
    parent = {"TRACEPARENT": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}
    send(log, play(log), {"otel": receiver.url}, parent)
    by_name, found = spans(receiver)
    assert {span.trace_id.hex() for span in found} == {"0123456789abcdef0123456789abcdef"}
    assert by_name["main"].parent_span_id.hex() == "0123456789abcdef"


def test_lineage_events(log, tmp_path):
    assert send(log, play(log), {"openlineage": str(tmp_path / "events")}) == []
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    told = [(event["eventType"], event["job"]["name"]) for event in events]
    assert told == [
        ("START", "flows:main"),
        ("START", "flows:main.load"),
        ("COMPLETE", "flows:main.load"),
        ("START", "flows:main.clean"),
        ("FAIL", "flows:main.clean"),
        ("START", "flows:main.clean"),
        ("COMPLETE", "flows:main.clean"),
        ("START", "flows:main.train"),
        ("FAIL", "flows:main.train"),
        ("FAIL", "flows:main"),
    ]
    run = events[0]["run"]["runId"]
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in events[1:-1]} == {run}
    assert events[-1]["run"]["runId"] == run
    done = events[6]
    assert [(d["name"], d["facets"]["version"]["datasetVersion"]) for d in done["inputs"]] == [
        ("flows:main/load", "1" * 64)
    ]
    assert [(d["name"], d["facets"]["version"]["datasetVersion"]) for d in done["outputs"]] == [
        ("flows:main/clean", "2" * 64)
    ]
    assert events[8]["run"]["facets"]["errorMessage"]["message"] == "[FR202] killed"
    assert events[0]["eventTime"] == "1970-01-01T00:00:01+00:00"


def test_lineage_events_over_http(log, receiver):
    assert send(log, play(log), {"openlineage": receiver.url}) == []
    assert {path for path, _ in receiver.heard} == {"/api/v1/lineage"}
    assert len(receiver.heard) == 10


def test_an_interrupted_run_is_ended(log, receiver, tmp_path):
    run = play(log, ends=False)
    assert send(log, run, {"otel": receiver.url, "openlineage": str(tmp_path / "events")}) == []
    by_name, _ = spans(receiver)
    assert (by_name["main"].status.message, by_name["train"].status.message) == ("interrupted", "interrupted")
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [(event["eventType"], event["job"]["name"]) for event in events[-2:]] == [
        ("ABORT", "flows:main.train"),
        ("ABORT", "flows:main"),
    ]


def test_a_receiver_that_refuses_is_told_of(log):
    receiver = Receiver(400)
    said = send(log, play(log), {"otel": receiver.url, "openlineage": receiver.url})
    assert said[0] == "5 spans were not taken by the OpenTelemetry endpoint"
    assert said[1].startswith("10 OpenLineage events were not taken: ")
    receiver.shutdown()


def test_a_process_sends_and_is_not_waited_for_for_long(log, monkeypatch, capsys):
    run = play(log)
    slow = Receiver(delay_s=30)
    monkeypatch.setattr(exporting, "PATIENCE_S", 2.0)
    began = time.monotonic()
    exporting.Exports(log.home, run, 0, {"otel": slow.url}).finish()
    assert time.monotonic() - began < 20
    assert capsys.readouterr().err == "note: not all of the run was sent within 2 s of its end\n"


def test_a_process_says_what_went_wrong(log, capfd):
    exporting.Exports(log.home, play(log), 0, {"openlineage": "/no/such/folder/events"}).finish()
    assert "note: the run could not be sent: 10 OpenLineage events were not taken" in capfd.readouterr().err


def test_of_several_each_says_what_went_wrong(log, capfd):
    receiver = Receiver(400)
    exporting.Exports(log.home, play(log), 0, {"otel": receiver.url, "openlineage": receiver.url}).finish()
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(" were not taken")[0] for line in lines] == [
        "note: the run could not be sent: 5 spans",
        "note: the run could not be sent: 10 OpenLineage events",
    ]
    receiver.shutdown()


def test_where_to_send(monkeypatch, capsys):
    assert exporting.wanted("http://a", "file", {}) == {"otel": "http://a", "openlineage": "file"}
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b"}
    assert exporting.wanted("", "", endpoint) == {"otel": "environment"}
    assert exporting.wanted("", "", {**endpoint, "OTEL_SDK_DISABLED": "true"}) == {}
    assert exporting.wanted("", "", {**endpoint, "OTEL_TRACES_EXPORTER": "none"}) == {}
    monkeypatch.setattr(exporting, "_is_installed", lambda name: False)
    assert exporting.wanted("", "", endpoint) == {}
    assert "the extra `otel` is not installed" in capsys.readouterr().err
    with pytest.raises(Refused, match="FR158"):
        exporting.wanted("", "file", {})


def test_the_command_loads_nothing_of_it_unless_asked():
    code = "import sys, flowrun.shell.launch; print([m for m in sys.modules if 'telem' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60
    )
    assert done.stdout == "[]\n"

"""Telling somebody that a run is over: it is told what went wrong, and nothing else comes of it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flowrun.core.model import Failure
from flowrun.shell.exporting import ending
from flowrun.shell.showing.report import NodeReport, RunReport

REPORT = RunReport(
    "main-7",
    "flows:main",
    "failed",
    {"n": 3},
    1000,
    2500,
    [NodeReport("a", "succeeded"), NodeReport("b", "failed", failure=Failure("FR201", "no"))],
    None,
)


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.heard.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(200 if self.path == "/ok" else 503)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.heard = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_sent_a_summary(server):
    assert ending.tell([f"http://127.0.0.1:{server.server_port}/ok"], REPORT) == []
    ((path, kind, told),) = server.heard
    assert (path, kind) == ("/ok", "application/json")
    assert (told["run"], told["status"], told["nodes"]) == ("main-7", "failed", {"succeeded": 1, "failed": 1})
    assert told["failed"] == [{"node": "b", "code": "FR201", "message": "no"}]


def test_a_command_reads_the_summary(tmp_path):
    command = f"cat > {tmp_path}/told; echo $FLOW_RUN $FLOW_STATUS > {tmp_path}/which"
    assert ending.tell([command], REPORT) == []
    assert json.loads((tmp_path / "told").read_text())["run"] == "main-7"
    assert (tmp_path / "which").read_text() == "main-7 failed\n"


def test_what_does_not_work_is_told(server, monkeypatch):
    monkeypatch.setattr(ending, "COMMAND_S", 0.1)
    url = f"http://127.0.0.1:{server.server_port}/down"
    targets = [url, "echo because >&2; exit 3", "sleep 60", "http://127.0.0.1:1/", "http://["]
    said = ending.tell(targets, REPORT)
    assert said[0] == f"`--on-end {url}` did not work: it answered 503 Service Unavailable"
    assert said[1].endswith("did not work: exit status 3: because")
    assert said[2].endswith("did not work: it took longer than 0.1 s")
    assert "Connection refused" in said[3]
    assert len(said) == 5


def test_a_command_that_reads_nothing_is_no_error():
    assert ending.tell(["true"], REPORT) == []

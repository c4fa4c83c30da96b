"""The daemon's runs are tagged and sent elsewhere, as those of `flowrun execute` are."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from project import Project, end_all, follow

FLOW = """
@operator
def step(n: int) -> int:
    note("step")
    return n

@workflow
def main(n: int = 3) -> int:
    return step(n)
"""


class Receiver(HTTPServer):
    """Takes what comes, and lets a test wait for it."""

    def __init__(self):
        self.heard, self.came = [], threading.Semaphore(0)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.server.heard.append((self.path, body))
                self.send_response(200 if self.path != "/no" else 503)
                self.end_headers()
                self.server.came.release()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def paths(self, count):
        for _ in range(count):
            assert self.came.acquire(timeout=30), "nothing comes"
        return sorted(path for path, _ in self.heard)

    def until(self, *wanted):
        """The last of what came to each path, once something has come to all of these."""
        while not set(wanted) <= {path for path, _ in self.heard}:
            assert self.came.acquire(timeout=30), "nothing comes"
        return dict(self.heard)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.shutdown()
    receiver.server_close()


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path, FLOW)
    yield project
    end_all(project)


def test_tags_are_those_of_execute(project):
    project.daemon()
    project.submit("--tag", "team=ads", "--wait")
    assert [row["run"] for row in project.json("runs", "--where", "tag.team=ads")] == ["main-1"]
    assert "error[FR156]" in project.submit("--tag", "ads", status=1).stderr
    assert len(project.json("runs")) == 1


def test_a_url_is_told_of_the_end_by_the_daemon(project, receiver):
    daemon = project.daemon()
    project.submit("--on-end", f"{receiver.url}/ended", "--on-end", f"{receiver.url}/no")
    assert receiver.paths(2) == ["/ended", "/no"]
    told = json.loads(dict(receiver.heard)["/ended"])
    assert (told["run"], told["status"], told["result"]) == ("main-1", "succeeded", 3)
    assert daemon.until("main-1:", "work:").endswith("did not work: it answered 503 Service Unavailable\n")


def test_spans_and_lineage_are_sent(project, receiver):
    pytest.importorskip("opentelemetry.sdk")
    pytest.importorskip("openlineage.client")
    project.daemon()
    project.submit("--otel", f"{receiver.url}/v1/traces", "--openlineage", receiver.url)
    heard = receiver.until("/v1/traces", "/api/v1/lineage")
    assert b"main-1" in heard["/v1/traces"]
    assert json.loads(heard["/api/v1/lineage"])["job"] == {
        "namespace": "flowrun",
        "name": "flows:main",
        "facets": {},
    }


def test_it_is_told_of_a_run_that_the_daemon_before_began(project, receiver):
    project.write(
        FLOW.replace("    return n", "    tell('runs')\n    open(project() / 'go').close()\n    return n", 1)
    )
    project.compile()
    os.mkfifo(project.folder / "go")
    daemon = project.daemon()
    project.submit("--on-end", f"{receiver.url}/ended")
    project.told()
    daemon.process.kill()
    daemon.end()
    project.daemon()
    project.told()
    (project.folder / "go").write_text("")
    assert receiver.paths(1) == ["/ended"]


def test_a_command_is_run_by_who_waits_and_by_nobody_else(project):
    project.daemon()
    refused = project.submit("--on-end", "cat > summary.json", status=1).stderr
    assert "error[FR128]: `--on-end cat > summary.json`: a daemon tells of a run by URLs only" in refused
    assert "error[FR128]" in project.submit("--openlineage", "events.json", status=1).stderr
    assert project.json("runs") == []
    project.submit("--wait", "--on-end", "cat > summary.json")
    assert json.loads((project.folder / "summary.json").read_text())["run"] == "main-1"


def test_a_daemon_has_commands_of_its_own_for_every_run(project):
    daemon = project.daemon("--on-end", "echo $FLOW_RUN $FLOW_STATUS > ended; exit 3")
    project.submit()
    assert follow(project, "main-1") == "succeeded"
    assert "exit status 3" in daemon.until("main-1:", "work:")
    assert (project.folder / "ended").read_text() == "main-1 succeeded\n"


def test_what_is_still_to_be_told_is_when_the_daemon_ends(project, receiver):
    daemon = project.daemon()
    project.submit("--on-end", f"{receiver.url}/ended")
    daemon.until("main-1:", "succeeded")
    daemon.process.terminate()
    assert daemon.end()[0] == 0
    assert receiver.paths(1) == ["/ended"]

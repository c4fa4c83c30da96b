"""What the serving benchmarks say of the servers that they set beside flowserve."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks import serve_peers, serve_reload


def test_where_no_peer_is_installed_nothing_is_measured_nor_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEERS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = serve_peers.beside(pytest.fail)
    assert serve_peers.beside_text(found, str) == []


def test_what_a_peer_cannot_do_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(peer: str) -> dict[str, Any]:
        if peer == "mosec":
            raise serve_peers.LeftOut("it loads a model when it starts, and never again")
        return {"per_s": 7}

    monkeypatch.setenv("PEERS", "python")
    text = serve_peers.beside_text(serve_peers.beside(measure), lambda found: f"{found['per_s']}/s")
    assert text[0] == "mosec     left out: it loads a model when it starts, and never again"
    assert text[1:] == ["litserve  7/s", "triton    7/s", "mlserver  7/s"]


def test_a_server_that_does_not_come_up_is_left_out_with_what_it_said_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named mosec'\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv("PEERS", str(python))
    with (
        pytest.raises(serve_peers.LeftOut, match="No module named mosec"),
        serve_peers.running("mosec", tmp_path, (2, 1)),
    ):
        pass


@pytest.fixture
def answering() -> Iterator[int]:
    """The port of a server that answers whatever is posted."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_reloads_that_went_well_are_measured_in_whatever_process_they_are_made(answering: int) -> None:
    found = serve_reload.compared(answering, "/", lambda: time.sleep(0.1), reloads=1, pause_ms=0)
    assert found["failed"] == {"quiet": 0, "reloading": 0}
    assert min(found["requests"].values()) > 0


def test_a_server_that_does_not_load_is_left_out(answering: int) -> None:
    with pytest.raises(serve_peers.LeftOut, match="a load failed"):
        serve_reload.compared(answering, "/", lambda: os._exit(3), reloads=1, pause_ms=0)

"""What the serving benchmarks say of the servers that they set beside flowserve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import serve_peers


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

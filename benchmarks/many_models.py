"""Many small models in one server: time until it is ready, memory a model, a cold model's first answer.

All may run on any core. Of the peers only MLServer has many models in one process. mosec, LitServe and
Triton's Python backend start a process for each, with a Python and a runtime: they get fewer. MLServer and
Triton load a model when told so, which stands for a cold one's first answer.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness, serve_peers, serving

_PROCESSES = 20  # models of a peer that has a process for each


@contextmanager
def started(models: Path, *options: str) -> Iterator[tuple[int, int, float]]:
    """A server on a free port; that port, the server's process and the seconds until it listened."""
    command = [str(Path(sys.executable).parent / "flowserve"), "start", "--models", str(models), *options]
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, "--http", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            found = next((f for line in server.stdout if (f := re.search(r"http://\S+:(\d+)", line))), None)
            if found is None:
                sys.exit("the server ended before it listened")
            yield int(found[1]), server.pid, time.perf_counter() - began
        finally:
            server.send_signal(signal.SIGTERM)


def measure(models: int, asked: int) -> dict[str, Any]:
    """Start with one model, with all of them, and with all of them cold."""
    from flowserve.shell.models.repository import publish

    harness.byte_compile()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_RUNTIME_DIR"] = name
        one, many = Path(name) / "one", Path(name) / "many"
        publish(one, "m0", serving.perceptron(serving.SMALL))
        config = (one / "m0" / "config.pbtxt").read_text()
        for index in range(models):
            shutil.copytree(one / "m0" / "1", many / f"m{index}" / "1")
            (many / f"m{index}" / "config.pbtxt").write_text(config.replace('"m0"', f'"m{index}"'))
        with started(one) as (port, _, ready_one_s):
            base_kb = _worker_kb(port)
        with started(many) as (port, _, ready_s):
            kb, threads = _worker_kb(port), _worker_threads(port)
        cold = Path(name) / "cold.toml"
        cold.write_text("tier = 3\n")
        with started(many, "--config", str(cold)) as (port, _, ready_cold_s):
            first = [_ask(port, f"m{index}") for index in range(min(asked, models))]
    return {
        "benchmark": "many_models",
        "models": models,
        "ready_s": {
            "one": round(ready_one_s, 2),
            "all": round(ready_s, 2),
            "all_cold": round(ready_cold_s, 2),
        },
        "kb_per_model": round((kb - base_kb) / max(1, models - 1), 1),
        "threads": threads,
        "first_answer_us": serving.percentiles(first) | {"max": round(max(first), 1)},
        "peers": serve_peers.beside(lambda peer: _peer(peer, models, asked)),
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    ready, first = figures["ready_s"], figures["first_answer_us"]
    return "\n".join(
        [
            f"{figures['models']} models ready in {ready['all']} s, "
            f"one in {ready['one']}, all of them cold in {ready['all_cold']}",
            f"{figures['kb_per_model']} KB a model, {figures['threads']} threads",
            f"a cold model's first answer: p50 {first['p50'] / 1000:.1f} ms, "
            f"p99 {first['p99'] / 1000:.1f}, most {first['max'] / 1000:.1f}",
            *serve_peers.beside_text(figures["peers"], _peer_text),
        ]
    )


def _peer(peer: str, models: int, asked: int) -> dict[str, Any]:
    """Start a peer with one model and with all of them, or with fewer where each has a process.

    It is ready when each of them has answered. None loads a model because it is asked for; some are told to.
    """
    many = models if peer == "mlserver" else min(models, _PROCESSES)
    ready_s: dict[int, float] = {}
    mb: dict[int, float] = {}
    first: list[float] = []
    for count in (1, many):
        began = time.perf_counter()
        with (
            tempfile.TemporaryDirectory() as name,
            serve_peers.running(
                peer, Path(name), serving.SMALL, models=count, cores=os.sched_getaffinity(0)
            ) as (_, port, process),
        ):
            ready_s[count], mb[count] = time.perf_counter() - began, serve_peers.anonymous_mb(process)
            if count == many and peer in serve_peers.RELOADING:
                for index in range(min(asked, many, _PROCESSES)):
                    _post(port, f"/v2/repository/models/m{index}/unload")
                    took_us = _post(port, f"/v2/repository/models/m{index}/load")
                    first.append(took_us + _ask(port, f"m{index}"))
    return {
        "models": many,
        "ready_s": {"one": round(ready_s[1], 2), "all": round(ready_s[many], 2)},
        "kb_per_model": round((mb[many] - mb[1]) * 1024 / max(1, many - 1), 1),
        "first_answer_us": serving.percentiles(first),
    }


def _peer_text(found: dict[str, Any]) -> str:
    ready, first = found["ready_s"], found["first_answer_us"]
    cold = f"loaded and asked: p50 {first['p50'] / 1000:.1f} ms, p99 {first['p99'] / 1000:.1f}"
    return (
        f"{found['models']:>4} models ready in {ready['all']} s, one in {ready['one']}"
        f"   {found['kb_per_model']} KB a model   {cold if first['count'] else 'loads none while it runs'}"
    )


def _ask(port: int, model: str) -> float:
    return _post(port, f"/v2/models/{model}/infer", serving.json_body(serving.SMALL[0]))


def _post(port: int, path: str, body: bytes = b"") -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    began = time.perf_counter()
    connection.request("POST", path, body)
    response = connection.getresponse()
    text = response.read()
    assert response.status == 200, text
    took = (time.perf_counter() - began) * 1e6
    connection.close()
    return took


def _worker(port: int) -> int:
    from flowserve.core.wire.addresses import Tcp
    from flowserve.shell.processes.control import Status, ask

    return ask(Tcp("127.0.0.1", port), Status()).processes[0]


def _worker_kb(port: int) -> int:
    return _proc(_worker(port), r"RssAnon:\s+(\d+)")


def _worker_threads(port: int) -> int:
    return _proc(_worker(port), r"Threads:\s+(\d+)")


def _proc(process: int, pattern: str) -> int:
    found = re.search(pattern, Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    harness.run(measure, show, models=1000, asked=200)

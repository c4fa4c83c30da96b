"""Versions that come and go under load: failed requests and latency, beside the same load at rest.

Each reload publishes a version, deploys it (loads, checks, moves the alias) and unloads the one before, while
a client asks for `small@production` over one keep-alive connection. All may run on any core.

Of the peers Triton gets a new version in its repository and is told to load the model, MLServer is told to
load its model again; as often as there is time for.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import harness, serve_peers, serving
from benchmarks.many_models import started

_PEERS_RELOADS = 20
_PATH = "/v2/models/small@production/infer"
_LOAD = "/v2/repository/models/model/load"


def measure(reloads: int, pause_ms: int, processes: int) -> dict[str, Any]:
    """Ask without and with reloads."""
    from flowserve.core.catalog.operations import Point, Unload
    from flowserve.core.wire.addresses import Tcp
    from flowserve.shell.models.repository import publish
    from flowserve.shell.processes.control import ask

    harness.byte_compile()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_RUNTIME_DIR"] = name
        models = Path(name) / "models"
        publish(models, "small", serving.perceptron(serving.SMALL))
        with started(models, "--processes", str(processes)) as (port, _, _):
            address = Tcp("127.0.0.1", port)
            ask(address, Point("small", "production", 1))
            first = models / "small" / "1"

            def reload() -> None:
                for version in range(2, reloads + 2):
                    # As a publisher does it, but without its waiting for the disk.
                    shutil.copytree(first, models / "small" / f".{version}")
                    (models / "small" / f".{version}").rename(models / "small" / str(version))
                    ask(address, Point("small", "production", version))
                    ask(address, Unload("small", version - 1))
                    time.sleep(pause_ms / 1000)

            found = compared(port, _PATH, reload, reloads, pause_ms)
    return {
        "benchmark": "serve_reload",
        "processes": processes,
        **found,
        "peers": serve_peers.beside(lambda peer: _peer(peer, min(reloads, _PEERS_RELOADS), pause_ms)),
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = _text(figures)
    for peer, found in figures["peers"].items():
        lines += (
            [f"{peer} is left out: {found['left_out']}"] if "left_out" in found else _text(found, f"{peer}: ")
        )
    return "\n".join(lines)


def _text(figures: dict[str, Any], name: str = "") -> list[str]:
    lines = [f"{name}{figures['reloads']} reloads, {figures['reload_ms']} ms each"]
    for name in ("quiet", "reloading"):
        values = figures[f"{name}_us"]
        failed, of = figures["failed"][name], figures["requests"][name]
        times = f"p50 {values['p50']:>6.0f} us   p99 {values['p99']:>6.0f} us"
        lines.append(f"{name:<10} {times}   {failed} of {of} failed")
    return lines


def _peer(peer: str, reloads: int, pause_ms: int) -> dict[str, Any]:
    if peer not in serve_peers.RELOADING:
        raise serve_peers.LeftOut("it loads a model when it starts, and never again")
    everywhere = os.sched_getaffinity(0)
    with (
        tempfile.TemporaryDirectory() as name,
        serve_peers.running(peer, Path(name), serving.SMALL, cores=everywhere) as (host, port, _),
    ):
        versions = Path(name) / "triton" / "models" / "model"

        def reload() -> None:
            connection = http.client.HTTPConnection(host, port)
            for version in range(2, reloads + 2):
                if peer == "triton":
                    shutil.copytree(versions / "1", versions / f".{version}")
                    (versions / f".{version}").rename(versions / str(version))
                connection.request("POST", _LOAD)
                answer = connection.getresponse()
                text = answer.read().decode()
                if answer.status != 200:
                    raise OSError(f"it does not load: {text}")
                time.sleep(pause_ms / 1000)

        path = serve_peers.PEERS[peer].format("model")
        return compared(port, path, reload, reloads, pause_ms)


def compared(port: int, path: str, reload: Callable[[], None], reloads: int, pause_ms: int) -> dict[str, Any]:
    """Ask while `reload` does so many reloads with pauses between them, and for as long at rest."""
    began = time.perf_counter()
    changing, failed_changing = _asked(port, path, reload)
    took_s = time.perf_counter() - began
    quiet, failed_quiet = _asked(port, path, lambda: time.sleep(min(took_s, 10)))
    return {
        "reloads": reloads,
        "reload_ms": round(took_s / reloads * 1000 - pause_ms, 1),
        "requests": {"quiet": len(quiet), "reloading": len(changing)},
        "failed": {"quiet": failed_quiet, "reloading": failed_changing},
        "quiet_us": serving.percentiles(quiet),
        "reloading_us": serving.percentiles(changing),
    }


def _asked(port: int, path: str, until: Callable[[], None]) -> tuple[list[float], int]:
    """Ask, one request after the other, while `until` runs; microseconds each, and how many failed.

    It runs in another process, as whoever publishes does: in this one it would hold up the client.
    """
    other = multiprocessing.get_context("fork").Process(target=until)
    other.start()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = serving.json_body(serving.SMALL[0])
    took: list[float] = []
    failed = 0
    while other.is_alive():
        began = time.perf_counter()
        try:
            connection.request("POST", path, body)
            response = connection.getresponse()
            response.read()
            failed += response.status != 200
        except (OSError, http.client.HTTPException):
            failed += 1
            connection.close()
        took.append((time.perf_counter() - began) * 1e6)
    other.join()
    connection.close()
    if other.exitcode:
        raise serve_peers.LeftOut("a load failed")
    return took, failed


if __name__ == "__main__":
    harness.run(measure, show, reloads=100, pause_ms=100, processes=1)

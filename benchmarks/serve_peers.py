"""The servers that the HTTP benchmarks set side by side, each with the same model.

MLServer, LitServe, mosec and Triton (by pytriton, with its Python backend) run as `peers/*_server.py` say, in
the Python that PEERS names or else in this one, where they are installed: the extra `peers-serve` has them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from benchmarks import load, serving

At = tuple[str, int, int]  # host, port, process
_START_S = 60.0
PEERS = {"mosec": "/inference", "litserve": "/predict", "triton": serving.PATH, "mlserver": serving.PATH}


class Server(msgspec.Struct, frozen=True):
    """What to ask, by kind, and how to start it; nothing is started where it is not installed."""

    requests: dict[str, bytes]
    started: Callable[[], AbstractContextManager[At | None]]


def servers(folder: Path, sizes: Sequence[int]) -> dict[str, Server]:
    """Every side, with a perceptron of these sizes as its model."""
    model = folder / "perceptron.onnx"
    model.write_bytes(serving.perceptron(sizes))
    asked, raw = serving.post(serving.json_body(sizes[0])), serving.binary_request(sizes[0])
    own = [sys.executable, "-m"]
    found = {
        "bare_protocol": Server({"": asked}, lambda: serving.listening([*own, "benchmarks.bare"])),
        "bare_awake": Server({"": asked}, lambda: serving.listening([*own, "benchmarks.bare", "awake"])),
        "floor": Server({"": asked}, lambda: serving.listening([*own, "benchmarks.floor", str(model)])),
        "floor_awake": Server(
            {"": asked}, lambda: serving.listening([*own, "benchmarks.floor", str(model), "awake"])
        ),
        "http": Server({"_json": asked, "_binary": raw}, lambda: serving.flowserve(folder, sizes)),
    }
    for peer, path in PEERS.items():
        requests = {"": serving.post(serving.json_body(sizes[0]), path)}
        if peer == "triton":
            requests = {"_json": requests[""], "_binary": raw}
        found[peer] = Server(requests, _starter(peer, model, requests))
    return found


def _starter(
    peer: str, model: Path, requests: dict[str, bytes]
) -> Callable[[], AbstractContextManager[At | None]]:
    return lambda: _peer(peer, model, next(iter(requests.values())))


@contextlib.contextmanager
def _peer(peer: str, model: Path, request: bytes) -> Iterator[At | None]:
    python, script = (
        os.environ.get("PEERS", sys.executable),
        Path(__file__).parent / "peers" / f"{peer}_server.py",
    )
    libraries = Path(python).resolve().parent.parent / "lib"  # where Triton finds this very Python's library
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = model.with_name(f"{peer}.log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            [python, str(script), "--port", str(port)],
            env=os.environ | {"PEER_MODEL": str(model), "LD_LIBRARY_PATH": str(libraries)},
            cwd=model.parent,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=lambda: os.sched_setaffinity(0, serving.cores()[0]),
        )
    try:
        ready = _ready(server, port, request)
        if not ready:
            print(f"{peer} is left out: {_last_line(log)}", file=sys.stderr)
        yield ("127.0.0.1", port, server.pid) if ready else None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _ready(server: subprocess.Popen[bytes], port: int, request: bytes) -> bool:
    end = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, AssertionError):
            load.asker("127.0.0.1", port, request, sleeps=True)()
            return True
        time.sleep(0.2)
    return False


def _last_line(log: Path) -> str:
    return (log.read_text(encoding="utf-8", errors="replace").strip() or "it said nothing").splitlines()[-1]

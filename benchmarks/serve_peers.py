"""The servers that the serving benchmarks set side by side, each with the same model.

MLServer, LitServe, mosec and Triton (by pytriton, with its Python backend) run as `peers/*_server.py` say, in
the Python that PEERS names or else in this one, where they are installed: the extra `peers-serve` has them.
Their settings are options of those scripts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import load, serving

At = tuple[str, int, int]  # host, port, process
_START_S = 120.0
PEERS = {
    "mosec": "/{}",
    "litserve": "/{}",
    "triton": "/v2/models/{}/infer",
    "mlserver": "/v2/models/{}/infer",
}
"""By name, the path that predicts with a model."""
RELOADING = ("triton", "mlserver")
"""Those that load and unload a model while they run, by the repository extension."""
_PACKAGES = {"triton": "pytriton"}


class LeftOut(Exception):
    """Why a peer is not measured."""


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
    for peer in PEERS:
        requests = {"": request(peer, serving.json_body(sizes[0]))}
        if peer == "triton":
            requests = {"_json": requests[""], "_binary": raw}
        found[peer] = Server(requests, _starter(peer, folder, sizes))
    return found


def request(peer: str, body: bytes, model: str = "model") -> bytes:
    """The bytes that ask one of PEERS for predictions."""
    return serving.post(body, PEERS[peer].format(model))


def beside(measure: Callable[[str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each peer is found to do, one after the other; else `left_out` says why it does not.

    Where PEERS is not set and this Python has none of them, there is nothing to be said.
    """
    found: dict[str, dict[str, Any]] = {}
    for peer in PEERS:
        if "PEERS" in os.environ or importlib.util.find_spec(_PACKAGES.get(peer, peer)):
            try:
                found[peer] = measure(peer)
            except (LeftOut, OSError) as error:
                found[peer] = {"left_out": str(error)}
    return found


def beside_text(found: dict[str, dict[str, Any]], text: Callable[[dict[str, Any]], str]) -> list[str]:
    """What `beside` has found, a line each."""
    return [
        f"{peer:<10}" + (f"left out: {one['left_out']}" if "left_out" in one else text(one))
        for peer, one in found.items()
    ]


@contextlib.contextmanager
def running(
    peer: str,
    folder: Path,
    sizes: Sequence[int],
    *options: str,
    models: int = 1,
    cores: set[int] | None = None,
) -> Iterator[At]:
    """One of PEERS with a perceptron of these sizes as each of its models, once all answer.

    It writes into `folder`, and runs on the server's core unless told where. Raises `LeftOut`
    with what it said last when it does not come up.
    """
    python = os.environ.get("PEERS", sys.executable)
    script = Path(__file__).parent / "peers" / f"{peer}_server.py"
    libraries = Path(python).resolve().parent.parent / "lib"  # where Triton finds this very Python's library
    model, log = folder / "perceptron.onnx", folder / f"{peer}.log"
    model.write_bytes(serving.perceptron(sizes))
    port = _free_ports(3)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [python, str(script), "--port", str(port), "--models", str(models), *options],
            env=os.environ | {"PEER_MODEL": str(model), "LD_LIBRARY_PATH": str(libraries)},
            cwd=folder,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=lambda: os.sched_setaffinity(0, cores or serving.cores()[0]),
        )
    try:
        end = time.monotonic() + _START_S
        for name in ["model"] if models == 1 else [f"m{index}" for index in range(models)]:
            if not _ready(server, port, request(peer, serving.json_body(sizes[0]), name), end):
                raise LeftOut(_last_line(log))
        yield "127.0.0.1", port, server.pid
    finally:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # LitServe's workers outlive it, and take the core
        server.wait()


def cpu_s(process: int) -> float:
    """Seconds of processor that a server has used, with all that it has started."""
    return sum(serving.cpu_s(one) for one in load.family(process))


def anonymous_mb(process: int) -> float:
    """Memory that is a server's own and not a file's, with all that it has started."""
    statuses = [Path(f"/proc/{one}/status").read_text(encoding="utf-8") for one in load.family(process)]
    kb = [int(found[1]) for status in statuses if (found := re.search(r"RssAnon:\s+(\d+)", status))]
    return round(sum(kb) / 1024, 2)


def _starter(
    peer: str, folder: Path, sizes: Sequence[int]
) -> Callable[[], AbstractContextManager[At | None]]:
    @contextlib.contextmanager
    def started() -> Iterator[At | None]:
        with ExitStack() as stack:
            try:
                at = stack.enter_context(running(peer, folder, sizes))
            except LeftOut as error:
                print(f"{peer} is left out: {error}", file=sys.stderr)
                at = None
            yield at

    return started


def _free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on: for HTTP, gRPC and metrics."""
    while True:
        with contextlib.ExitStack() as bound, contextlib.suppress(OSError, OverflowError):
            first = int(bound.enter_context(socket.create_server(("", 0))).getsockname()[1])
            for port in range(first + 1, first + count):
                bound.enter_context(socket.create_server(("", port)))
            return first


def _ready(server: subprocess.Popen[bytes], port: int, request: bytes, end: float) -> bool:
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, AssertionError):
            load.asker("127.0.0.1", port, request, sleeps=True)()
            return True
        time.sleep(0.1)
    return False


def _last_line(log: Path) -> str:
    return (log.read_text(encoding="utf-8", errors="replace").strip() or "it said nothing").splitlines()[-1]

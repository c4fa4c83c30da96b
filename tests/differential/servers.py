"""A real Triton, from the wheel of nvidia-pytriton, and our server, each with a repository of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FLOWSERVE = str(Path(sys.executable).parent / "flowserve")
_START_S = 60.0
_ASKED = (
    "import importlib.util, sys; print(importlib.util.find_spec('pytriton').origin, *sys.version_info[:2])"
)


class At(NamedTuple):
    """Where a server listens: host and port."""

    http: str
    grpc: str


class Wheel(NamedTuple):
    """Where nvidia-pytriton is installed, and in which Python."""

    package: Path
    python: Path
    version: str


def installed() -> Wheel | None:
    """The wheel, in the Python that PEERS names or else in this one."""
    python = os.environ.get("PEERS", sys.executable)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = subprocess.run([python, "-c", _ASKED], capture_output=True, text=True, check=True).stdout
        origin, major, minor = said.split()
        return Wheel(Path(origin).parent, Path(python), f"{major}.{minor}")
    return None


@contextlib.contextmanager
def triton(wheel: Wheel, folder: Path, models: Path) -> Iterator[At]:
    """Triton with its Python backend, which ends with the block."""
    server, backends = wheel.package / "tritonserver", folder / "backends"
    shutil.copytree(server / "backends", backends)
    shutil.copytree(server / "python_backend_stubs" / wheel.version, backends / "python", dirs_exist_ok=True)
    # What the wheel brings along, and this very Python's own library.
    libraries = [
        wheel.package.parent / "nvidia_pytriton.libs",
        wheel.python.resolve().parent.parent / "lib",
    ]
    http, grpc, metrics = _free_ports(3)
    command = [
        str(server / "bin" / "tritonserver"),
        *(f"--{kind}-port={port}" for kind, port in (("http", http), ("grpc", grpc), ("metrics", metrics))),
        *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc")),
        f"--model-repository={models}",
        f"--backend-directory={backends}",
        "--model-control-mode=explicit",
        "--load-model=*",
    ]
    path = os.pathsep.join([str(wheel.python.parent), os.environ["PATH"]])
    env = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)), "PATH": path}
    env["PYTHONPATH"] = str(wheel.package.parent)
    log = folder / "triton.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, process_group=0)
    try:
        _await_ready(process, http, log)
        yield At(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it would wait 30 s for its models
        process.wait()


@contextlib.contextmanager
def flowserve(folder: Path, models: Path) -> Iterator[At]:
    """Our server, likewise."""
    command = [FLOWSERVE, "start", "--models", str(models), "--model-control"]
    command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    with (folder / "flowserve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)
    assert process.stdout is not None
    try:
        at: dict[str, str] = {}
        while "http" not in at:
            line = process.stdout.readline()
            assert line, (folder / "flowserve.log").read_text()
            if told := re.search(r"listening on (http|grpc)://(\S+)", line):
                at[told[1]] = told[2]
        yield At(at["http"], at["grpc"])
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as asked:
            asked.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if asked.recv(100).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace")[-3000:])

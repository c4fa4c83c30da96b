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
_STARTS_MAX = 3
_PORTS = range(20_000, 32_000)
_DEATH_S = 10.0  # a core may be written
_ASKED = (
    "import importlib.util, sys; print(importlib.util.find_spec('pytriton').origin, *sys.version_info[:2])"
)


class At(NamedTuple):
    """Where our server listens: host and port."""

    http: str
    grpc: str


class Wheel(NamedTuple):
    """Where nvidia-pytriton is installed, and in which Python."""

    package: Path
    python: Path
    version: str


def installed() -> Wheel | None:
    """The wheel, in the Python that PEERS names, that `make nightly` has made, or this one."""
    for python in (os.environ.get("PEERS", ""), f"{sys.prefix}/triton/bin/python", sys.executable):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            said = subprocess.run([python, "-c", _ASKED], capture_output=True, text=True, check=True).stdout
            origin, major, minor = said.split()
            return Wheel(Path(origin).parent, Path(python), f"{major}.{minor}")
    return None


class Triton:
    """Triton with its Python backend. It may die of a request, and is then started again."""

    def __init__(self, wheel: Wheel, folder: Path, models: Path) -> None:
        server, backends = wheel.package / "tritonserver", folder / "backends"
        shutil.copytree(server / "backends", backends)
        shutil.copytree(
            server / "python_backend_stubs" / wheel.version, backends / "python", dirs_exist_ok=True
        )
        # What the wheel brings along, and this very Python's own library.
        libraries = [
            wheel.package.parent / "nvidia_pytriton.libs",
            wheel.python.resolve().parent.parent / "lib",
        ]
        path = os.pathsep.join([str(wheel.python.parent), os.environ["PATH"]])
        self._command = [
            str(server / "bin" / "tritonserver"),
            *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc")),
            f"--model-repository={models}",
            f"--backend-directory={backends}",
            "--model-control-mode=explicit",
            "--load-model=*",
        ]
        self._env = os.environ | {
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
            "PATH": path,
            "PYTHONPATH": str(wheel.package.parent),
        }
        self._log = folder / "triton.log"

    def start(self) -> None:
        """Return once it is ready. A port that another program takes first is another port's chance."""
        for _ in range(_STARTS_MAX):
            ports = dict(zip(("http", "grpc", "metrics"), _free_ports(3), strict=True))
            told = [f"--{kind}-port={port}" for kind, port in ports.items()]
            with self._log.open("wb") as output:
                self._process = subprocess.Popen(
                    [*self._command, *told], env=self._env, stdout=output, stderr=output, process_group=0
                )
            if _is_ready(self._process, ports["http"]):
                self.http, self.grpc = f"127.0.0.1:{ports['http']}", f"127.0.0.1:{ports['grpc']}"
                return
            self.stop()
        raise AssertionError(self._log.read_text(errors="replace")[-3000:])

    def has_died(self) -> bool:
        """Whether its process has ended, or is about to, by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_DEATH_S) != 0
        return False

    def stop(self) -> None:
        """End it and its models, which it would wait for."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def flowserve(folder: Path, models: Path) -> Iterator[At]:
    """Our server, of two processes, which ends with the block."""
    command = [FLOWSERVE, "start", "--models", str(models), "--model-control", "--processes", "2"]
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
    """Below those that the system gives to connections, or one may have it before Triton does."""
    found: list[int] = []
    port = _PORTS.start + os.getpid() * 8 % (len(_PORTS) // 2)
    while len(found) < count and port in _PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        port += 1
    return found


def _is_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until it is; false where it ends before."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as asked:
            asked.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if asked.recv(100).startswith(b"HTTP/1.1 200"):
                return True
        time.sleep(0.1)
    return False

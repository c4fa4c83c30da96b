"""Processes as the supervisor has them: how they are started, and what is said to them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from flowserve.core.wire.statistics import ModelStatistics
from flowserve.shell.processes.messages import Begin, Count, Prepare, Prepared, ToWorker, line
from flowserve.shell.wire.security import Credentials

_LINE_BYTES_MAX = 64 * 2**20


class Settings(msgspec.Struct, frozen=True):
    """What a server is started with."""

    repository: Path
    server_version: str
    processes: int = 1
    drain_s: float = 10.0
    limits: dict[str, int | float] = {}
    tier: int = 2
    tiers: dict[str, int] = {}
    memory_mb: int = 0
    grace_s: float = 300.0
    model_control: bool = False
    batching: bool = True
    credentials: Credentials = Credentials()


class Child:
    """A process of a server and what the supervisor knows of it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.process = process
        self.channel = channel
        self.began = asyncio.get_running_loop().time()
        self.writer: asyncio.StreamWriter | None = None
        self.serving = False
        self.listening: list[str] | None = None
        self.ended = False
        self.counts: dict[int, asyncio.Future[list[ModelStatistics]]] = {}
        """By number, of what was asked to be counted."""
        self.sent_generation = 0
        self.answer: asyncio.Future[Prepared | None] = asyncio.get_running_loop().create_future()
        """Of what was sent last: None when the process ended first."""

    def tell(self, message: ToWorker) -> None:
        """Send a message, if the process is still there."""
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(line(message))

    def count(self, count: Count) -> asyncio.Future[list[ModelStatistics]]:
        """Ask what it has counted; nothing if it ends first."""
        answer = self.counts[count.number] = asyncio.get_running_loop().create_future()
        if self.ended:
            answer.set_result([])
        self.tell(count)
        return answer

    def counted(self, number: int, statistics: list[ModelStatistics]) -> None:
        """Hear what it has counted."""
        answer = self.counts.pop(number, None)
        if answer is not None and not answer.done():
            answer.set_result(statistics)

    def prepare(self, prepare: Prepare) -> asyncio.Future[Prepared | None]:
        """Ask it to have a table ready; the answer will be None if the process ends first."""
        self.sent_generation, self.answer = prepare.generation, asyncio.get_running_loop().create_future()
        if self.ended:
            self.answer.set_result(None)
        self.tell(prepare)
        return self.answer

    def prepared(self, prepared: Prepared | None) -> None:
        """Hear the answer to what was asked last."""
        if not self.answer.done() and (prepared is None or prepared.generation == self.sent_generation):
            self.answer.set_result(prepared)


async def start_child(
    settings: Settings, listener: socket.socket, word: int, grpc: socket.socket | None
) -> tuple[Child, asyncio.StreamReader]:
    """Start a process that is told to begin; what it says comes from the reader. `word` is a descriptor."""
    ours, theirs = socket.socketpair()
    passed = [listener.fileno(), theirs.fileno(), word, *([grpc.fileno()] if grpc else [])]
    command = [sys.executable, "-P", "-m", "flowserve.shell.processes.worker", *map(str, passed)]
    # A group of its own: Ctrl-C is for the supervisor, which passes it on in its way.
    process = subprocess.Popen(command, pass_fds=passed, process_group=0, stdin=subprocess.DEVNULL)
    theirs.close()
    child = Child(process, ours)
    reader, child.writer = await asyncio.open_unix_connection(sock=ours, limit=_LINE_BYTES_MAX)
    child.tell(_begin(settings))
    return child, reader


def end_of(child: Child) -> str:
    """How a process ended, in words."""
    code = child.process.returncode
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _begin(settings: Settings) -> Begin:
    return Begin(
        repository=str(settings.repository),
        server_version=settings.server_version,
        limits=settings.limits,
        tier=settings.tier,
        tiers=settings.tiers,
        memory_bytes=settings.memory_mb * 2**20 // settings.processes,
        grace_s=settings.grace_s,
        processes=settings.processes,
        model_control=settings.model_control,
        batching=settings.batching,
        credentials=settings.credentials,
    )

"""Processes as the supervisor has them: how they are started, and what is said to them."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_never

import msgspec

from flowserve.core.models.key import Key
from flowserve.core.models.seat import Gpu
from flowserve.core.models.settings import PerModel
from flowserve.core.observe.measures import ModelMeasure, ProcessMeasure
from flowserve.core.observe.settings import Observed
from flowserve.core.wire.limits import Limits
from flowserve.shell.models.gpus import ORDER
from flowserve.shell.processes.messages import (
    Begin,
    Listening,
    Measure,
    Measured,
    Prepare,
    Prepared,
    ToWorker,
    line,
)
from flowserve.shell.wire.security import Credentials

_TUNABLES = {
    # Huge pages: a run reads all weights of its model. On pages of 4 KiB the processor forgets where they lie
    # whenever something else runs in between.
    "glibc.malloc.hugetlb": "1",
    # One heap: what threads free at the end of heaps of their own is not given back by `malloc_trim`.
    "glibc.malloc.arena_max": "1",
}
_LINE_BYTES_MAX = 64 * 2**20


class Settings(msgspec.Struct, frozen=True):
    """What a server is started with."""

    repository: Path
    server_version: str
    processes: int = 1
    limits: Limits = Limits()
    models: PerModel = PerModel()
    memory_bytes: int = 0
    """That all models may have, 0 for no bound."""
    gpus: tuple[Gpu, ...] = ()
    """With what the models of one process may have there."""
    grace_s: float = 300.0
    model_control: bool = False
    observed: Observed = Observed()
    credentials: Credentials = Credentials()
    left: Path | None = None
    """Where requests leave things for all processes."""


class Child:
    """A process of a server and what the supervisor knows of it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.process = process
        self.channel = channel
        self.began = asyncio.get_running_loop().time()
        self.writer: asyncio.StreamWriter | None = None
        self.serving = False
        self.silent_s = 0
        """Seconds since it last said something; it counts from the first time on, since it has to start."""
        self.spoke = False
        self.listening: list[str] | None = None
        self.ended = False
        self.measures: dict[int, asyncio.Future[None]] = {}
        """By number, of what was asked to be measured."""
        self.measure = ProcessMeasure(process.pid)
        """What it said last that it had counted."""
        self._parts: dict[int, list[ModelMeasure]] = {}
        self.sent_generation = 0
        self.answer: asyncio.Future[Prepared | None] = asyncio.get_running_loop().create_future()
        """Of what was sent last: None when the process ended first."""

    def tell(self, message: ToWorker) -> None:
        """Send a message, if the process is still there."""
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(line(message))

    def hear(self, answer: Prepared | Listening | Measured) -> None:
        """Hear an answer."""
        match answer:
            case Prepared():
                self._prepared(answer)
            case Listening(models):
                self.listening = models
            case Measured():
                self._measured(answer)
            case _:
                assert_never(answer)

    def end(self) -> None:
        """Hear that it has ended: there will be no more answers."""
        assert self.writer is not None
        self.writer.close()
        self.ended = True
        self._prepared(None)
        for answer in self.measures.values():
            if not answer.done():
                answer.set_result(None)
        self.measures.clear()

    def ask_measure(self, number: int, versions: list[Key] | None = None) -> asyncio.Future[None]:
        """Ask what it has counted, of models all or of these versions.

        `measure` is that then, or what it was if the process ends first.
        """
        answer = self.measures[number] = asyncio.get_running_loop().create_future()
        if self.ended:
            answer.set_result(None)
        self.tell(Measure(number, versions))
        return answer

    def prepare(self, prepare: Prepare) -> asyncio.Future[Prepared | None]:
        """Ask it to have a table ready; the answer will be None if the process ends first."""
        self.sent_generation, self.answer = prepare.generation, asyncio.get_running_loop().create_future()
        if self.ended:
            self.answer.set_result(None)
        self.tell(prepare)
        return self.answer

    def _measured(self, heard: Measured) -> None:
        """Hear a part of what it has counted, or the last."""
        parts = self._parts.setdefault(heard.number, [])
        parts += heard.process.models
        if not heard.last:
            return
        del self._parts[heard.number]
        if not heard.whole:
            known = {(of.name, of.version): of for of in (*self.measure.models, *parts)}
            parts = list(known.values())
        self.measure = msgspec.structs.replace(heard.process, models=parts)
        answer = self.measures.pop(heard.number, None)
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _prepared(self, prepared: Prepared | None) -> None:
        """Hear the answer to what was asked last."""
        if not self.answer.done() and (prepared is None or prepared.generation == self.sent_generation):
            self.answer.set_result(prepared)


async def start_child(
    settings: Settings, listeners: Sequence[socket.socket], word: int
) -> tuple[Child, asyncio.StreamReader]:
    """Start a process that is told to begin; what it says comes from the reader.

    The sockets are for HTTP and, if there is a second, gRPC; `word` is a descriptor.
    """
    ours, theirs = socket.socketpair()
    passed = [theirs.fileno(), word, *(listener.fileno() for listener in listeners)]
    command = [sys.executable, "-P", "-m", "flowserve.shell.processes.worker", *map(str, passed)]
    # A group of its own: Ctrl-C is for the supervisor, which passes it on in its way.
    process = subprocess.Popen(
        command,
        pass_fds=passed,
        process_group=0,
        stdin=subprocess.DEVNULL,
        env=environment(os.environ) | ORDER,
    )
    theirs.close()
    child = Child(process, ours)
    reader, child.writer = await asyncio.open_unix_connection(sock=ours, limit=_LINE_BYTES_MAX)
    child.tell(_begin(settings))
    return child, reader


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What a process is started with: malloc is told what it is to do, where nobody has."""
    said = ours.get("GLIBC_TUNABLES", "")
    missing = [f"{name}={value}" for name, value in _TUNABLES.items() if name not in said]
    return {**ours, "GLIBC_TUNABLES": ":".join(filter(None, (said, *missing)))}


def end_of(child: Child) -> str:
    """How a process ended, in words."""
    code = child.process.returncode
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _begin(settings: Settings) -> Begin:
    return Begin(
        repository=str(settings.repository),
        server_version=settings.server_version,
        limits=settings.limits,
        models=settings.models,
        memory_bytes=settings.memory_bytes // settings.processes,
        gpus=settings.gpus,
        grace_s=settings.grace_s,
        processes=settings.processes,
        model_control=settings.model_control,
        observed=settings.observed,
        credentials=settings.credentials,
        left=str(settings.left or ""),
    )

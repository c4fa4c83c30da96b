"""A process that answers requests: it has in memory what the supervisor says, and serves it.

python -m flowserve.shell.processes.worker LISTENER CHANNEL WORD [GRPC]       inherited descriptors
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from flowc.plan.diagnostics import Refused
from flowserve.core.models.evidence import Evidence
from flowserve.core.models.fork import Fork
from flowserve.core.models.key import Key
from flowserve.core.models.registry import Model
from flowserve.core.models.table import Table, Version
from flowserve.core.models.tiers import EAGER, PINNED, Budget
from flowserve.shell.engine.engine import LoopEngine, Settings
from flowserve.shell.engine.warmup import measure
from flowserve.shell.models.loading import load_proven
from flowserve.shell.models.memory import Memory, disk_bytes
from flowserve.shell.models.serving import Serving
from flowserve.shell.processes import generation
from flowserve.shell.processes.hosting import SupervisedRepository
from flowserve.shell.processes.messages import (
    Begin,
    Count,
    Counted,
    Failure,
    Halt,
    Known,
    Listening,
    Moved,
    Prepare,
    Prepared,
    Seen,
    Serve,
    Told,
    ToSupervisor,
    Unable,
    Watched,
    line,
    read_for_worker,
)
from flowserve.shell.wire.connection import Limits
from flowserve.shell.wire.http import Server, serve
from flowserve.shell.wire.security import security_of

_LINE_BYTES_MAX = 256 * 2**20
_LOOK_S = 1.0
_MEASURE_MS = 200.0
_MEASURE_COLD_MS = 20.0  # somebody waits


def main() -> None:
    """Entry point."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    listener, channel, word, *grpc = map(int, sys.argv[1:])
    sockets = [socket.socket(fileno=descriptor) for descriptor in (listener, *grpc)]
    worker = Worker(sockets[0], generation.attach(word), *sockets[1:])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        finished = runner.run(worker.run(socket.socket(fileno=channel)))
    sys.stderr.flush()
    os._exit(0 if finished else 1)  # a model that still runs would keep the process


class Worker:
    """A process of a server."""

    def __init__(self, listener: socket.socket, word: memoryview, grpc: socket.socket | None = None) -> None:
        self._listener = listener
        self._grpc = grpc
        self._serving = Serving(Table([]), word)
        self._versions: dict[Key, Version] = {}
        self._seen: dict[tuple[str, str, int], Evidence] = {}
        self._halted: set[tuple[str, str, int]] = set()
        self._begin = Begin("", "")
        self._threads = ThreadPoolExecutor(1, "loading")
        self._serve: asyncio.Task[bool] | None = None

    async def run(self, channel: socket.socket) -> bool:
        """Do what the supervisor says until it is gone or sends a signal.

        Returns whether all requests were answered.
        """
        reader, self._writer = await asyncio.open_unix_connection(sock=channel, limit=_LINE_BYTES_MAX)
        looking = asyncio.get_running_loop().create_task(self._looking())
        await self._listen(reader)
        looking.cancel()
        return await self._serve if self._serve else True

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while text := await reader.readline():
            match read_for_worker(text):
                case Begin() as begin:
                    self._set_up(begin)
                case Prepare() as prepare:
                    await self._prepare(prepare)
                case Serve():
                    self._serve = asyncio.get_running_loop().create_task(self._accept())
                case Moved():
                    await self._forget()
                case Halt(name, alias, serial):
                    self._halted.add((name, alias, serial))
                    self._serving.halt(self._halted)
                case Known(models):
                    self._repository.known(models)
                case Told() as told:
                    self._repository.told(told)
                case Count(name, version, number):
                    self._count(name, version, number)
        # The supervisor is gone, in whatever way: what was begun is finished.
        if self._serve and not self._serve.done():
            os.kill(os.getpid(), signal.SIGTERM)

    def _set_up(self, begin: Begin) -> None:
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._engine = LoopEngine(self._loop, Settings(batching=begin.batching))
        budget = Budget(begin.memory_bytes, begin.grace_s)
        self._memory = Memory(self._load, partial(disk_bytes, Path(begin.repository)), budget)
        self._serving.lazily(self._memory.load, self._threads)
        self._repository = SupervisedRepository(
            self._serving, self._engine, self._tell, begin.model_control, begin.processes == 1
        )

    def _load(self, key: Key) -> Model:
        """Load a version and measure it, which also warms it up. Runs on the loading thread."""
        model = load_proven(Path(self._begin.repository), key)
        profile = measure(model, _MEASURE_MS if self._tier(key) <= EAGER else _MEASURE_COLD_MS)
        self._loop.call_soon_threadsafe(self._engine.adopt, model, profile)
        return model

    def _count(self, name: str, version: str, number: int) -> None:
        try:
            counts = self._repository.counts(name, version)
        except Refused:  # it is gone meanwhile
            counts = []
        self._tell(Counted(number, counts))

    def _tier(self, key: Key) -> int:
        return self._begin.tiers.get(key.name, self._begin.tier)

    async def _accept(self) -> bool:
        try:
            return await self._serve_all()
        except Refused as refused:
            self._tell(Unable(refused.diagnostics))
            return False
        finally:
            self._writer.close()  # ends `run`, with an exception too: another process is started in its place

    async def _serve_all(self) -> bool:
        """Raises `Refused` where it cannot listen."""
        begin, several = self._begin, self._begin.processes > 1
        server = Server(
            self._serving,
            begin.server_version,
            msgspec.convert(begin.limits, Limits),
            self._repository,
            security_of(begin.credentials),
            self._engine,
            alone=not several,
        )
        beside = []
        if self._grpc is not None:
            from flowserve.shell.wire.grpc import listen

            beside.append(partial(listen, reserved=self._grpc, shared=several))
        models = [
            f"{version.key.name}  version {version.key.version}  "
            f"{version.model.signature if version.model else 'when it is asked for'}"
            for version in self._serving.table
        ]
        return await serve(server, self._listener, lambda: self._tell(Listening(models)), beside)

    async def _prepare(self, prepare: Prepare) -> None:
        """Load what is missing on a thread, so that requests are answered meanwhile.

        What fails stands in the table without its model. The supervisor moves to such a table only where it
        had the version served before, by a process that is gone: then each request for it tries again.
        """
        loop = asyncio.get_running_loop()
        failures: list[Failure] = []
        proven = set(prepare.proven)
        for key in prepare.versions:
            version = self._versions.get(key)
            if version is None:
                version = self._versions[key] = Version(key, tier=self._tier(key))
            if version.model is not None or not self._eager(version, key in proven):
                continue
            outcome = await loop.run_in_executor(self._threads, self._memory.load, version)
            if isinstance(outcome, Refused):
                failures.append(Failure(key, outcome.diagnostics))
        versions = [self._versions[key] for key in prepare.versions]
        forks = self._forks(prepare)
        self._serving.stage(Table(versions, prepare.aliases, prepare.generation, forks))
        self._serving.halt(self._halted)
        self._tell(Prepared(prepare.generation, failures))

    def _forks(self, prepare: Prepare) -> list[Fork]:
        """Where rollouts part requests. What was seen of a step goes on being counted in every table."""
        serving = {(key.name, key.version): self._versions[key] for key in prepare.versions}
        seen: dict[tuple[str, str, int], Evidence] = {}
        forks = []
        for name, of in prepare.rollouts.items():
            for alias, rollout in of.items():
                evidence = self._seen.get((name, alias, rollout.serial)) or Evidence()
                seen[name, alias, rollout.serial] = evidence
                sides = serving[name, rollout.stable], serving[name, rollout.candidate]
                forks.append(Fork(name, alias, rollout, *sides, evidence))
        self._seen = seen
        self._halted &= set(seen)
        return forks

    def _eager(self, version: Version, proven: bool) -> bool:
        """Whether a version is loaded before anybody asks for it."""
        return proven or version.tier <= PINNED or (version.tier <= EAGER and self._memory.fits(version))

    async def _forget(self) -> None:
        """Drop what the current table does not have; a request that holds such a model keeps it."""
        current = {version.key: version for version in self._serving.table}
        gone = [version for key, version in self._versions.items() if current.get(key) is not version]
        self._versions = current
        if gone:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._drop, gone)

    def _drop(self, versions: list[Version]) -> None:
        """Runs on the loading thread."""
        for version in versions:
            self._memory.forget(version)
        self._memory.trim()

    async def _looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self._memory.look()
            forks = self._serving.table.forks if self._serve else ()
            if forks:
                seen = [Seen(of.name, of.alias, of.rollout.serial, of.evidence) for of in forks]
                self._tell(Watched(seen))

    def _tell(self, message: ToSupervisor) -> None:
        self._writer.write(line(message))


if __name__ == "__main__":
    main()

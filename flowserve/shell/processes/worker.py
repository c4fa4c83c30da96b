"""A process that answers requests: it has in memory what the supervisor says, and serves it.

python -m flowserve.shell.processes.worker CHANNEL WORD HTTP [GRPC]       inherited descriptors
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import assert_never

import msgspec
import uvloop

from flowc.plan.diagnostics import Refused
from flowserve.core.engine.profile import Profile
from flowserve.core.engine.tally import Tally
from flowserve.core.models.evidence import Evidence
from flowserve.core.models.fork import Fork
from flowserve.core.models.key import Key
from flowserve.core.models.members import is_bound
from flowserve.core.models.model import Model
from flowserve.core.models.table import Table, Version
from flowserve.core.models.tiers import EAGER, PINNED, Budget
from flowserve.core.observe.measures import ModelMeasure, ProcessMeasure, measured
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.loading import load_measured
from flowserve.shell.models.memory import Memory
from flowserve.shell.models.pipelines import bind, load_pipeline
from flowserve.shell.models.serving import Serving
from flowserve.shell.models.weights import size_on_disk
from flowserve.shell.observe.observer import Observer
from flowserve.shell.observe.process import cpu_s, resident_bytes
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
    Measure,
    Measured,
    Moved,
    Prepare,
    Prepared,
    Seen,
    Serve,
    Told,
    ToSupervisor,
    ToWorker,
    Unable,
    Watched,
    line,
    read_for_worker,
)
from flowserve.shell.wire.http import Endpoint, Server, serve
from flowserve.shell.wire.security import security_of

_LINE_BYTES_MAX = 256 * 2**20
_LOOK_S = 1.0
_MEASURED_AT_ONCE = 20
_LOOKED_AT = 500
_MEASURE_MS = 200.0
_MEASURE_COLD_MS = 20.0  # somebody waits


def main() -> None:
    """Entry point."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    channel, word, *listeners = map(int, sys.argv[1:])
    worker = Worker(generation.attach(word), *(socket.socket(fileno=number) for number in listeners))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        finished = runner.run(worker.run(socket.socket(fileno=channel)))
    sys.stderr.flush()
    os._exit(0 if finished else 1)  # a model that still runs would keep the process


class Worker:
    """A process of a server."""

    def __init__(self, word: memoryview, listener: socket.socket, grpc: socket.socket | None = None) -> None:
        self._listener = listener
        self._grpc = grpc
        self._serving = Serving(Table([]), word)
        self._versions: dict[Key, Version] = {}
        self._seen: dict[tuple[str, str, int], Evidence] = {}
        self._halted: set[tuple[str, str, int]] = set()
        self._begin = Begin("", "")
        self._threads = ThreadPoolExecutor(1, "loading")
        self._serve: asyncio.Task[bool] | None = None
        self._endpoints: list[Endpoint] = []

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
        messages: asyncio.Queue[ToWorker | None] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(messages))
            while text := await reader.readline():
                message = read_for_worker(text)
                if isinstance(message, Measure):  # does not wait for a model to be loaded
                    group.create_task(self._measured(message.number))
                else:
                    messages.put_nowait(message)
            messages.put_nowait(None)
        # The supervisor is gone, in whatever way: what was begun is finished.
        if self._serve and not self._serve.done():
            os.kill(os.getpid(), signal.SIGTERM)

    async def _follow(self, messages: asyncio.Queue[ToWorker | None]) -> None:
        """Do what the supervisor says, one after the other."""
        while (message := await messages.get()) is not None:
            match message:
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
                case Measure():
                    raise AssertionError("it was answered at once")
                case _:
                    assert_never(message)

    def _set_up(self, begin: Begin) -> None:
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._engine = LoopEngine(self._loop)
        budget = Budget(begin.memory_bytes, begin.grace_s)
        self._observer = Observer(begin.observed, begin.server_version) if begin.observed.any else None
        size = partial(size_on_disk, Path(begin.repository), begin.models, begin.processes)
        self._memory = Memory(self._load, size, budget)
        self._serving.lazily(self._memory.load, self._threads)
        self._repository = SupervisedRepository(
            self._serving, self._engine, self._tell, begin.model_control, begin.processes == 1
        )

    def _load(self, version: Version) -> Model:
        """Load a version, whose members are in memory. Runs on the loading thread."""
        repository, settings = Path(self._begin.repository), self._begin.models.of(version.key.name)
        if is_bound(version.key.stamp):
            assert not isinstance(version.members, Refused)
            members = [member.model for member in version.members if member.model is not None]
            model, profile = load_pipeline(repository, version.key, settings, members), Profile()
        else:
            budget_ms = _MEASURE_MS if settings.tier <= EAGER else _MEASURE_COLD_MS
            model, profile = load_measured(repository, version.key, settings, budget_ms)
        self._loop.call_soon_threadsafe(self._engine.adopt, model, profile)
        return model

    def _count(self, name: str, version: str, number: int) -> None:
        try:
            counts = self._repository.counts(name, version)
        except Refused:  # it is gone meanwhile
            counts = []
        self._tell(Counted(number, counts))

    async def _measured(self, number: int) -> None:
        """Tell all that this process has counted, a few models at a time: requests are answered meanwhile."""
        residents = {(of.key.name, of.key.version): of.bytes for of in self._memory.residents()}
        endpoints = self._endpoints
        versions = [
            version
            for version in self._serving.table
            if version.loads or (version.key.name, version.key.version) in self._engine.tallies
        ]
        for start in range(0, len(versions), _MEASURED_AT_ONCE):
            some = versions[start : start + _MEASURED_AT_ONCE]
            models = [self._measure(version, residents) for version in some]
            self._tell(Measured(number, ProcessMeasure(os.getpid(), models=models), last=False))
            await asyncio.sleep(0)
        process = ProcessMeasure(
            os.getpid(),
            cpu_s(),
            resident_bytes(),
            connections=sum(endpoint.open_connections for endpoint in endpoints),
            in_flight=sum(endpoint.in_flight for endpoint in endpoints),
            answers={endpoint.protocol: dict(endpoint.answers) for endpoint in endpoints},
            logs=self._observer.logged if self._observer is not None else {},
        )
        self._tell(Measured(number, process))

    def _measure(self, version: Version, residents: dict[tuple[str, int], int]) -> ModelMeasure:
        key = (version.key.name, version.key.version)
        model = version.model
        return msgspec.structs.replace(
            measured(*key, self._engine.tallies.get(key) or Tally()),
            tier=version.tier,
            loads=version.loads,
            load_ms=version.load_ms,
            evictions=version.evictions,
            bytes=residents.get(key, 0),
            loaded=int(model is not None),
            waiting=self._engine.waiting(model) if model is not None else 0,
        )

    async def _accept(self) -> bool:
        try:
            return await self._answer()
        except Refused as refused:
            self._tell(Unable(refused.diagnostics))
            return False
        finally:
            if self._observer is not None:
                await asyncio.to_thread(self._observer.close)
            self._writer.close()  # ends `run`, also where something unforeseen is raised

    async def _answer(self) -> bool:
        """Serve to the end. Raises `Refused` where it cannot listen."""
        begin, several = self._begin, self._begin.processes > 1
        server = Server(
            self._serving,
            begin.server_version,
            begin.limits,
            self._repository,
            security_of(begin.credentials),
            self._engine,
            alone=not several,
            observer=self._observer,
        )
        beside = []
        if self._grpc is not None:
            from flowserve.shell.wire.grpc import listen

            beside.append(partial(listen, reserved=self._grpc))
        self._endpoints = server.endpoints
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
        new = [key for key in prepare.versions if key not in self._versions]
        latest = {key.name: version for key, version in sorted(self._versions.items())}
        for key in new:
            self._versions[key] = version = Version(key, tier=self._begin.models.of(key.name).tier)
            if key.name in latest:
                self._memory.succeed(version, latest[key.name])
        versions = [self._versions[key] for key in prepare.versions]
        pipelines = [key for key in new if is_bound(key.stamp)]
        if pipelines:
            table = Table(versions, prepare.aliases)
            await loop.run_in_executor(self._threads, self._bind, pipelines, table)
        failed: dict[Version, Refused] = {}
        proven = set(prepare.proven)
        for version in sorted(versions, key=lambda version: is_bound(version.key.stamp)):
            if version.model is not None or not self._eager(version, version.key in proven):
                continue
            outcome = await loop.run_in_executor(self._threads, self._loaded, version, failed)
            if isinstance(outcome, Refused):
                failed[version] = outcome
        forks = self._forks(prepare)
        self._serving.stage(Table(versions, prepare.aliases, prepare.generation, forks))
        self._serving.halt(self._halted)
        failures = [Failure(version.key, refused.diagnostics) for version, refused in failed.items()]
        self._tell(Prepared(prepare.generation, failures))

    def _bind(self, pipelines: list[Key], table: Table) -> None:
        for key in pipelines:
            self._versions[key].members = bind(Path(self._begin.repository), key, table)

    def _loaded(self, version: Version, failed: Mapping[Version, Refused]) -> Model | Refused:
        """Load a version, unless a member of it has failed: that might go well a second time."""
        if not isinstance(version.members, Refused):
            for member in version.members:
                if member in failed:
                    return failed[member]
        return self._memory.load(version)

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
        self._engine.retain((key.name, key.version) for key in current)
        if gone:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._drop, gone)

    def _drop(self, versions: list[Version]) -> None:
        """Runs on the loading thread."""
        for version in versions:
            self._memory.drop(version)
        self._memory.trim()

    async def _looking(self) -> None:
        looked = 0
        while True:
            await asyncio.sleep(_LOOK_S)
            self._memory.look(list(self._versions.values()))
            forks = self._serving.table.forks if self._serve else ()
            if forks:
                seen = [Seen(of.name, of.alias, of.rollout.serial, of.evidence) for of in forks]
                self._tell(Watched(seen))
            looked = self._look_at(looked)
            if (version := self._memory.ahead()) is not None:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, self._memory.load_ahead, version)

    def _look_at(self, start: int) -> int:
        """Bring rates up to date, of some models at a time; returns where to go on."""
        tallies = list(self._engine.tallies.values())
        now_s = self._loop.time()
        for tally in tallies[start : start + _LOOKED_AT]:
            tally.look(now_s)
        return start + _LOOKED_AT if start + _LOOKED_AT < len(tallies) else 0

    def _tell(self, message: ToSupervisor) -> None:
        self._writer.write(line(message))


if __name__ == "__main__":
    main()

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
from functools import partial
from pathlib import Path
from typing import assert_never

import uvloop

from flowc.plan.diagnostics import Refused
from flowc.plan.machine import whole_processors
from flowserve.core.catalog.table import Table
from flowserve.core.observe.measures import ProcessMeasure
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.engine.engine import Settings as EngineSettings
from flowserve.shell.engine.promptness import step_forward
from flowserve.shell.models.serving import Serving
from flowserve.shell.observe.observer import Observer
from flowserve.shell.processes import generation
from flowserve.shell.processes.loader import Loader
from flowserve.shell.processes.measuring import measures, process_measure, settle_rates
from flowserve.shell.processes.messages import (
    Alive,
    Begin,
    Halt,
    Known,
    Listening,
    Measure,
    Measured,
    Moved,
    Noted,
    Prepare,
    Prepared,
    Serve,
    Told,
    ToSupervisor,
    ToWorker,
    Unable,
    Watched,
    line,
    read_for_worker,
)
from flowserve.shell.processes.repository import SupervisedRepository
from flowserve.shell.wire.http import Endpoint, Server, serve
from flowserve.shell.wire.security import security_of

_LINE_BYTES_MAX = 256 * 2**20
_LOOK_S = 1.0


def main() -> None:
    """Entry point."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    step_forward()
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
        self._begin = Begin("", "")
        self._serve: asyncio.Task[bool] | None = None
        self._looks: asyncio.Task[None] | None = None
        self._endpoints: list[Endpoint] = []

    async def run(self, channel: socket.socket) -> bool:
        """Do what the supervisor says until it is gone or sends a signal.

        Returns whether all requests were answered.
        """
        reader, self._writer = await asyncio.open_unix_connection(sock=channel, limit=_LINE_BYTES_MAX)
        await self._listen(reader)
        if self._looks is not None:
            self._looks.cancel()
        return await self._serve if self._serve else True

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        messages: asyncio.Queue[ToWorker | None] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(messages))
            while text := await reader.readline():
                message = read_for_worker(text)
                if isinstance(message, Measure):  # does not wait for a model to be loaded
                    group.create_task(self._measured(message))
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
                    failures = await self._loader.prepare(prepare)
                    self._tell(Prepared(prepare.generation, failures))
                case Serve():
                    self._serve = asyncio.get_running_loop().create_task(self._accept())
                case Moved():
                    await self._loader.forget()
                case Halt(name, alias, serial):
                    self._loader.halt(name, alias, serial)
                case Known(models):
                    self._repository.known(models)
                case Told() as told:
                    self._repository.told(told)
                case Measure():
                    raise AssertionError("it was answered at once")
                case _:
                    assert_never(message)

    def _set_up(self, begin: Begin) -> None:
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        # Each has its part of the processors.
        mine = max(1, whole_processors() // begin.processes)
        self._engine = LoopEngine(self._loop, EngineSettings(processors=mine))
        self._observer = Observer(begin.observed, begin.server_version) if begin.observed.any else None
        self._loader = Loader(begin, self._serving, self._engine, lambda text: self._tell(Noted(text)))
        self._repository = SupervisedRepository(self._serving, self._tell, begin.model_control)
        self._looks = self._loop.create_task(self._looking())
        self._live()

    async def _measured(self, asked: Measure) -> None:
        """Tell what this process has counted, a few models at a time: requests are answered meanwhile."""
        number, resident = asked.number, self._loader.resident_bytes()
        for some in measures(self._serving.table, self._engine, resident, asked.versions):
            self._tell(Measured(number, ProcessMeasure(os.getpid(), models=some), last=False))
            await asyncio.sleep(0)
        process = process_measure(self._endpoints, self._observer)
        self._tell(Measured(number, process, whole=asked.versions is None))

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
        begin = self._begin
        server = Server(
            self._serving,
            begin.server_version,
            begin.limits,
            self._repository,
            security_of(begin.credentials),
            self._engine,
            left=Path(begin.left) if begin.left else None,
            observer=self._observer,
        )
        beside = []
        if self._grpc is not None:
            from flowserve.shell.wire.grpc.server import listen

            beside.append(partial(listen, reserved=self._grpc))
        self._endpoints = server.endpoints
        models = [
            f"{version.key.name}  version {version.key.version}  "
            f"{version.model.signature if version.model else 'when it is asked for'}"
            for version in self._serving.table
        ]
        return await serve(server, self._listener, lambda: self._tell(Listening(models)), beside)

    def _live(self) -> None:
        """Give a sign of life. By itself: to look may take as long as to load a model."""
        self._tell(Alive())
        self._loop.call_later(_LOOK_S, self._live)

    async def _looking(self) -> None:
        looked = 0
        while True:
            await asyncio.sleep(_LOOK_S)
            self._loader.look()
            if self._serve and (seen := self._loader.seen()):
                self._tell(Watched(seen))
            looked = settle_rates(self._engine, self._loop.time(), looked)
            await self._loader.load_ahead()

    def _tell(self, message: ToSupervisor) -> None:
        self._writer.write(line(message))


if __name__ == "__main__":
    main()

"""Supervises the processes of a server: starts and restarts them, hears them, ends them. It has no models."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, print_diagnostics, refuse
from flowserve.core.catalog.operations import Load, Refresh, Unload
from flowserve.core.models.key import Key
from flowserve.core.models.seat import Gpu
from flowserve.shell.processes import generation
from flowserve.shell.processes.children import Child, Settings, end_of, start_child
from flowserve.shell.processes.control import model_rows
from flowserve.shell.processes.messages import (
    Asked,
    Count,
    Known,
    Noted,
    Scrape,
    Seen,
    Serve,
    Told,
    Unable,
    Watched,
)
from flowserve.shell.processes.pool import Pool
from flowserve.shell.processes.served import Served, prepare_of
from flowserve.shell.processes.totals import Totals
from flowserve.shell.wire.ending import end_signals
from flowserve.shell.wire.listening import BACKLOG, address_of, inode_of, reason, remove_unix

_log = logging.getLogger("flowserve")
_EVENTS_MAX = 100
_WARNINGS_MAX = 40
_MENDED = "{}all else serves; `flowserve models --running` lists it, `flowserve load NAME` tries again"

OnRequest = Callable[[Load | Unload], Awaitable[tuple[Diagnostic, ...]]]


class Supervisor:
    """The server as a whole."""

    def __init__(
        self, settings: Settings, listener: socket.socket, grpc: socket.socket | None = None
    ) -> None:
        """Both sockets are bound and do not listen yet."""
        self._settings = settings
        self._listeners = [listener, *([grpc] if grpc else [])]
        self._inodes = [inode_of(socket) for socket in self._listeners]
        descriptor = generation.make()
        start = partial(start_child, settings, self._listeners, descriptor)
        silent_s = settings.limits.silent_s
        self._pool = Pool(settings.processes, silent_s, start, self._hear, self._ended, self._started)
        self.served = Served(self._pool, generation.attach(descriptor), self.note)
        self.totals = Totals(settings.server_version, self._pool, self.served)
        self._asked: set[asyncio.Task[None]] = set()
        self.on_request: OnRequest | None = None
        """Does what clients of the processes ask for; what it returns is why it did not."""
        self.on_seen: Callable[[int, list[Seen]], None] = lambda process, seen: None
        """Hears what a process has seen of rollouts."""
        self.on_death: Callable[[int], None] = lambda code: None
        """Hears how a process ended that served."""
        self.on_failures: Callable[[list[Key]], None] = lambda keys: None
        """Hears what a process could not load that was started while others served."""
        self._unable: tuple[Diagnostic, ...] = ()
        self.events: deque[str] = deque(maxlen=_EVENTS_MAX)
        self._stop = asyncio.Event()

    @property
    def repository(self) -> Path:
        """Where the models are."""
        return self._settings.repository

    @property
    def memory_bytes(self) -> int:
        """What all models may have; 0 for no bound."""
        return self._settings.memory_bytes

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """That models may compute on, with what they may have there in all processes."""
        of = self._settings
        return tuple(msgspec.structs.replace(gpu, bytes=gpu.bytes * of.processes) for gpu in of.gpus)

    def pids(self) -> list[int]:
        """The processes that serve."""
        return [worker.process.pid for worker in self._pool.serving().values()]

    @property
    def restarts(self) -> int:
        """How many processes died and were started again."""
        return self._pool.restarts

    def stop(self) -> None:
        """Finish what was begun and end; asked again, end at once."""
        if self._stop.is_set():
            self._pool.signal(signal.SIGINT)
        self._stop.set()

    async def run(
        self,
        found: Refresh,
        on_listening: Callable[[list[str]], None],
        problems: Sequence[Diagnostic] = (),
    ) -> bool:
        """Serve until `stop`. Returns whether everything that was begun was finished.

        What does not load is told of, with the `problems` that others have had already. Raises `Refused` when
        nothing loads.
        """
        loop = asyncio.get_running_loop()
        for number in end_signals():
            loop.add_signal_handler(number, self.stop)
        try:
            await self._pool.begin()
            if not await self._until_stop(self._begin(found, problems)):
                return True
            self._listen()
            for worker in self._pool.living():
                self._admit(worker)
            while not self._stop.is_set() and (listening := self._pool.listening()) is None:
                if self._unable:
                    raise Refused(*self._unable)
                await asyncio.sleep(0.005)
            if not self._stop.is_set():
                on_listening(listening or [])
                self._pool.grow()
            await self._stop.wait()
        finally:
            finished = await self._end()
        return finished

    def note(self, text: str) -> None:
        """Tell of something that happened."""
        _log.info("%s", text)
        self._remember(text)

    def _remember(self, text: str) -> None:
        self.events.append(f"{time.strftime('%H:%M:%S')}  {text}")

    async def _begin(self, found: Refresh, problems: Sequence[Diagnostic]) -> None:
        """Have the first process load what was found. Raises `Refused` when nothing loads."""
        try:
            told = [*problems, *await self.served.begin(found)]
        except Refused as refused:
            raise Refused(*problems, *refused.diagnostics) from None
        if told:
            warnings = [msgspec.structs.replace(of, severity="warning") for of in told[:_WARNINGS_MAX]]
            print_diagnostics(warnings)
            more = f"{len(told) - len(warnings):,} more, " if len(told) > len(warnings) else ""
            print(_MENDED.format(more), file=sys.stderr, flush=True)
        for diagnostic in told:
            self._remember(f"not served: {diagnostic.message}")

    def _admit(self, worker: Child) -> None:
        """Let a process serve that has the current table."""
        worker.serving = True
        worker.tell(Known(model_rows(self.served.catalog)))
        worker.tell(Serve())

    def _listen(self) -> None:
        """From now on connections wait in the sockets' queues, for whichever process accepts them."""
        for listener in self._listeners:
            try:
                listener.listen(BACKLOG)
            except OSError as error:  # another process has bound the address too, and listens already
                address = address_of(listener)
                refuse("FS104", f"the server cannot listen on `{address}`: {reason(error)}")

    # Processes

    def _hear(self, worker: Child, message: Unable | Watched | Noted | Asked) -> None:
        match message:
            case Unable(diagnostics):
                self._unable = diagnostics
                if self._pool.listening() is not None:  # else the server ends with it
                    self.note("; ".join(diagnostic.message for diagnostic in diagnostics))
            case Watched(seen):
                self.on_seen(worker.process.pid, seen)
            case Noted(text):
                if not any(event.endswith(text) for event in self.events):  # each process says so
                    self.note(text)
            case Asked(number, request):
                asked = asyncio.get_running_loop().create_task(self._tell(worker, number, request))
                self._asked.add(asked)
                asked.add_done_callback(self._asked.discard)
            case _:
                assert_never(message)

    def _ended(self, worker: Child) -> None:
        """Hear that a process ended; one that had served, and was not told to end, is started again."""
        self.totals.keep(worker)
        if worker.serving and not self._pool.ending:
            self.on_death(worker.process.returncode)
            self.note(f"process {worker.process.pid} ended ({end_of(worker)}), and is started again")

    async def _started(self, worker: Child) -> bool:
        """Let a process serve that was started while others do. Returns whether it lived so long."""
        while not self._pool.ending:
            catalog = self.served.catalog
            prepared = await worker.prepare(prepare_of(catalog))
            if prepared is None:
                return False
            self.on_failures([failure.key for failure in prepared.failures])
            if catalog.generation == self.served.catalog.generation:
                self._admit(worker)
                break
        return True

    async def _tell(self, worker: Child, number: int, request: Load | Unload | Count | Scrape) -> None:
        if isinstance(request, Count):
            worker.tell(Told(number, statistics=await self.totals.statistics(request)))
        elif isinstance(request, Scrape):
            worker.tell(Told(number, packed=await self.totals.exposed(request)))
        else:
            assert self.on_request is not None
            worker.tell(Told(number, await self.on_request(request)))

    async def _until_stop(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do work; false when the server is to stop first."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        return False

    async def _end(self) -> bool:
        self._pool.ending = True
        for task in self._asked:
            task.cancel()
        for listener, inode in zip(self._listeners, self._inodes, strict=True):
            address = address_of(listener)
            listener.close()
            remove_unix(address, inode)
        return await self._pool.end(self._settings.limits.drain_s)

"""Supervises the processes of a server: starts and restarts them, and moves all of them on at once.

It has no models itself. An operation is done in three steps: every process loads and checks what is missing;
the catalog takes note of what failed; the word that all processes read is set to the next generation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.catalog.catalog import Catalog
from flowserve.core.catalog.changes import Ended, changes, rollout_changes, rollouts_ended
from flowserve.core.catalog.operations import Load, Operation, Refresh, Unload, propose
from flowserve.core.catalog.rolling import EndRollout, Step
from flowserve.core.catalog.settling import Settled, settle
from flowserve.core.models.key import Key
from flowserve.core.models.seat import Gpu
from flowserve.shell.processes import generation
from flowserve.shell.processes.children import Child, Settings, end_of, start_child
from flowserve.shell.processes.control import model_rows
from flowserve.shell.processes.messages import (
    Asked,
    Count,
    Halt,
    Known,
    Moved,
    Noted,
    Prepare,
    Scrape,
    Seen,
    Serve,
    Told,
    Unable,
    Watched,
)
from flowserve.shell.processes.pool import Pool
from flowserve.shell.processes.totals import Totals
from flowserve.shell.wire.listening import BACKLOG, address_of, inode_of, reason, remove_unix

_log = logging.getLogger("flowserve")
_QUEUE_MAX = 32
_EVENTS_MAX = 100

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
        self._word = generation.attach(descriptor)
        self._catalog = Catalog()
        start = partial(start_child, settings, self._listeners, descriptor)
        self._pool = Pool(settings.processes, start, self._hear, self._ended, self._started)
        self.totals = Totals(settings.server_version, self._pool, lambda: self._catalog)
        self._asked: set[asyncio.Task[None]] = set()
        self.on_request: OnRequest | None = None
        """Does what clients of the processes ask for; what it returns is why it did not."""
        self.on_seen: Callable[[int, list[Seen]], None] = lambda process, seen: None
        """Hears what a process has seen of rollouts."""
        self.on_death: Callable[[int], None] = lambda code: None
        """Hears how a process ended that served."""
        self.on_failures: Callable[[list[Key]], None] = lambda keys: None
        """Hears what a process could not load that was started while others served."""
        self.on_rollout_end: Callable[[Ended], None] = lambda ended: None
        """Hears how a rollout ended, by whatever operation."""
        self._unable: tuple[Diagnostic, ...] = ()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self.events: deque[str] = deque(maxlen=_EVENTS_MAX)
        self._stop = asyncio.Event()

    @property
    def repository(self) -> Path:
        """Where the models are."""
        return self._settings.repository

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """That models may compute on, with what they may have there in all processes."""
        of = self._settings
        return tuple(msgspec.structs.replace(gpu, bytes=gpu.bytes * of.processes) for gpu in of.gpus)

    @property
    def catalog(self) -> Catalog:
        """What is served now."""
        return self._catalog

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
            self._pool.signal(signal.SIGTERM)
        self._stop.set()

    async def run(self, found: Refresh, on_listening: Callable[[list[str]], None]) -> bool:
        """Serve until `stop`. Returns whether everything that was begun was finished.

        Raises `Refused` when a version does not load: a server starts with all of its models or not at all.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            await self._pool.begin()
            settled = await self._until_stop(self._first(found))
            if settled is None:
                return True
            for change in rollout_changes(Catalog(), settled):
                self.note(change)
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

    @property
    def waiting(self) -> int:
        """How many operations are being done or wait for their turn."""
        return self._waiting

    def note(self, text: str) -> None:
        """Tell of something that happened."""
        _log.info("%s", text)
        self.events.append(f"{time.strftime('%H:%M:%S')}  {text}")

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until nobody else changes anything. Raises `Refused` FS107 when too many wait."""
        if self._waiting >= _QUEUE_MAX:
            refuse("FS107", f"{self._waiting} operations wait for their turn already")
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1

    async def operate(self, operation: Operation) -> Settled:
        """Do an operation, within a turn. Raises `Refused`."""
        before = self._catalog
        settled, _ = await self._make(operation)
        reason = operation.reason if isinstance(operation, Step | EndRollout) else ""
        for change in changes(before, settled, reason):
            self.note(change)
        for ended in rollouts_ended(before, settled, reason):
            self.on_rollout_end(ended)
        return settled

    def halt(self, name: str, alias: str, serial: int) -> None:
        """Let the candidate of a rollout get nothing more, before the rollout ends."""
        for worker in self._pool.living():
            worker.tell(Halt(name, alias, serial))

    # Operations

    async def _first(self, found: Refresh) -> Settled:
        async with self._turn:
            settled, diagnostics = await self._make(found)
        if diagnostics:
            raise Refused(*diagnostics)
        return settled

    async def _make(self, operation: Operation) -> tuple[Settled, list[Diagnostic]]:
        proposal = propose(self._catalog, operation)
        failed: dict[Key, str] = {}
        diagnostics: list[Diagnostic] = []
        settled = settle(proposal, failed)
        while proposal.load or settled.catalog.generation != proposal.before.generation:
            new = await self._prepared(settled.catalog, set(proposal.load) - set(failed), proposal.whole)
            for key, of in new.items():
                failed[key] = "; ".join(diagnostic.message for diagnostic in of)
                diagnostics += of
            settled = settle(proposal, failed)
            if not new or settled.catalog.generation == proposal.before.generation:
                break
        # No `await` since the last process was ready: none can have come to serve without this table.
        self._catalog = settled.catalog
        self._word[0] = self._catalog.generation
        known = Known(model_rows(self._catalog)) if self._catalog != proposal.before else None
        for worker in self._pool.living():
            if proposal.load or settled.catalog.generation != proposal.before.generation:
                worker.tell(Moved(self._catalog.generation))
            if worker.serving and known:
                worker.tell(known)
        return settled, diagnostics

    async def _prepared(
        self, catalog: Catalog, loading: set[Key], proven: bool
    ) -> dict[Key, tuple[Diagnostic, ...]]:
        """Have every process load a catalog; return what failed in one of them.

        What is `loading` and must be `proven` is loaded even where its tier would have it wait for a request.
        """
        must = sorted(loading) if proven else []
        prepare = _prepare(catalog, must)
        first = not self._catalog.generation
        failed: dict[Key, tuple[Diagnostic, ...]] = {}
        asked: set[Child] = set()
        # Again for those that have come to serve meanwhile.
        while new := [w for w in self._pool.living() if (w.serving or first) and w not in asked]:
            asked.update(new)
            for answer in await asyncio.gather(*(worker.prepare(prepare) for worker in new)):
                if answer is not None:
                    failed |= {of.key: of.diagnostics for of in answer.failures if of.key in loading}
                elif first:
                    refuse("FS109", "a server process ended while it loaded the models", hint=_CRASH)
                else:  # It cannot be told which of them it was; each may be tried alone.
                    said = "a server process ended while {} was loaded"
                    failed |= {key: (Diagnostic("FS109", said.format(key), hint=_CRASH),) for key in loading}
        return failed

    def _admit(self, worker: Child) -> None:
        """Let a process serve that has the current table."""
        worker.serving = True
        worker.tell(Known(model_rows(self._catalog)))
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
            catalog = self._catalog
            prepared = await worker.prepare(_prepare(catalog))
            if prepared is None:
                return False
            self.on_failures([failure.key for failure in prepared.failures])
            if catalog.generation == self._catalog.generation:
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

    async def _until_stop(self, work: Coroutine[Any, Any, Settled]) -> Settled | None:
        """The result of work, None when the server is to stop first."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        return None

    async def _end(self) -> bool:
        self._pool.ending = True
        for task in self._asked:
            task.cancel()
        for listener, inode in zip(self._listeners, self._inodes, strict=True):
            address = address_of(listener)
            listener.close()
            remove_unix(address, inode)
        return await self._pool.end(self._settings.limits.drain_s)


def _prepare(catalog: Catalog, proven: Iterable[Key] = ()) -> Prepare:
    of = catalog.serving(), catalog.aliases(), catalog.rollouts()
    return Prepare(catalog.generation, *of, list(proven))


_CRASH = "the process's last words are above; a model that crashes onnxruntime takes its process along"

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
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowc.plan.exposition import exposition
from flowserve.core.models.catalog import (
    Catalog,
    Load,
    Operation,
    Refresh,
    Settled,
    Unload,
    propose,
    settle,
)
from flowserve.core.models.changes import Ended, changes, rollout_changes, rollouts_ended
from flowserve.core.models.key import Key
from flowserve.core.models.rolling import EndRollout, Step
from flowserve.core.observe.measures import ProcessMeasure, ServerMeasure, both, together
from flowserve.core.observe.metrics import metrics
from flowserve.core.wire.coding import packed
from flowserve.core.wire.statistics import ModelStatistics, summed
from flowserve.shell.processes import generation
from flowserve.shell.processes.children import Child, Settings, end_of, start_child
from flowserve.shell.processes.control import model_rows
from flowserve.shell.processes.messages import (
    Asked,
    Count,
    Counted,
    Halt,
    Known,
    Listening,
    Measured,
    Moved,
    Prepare,
    Prepared,
    Scrape,
    Seen,
    Serve,
    Told,
    Unable,
    Watched,
    read_for_supervisor,
)
from flowserve.shell.wire.listening import BACKLOG, address_of, inode_of, reason, remove_unix

_log = logging.getLogger("flowserve")
_QUEUE_MAX = 32
_EVENTS_MAX = 100
_MEASURE_S = 2.0
_DELAY_S_MAX = 30.0
_STEADY_S = 10.0  # a process that lived so long died of something new

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
        self._descriptor = generation.make()
        self._word = generation.attach(self._descriptor)
        self._catalog = Catalog()
        self._workers: list[Child | None] = [None] * settings.processes
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: set[asyncio.Task[None]] = set()
        self.on_request: OnRequest | None = None
        """Does what clients of the processes ask for; what it returns is why it did not."""
        self.on_seen: Callable[[int, list[Seen]], None] = lambda process, seen: None
        """Hears what a process has seen of rollouts."""
        self.on_death: Callable[[int], None] = lambda code: None
        """Hears how a process ended that served."""
        self.on_failures: Callable[[list[Key]], None] = lambda keys: None
        """Hears what a process that was started again could not load."""
        self.on_rollout_end: Callable[[Ended], None] = lambda ended: None
        """Hears how a rollout ended, by whatever operation."""
        self._number = 0
        self._unable: tuple[Diagnostic, ...] = ()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._deaths = [0] * settings.processes
        self._stopping = False
        self.restarts = 0
        self.events: deque[str] = deque(maxlen=_EVENTS_MAX)
        self._stop = asyncio.Event()
        self._started_s = time.time()
        self._gone = ProcessMeasure(0)

    @property
    def repository(self) -> Path:
        """Where the models are."""
        return self._settings.repository

    @property
    def catalog(self) -> Catalog:
        """What is served now."""
        return self._catalog

    def pids(self) -> list[int]:
        """The processes that serve."""
        return [worker.process.pid for worker in self._workers if worker and worker.serving]

    def stop(self) -> None:
        """Finish what was begun and end; asked again, end at once."""
        if self._stop.is_set():
            self._signal(signal.SIGTERM)
        self._stop.set()

    async def run(self, found: Refresh, on_listening: Callable[[list[str]], None]) -> bool:
        """Serve until `stop`. Returns whether everything that was begun was finished.

        Raises `Refused` when a version does not load: a server starts with all of its models or not at all.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            for index in range(self._settings.processes):
                await self._start(index)
            settled = await self._until_stop(self._first(found))
            if settled is None:
                return True
            for change in rollout_changes(Catalog(), settled):
                self.note(change)
            self._listen()
            for worker in self._workers:
                self._admit(worker)
            while not self._stop.is_set() and not all(w and w.listening is not None for w in self._workers):
                if self._unable:
                    raise Refused(*self._unable)
                await asyncio.sleep(0.005)
            if not self._stop.is_set():
                first = self._workers[0]
                on_listening((first and first.listening) or [])
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
        for worker in self._workers:
            if worker:
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
        for worker in self._workers:
            if worker and (proposal.load or settled.catalog.generation != proposal.before.generation):
                worker.tell(Moved(self._catalog.generation))
            if worker and worker.serving and known:
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
        while new := [w for w in self._workers if w and (w.serving or first) and w not in asked]:
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

    def _admit(self, worker: Child | None) -> None:
        """Let a process serve that has the current table."""
        if worker and not worker.serving:
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

    async def _start(self, index: int) -> None:
        worker, reader = await start_child(self._settings, self._listeners, self._descriptor)
        self._workers[index] = worker
        task = asyncio.get_running_loop().create_task(self._follow(index, worker, reader))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, index: int, worker: Child, reader: asyncio.StreamReader) -> None:
        """Hear what a process says, and start another when it ends."""
        with contextlib.suppress(OSError):
            while text := await reader.readline():
                match read_for_supervisor(text):
                    case Prepared() as prepared:
                        worker.prepared(prepared)
                    case Listening(models):
                        worker.listening = models
                    case Unable(diagnostics):
                        self._unable = diagnostics
                        if self.restarts:  # else the server ends with it
                            self.note("; ".join(diagnostic.message for diagnostic in diagnostics))
                    case Measured(number, process, last):
                        worker.measured(number, process, last)
                    case Counted(number, statistics):
                        worker.counted(number, statistics)
                    case Watched(seen):
                        self.on_seen(worker.process.pid, seen)
                    case Asked(number, request):
                        asked = asyncio.get_running_loop().create_task(self._tell(worker, number, request))
                        self._asked.add(asked)
                        asked.add_done_callback(self._asked.discard)
        await asyncio.to_thread(worker.process.wait)
        assert worker.writer is not None
        worker.writer.close()
        self._workers[index] = None if not self._stopping else worker
        worker.ended = True
        worker.prepared(None)
        for number in list(worker.counts):
            worker.counted(number, [])
        for number in list(worker.measures):
            worker.measured(number, None, last=True)
        self._gone = both(self._gone, worker.measure)
        if self._stopping or not worker.serving:
            return
        self.on_death(worker.process.returncode)
        await self._again(index, worker)

    async def _tell(self, worker: Child, number: int, request: Load | Unload | Count | Scrape) -> None:
        if isinstance(request, Count):
            worker.tell(Told(number, statistics=await self._counted(request)))
        elif isinstance(request, Scrape):
            worker.tell(Told(number, packed=await self._scraped(request)))
        else:
            assert self.on_request is not None
            worker.tell(Told(number, await self.on_request(request)))

    async def _counted(self, request: Count) -> list[ModelStatistics]:
        """What all processes have counted; one that is loading a model answers after that."""
        self._number += 1
        count = msgspec.structs.replace(request, number=self._number)
        answers = [worker.count(count) for worker in self._workers if worker and worker.serving]
        return summed(await asyncio.gather(*answers))

    async def measured(self) -> ServerMeasure:
        """What the server has counted. A process that does not answer soon counts as when it last did."""
        workers = {str(i): w for i, w in enumerate(self._workers) if w and w.serving}
        self._number += 1
        answers = [worker.ask_measure(self._number) for worker in workers.values()]
        if answers:
            await asyncio.wait(answers, timeout=_MEASURE_S)
        catalog = self._catalog
        served = {(key.name, key.version) for key in catalog.serving()}
        counted = together([self._gone.models, *(worker.measure.models for worker in workers.values())])
        return ServerMeasure(
            self._settings.server_version,
            self._started_s,
            catalog.generation,
            self.restarts,
            dict(Counter(row.state for row in model_rows(catalog))),
            {place: msgspec.structs.replace(worker.measure, models=[]) for place, worker in workers.items()},
            self._gone,
            [model for model in counted if (model.name, model.version) in served],
        )

    async def _scraped(self, scrape: Scrape) -> bytes:
        measure = await self.measured()

        def text() -> bytes:
            return packed(exposition(metrics(measure, scrape.stages), scrape.openmetrics).encode(), "gzip")

        # Of a thousand models that is 16 MB, and neither operations nor requests are to wait for it.
        return await asyncio.to_thread(text)

    async def _again(self, index: int, dead: Child) -> None:
        lived_s = asyncio.get_running_loop().time() - dead.began
        self._deaths[index] = 1 if lived_s > _STEADY_S else self._deaths[index] + 1
        delay_s = min(_DELAY_S_MAX, 0.1 * 2 ** (self._deaths[index] - 1) - 0.1)
        self.restarts += 1
        self.note(f"process {dead.process.pid} ended ({end_of(dead)}), and is started again")
        await asyncio.sleep(delay_s)
        if self._stopping:
            return
        await self._start(index)
        worker = self._workers[index]
        assert worker is not None
        while not self._stopping:
            catalog = self._catalog
            prepared = await worker.prepare(_prepare(catalog))
            if prepared is None:
                await self._again(index, worker)
                return
            self.on_failures([failure.key for failure in prepared.failures])
            if catalog.generation == self._catalog.generation:
                self._admit(worker)
                return

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

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            if worker and worker.process.poll() is None:
                worker.process.send_signal(number)

    async def _end(self) -> bool:
        self._stopping = True
        for task in self._asked:
            task.cancel()
        for listener, inode in zip(self._listeners, self._inodes, strict=True):
            address = address_of(listener)
            listener.close()
            remove_unix(address, inode)
        self._signal(signal.SIGTERM)
        processes = [worker.process for worker in self._workers if worker]
        waits = [asyncio.to_thread(process.wait, self._settings.limits.drain_s + 5) for process in processes]
        codes = await asyncio.gather(*waits, return_exceptions=True)
        for process in processes:
            if process.poll() is None:
                process.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return all(code in (0, -signal.SIGTERM) for code in codes)


def _prepare(catalog: Catalog, proven: Iterable[Key] = ()) -> Prepare:
    of = catalog.serving(), catalog.aliases(), catalog.rollouts()
    return Prepare(catalog.generation, *of, list(proven))


_CRASH = "the process's last words are above; a model that crashes onnxruntime takes its process along"

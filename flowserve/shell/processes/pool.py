"""The processes of a server: every place has one, which is started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from flowserve.shell.processes.children import Child
from flowserve.shell.processes.messages import (
    Alive,
    Asked,
    Listening,
    Measured,
    Noted,
    Prepared,
    Unable,
    Watched,
    read_for_supervisor,
)

_DELAY_S_MAX = 30.0
_STEADY_S = 10.0  # a process that lived so long died of something new
_KILL_S = 5.0  # after it should have ended
_LOOK_S = 1.0


class Pool:
    """Of one server. `ending` is set before the processes are to end: then none is started again."""

    def __init__(
        self,
        places: int,
        silent_s: float,
        start: Callable[[], Awaitable[tuple[Child, asyncio.StreamReader]]],
        hear: Callable[[Child, Unable | Watched | Noted | Asked], None],
        ended: Callable[[Child], None],
        started: Callable[[Child], Awaitable[bool]],
    ) -> None:
        """A process that says nothing for `silent_s` hangs, and is killed.

        `hear` gets what a process says that is no answer, `ended` every process that has ended. `started`
        makes one serve that was started while others do, and says whether it lived so long.
        """
        self._silent_s = silent_s
        self._start_child = start
        self._hear = hear
        self._ended = ended
        self._started = started
        self._workers: list[Child | None] = [None] * places
        self._deaths = [0] * places
        self._tasks: set[asyncio.Task[None]] = set()
        self.ending = False
        self.restarts = 0

    def living(self) -> list[Child]:
        """The processes that there are."""
        return [worker for worker in self._workers if worker]

    def serving(self) -> dict[int, Child]:
        """Those that answer requests, by their places."""
        return {place: worker for place, worker in enumerate(self._workers) if worker and worker.serving}

    def listening(self) -> list[str] | None:
        """What the first has told of its models, once it accepts connections; None before."""
        first = self._workers[0]
        return first.listening if first else None

    async def begin(self) -> None:
        """Start the first process."""
        await self._start(0)
        self._keep(self._look_for_life())

    def grow(self) -> None:
        """Start a process at every other place. Each serves as soon as it has all models."""
        for place in range(1, len(self._workers)):
            self._keep(self._fill(place))

    def signal(self, number: int) -> None:
        """Send a signal to all."""
        for worker in self.living():
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    async def end(self, drain_s: float) -> bool:
        """Have all end. Returns whether they had finished what was begun."""
        self.ending = True
        self.signal(signal.SIGTERM)
        processes = [worker.process for worker in self.living()]
        waits = [asyncio.to_thread(process.wait, drain_s + _KILL_S) for process in processes]
        codes = await asyncio.gather(*waits, return_exceptions=True)
        for process in processes:
            if process.poll() is None:
                process.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return all(code in (0, -signal.SIGTERM, -signal.SIGHUP) for code in codes)

    async def _start(self, place: int) -> Child:
        worker, reader = await self._start_child()
        self._workers[place] = worker
        self._keep(self._follow(place, worker, reader))
        return worker

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, place: int, worker: Child, reader: asyncio.StreamReader) -> None:
        """Hear what a process says, and start another when it ends."""
        with contextlib.suppress(OSError):
            while text := await reader.readline():
                worker.spoke, worker.silent_s = True, 0
                match read_for_supervisor(text):
                    case Alive():
                        pass
                    case Prepared() | Listening() | Measured() as answer:
                        worker.hear(answer)
                    case message:
                        self._hear(worker, message)
        await asyncio.to_thread(worker.process.wait)
        self._workers[place] = None if not self.ending else worker
        worker.end()
        self._ended(worker)
        if worker.serving and not self.ending:
            await self._again(place, worker)

    async def _look_for_life(self) -> None:
        """Kill what hangs. Counted in looks, not by a clock: a host that was suspended kills nobody."""
        while not self.ending:
            await asyncio.sleep(_LOOK_S)
            for worker in self.living():
                worker.silent_s += worker.spoke
                if worker.silent_s > self._silent_s and worker.process.poll() is None:
                    pid = worker.process.pid
                    text = f"process {pid} gave no sign of life for {worker.silent_s} s, and is killed"
                    self._hear(worker, Noted(text))
                    worker.process.kill()

    async def _again(self, place: int, dead: Child) -> None:
        lived_s = asyncio.get_running_loop().time() - dead.began
        self._deaths[place] = 1 if lived_s > _STEADY_S else self._deaths[place] + 1
        self.restarts += 1
        await asyncio.sleep(min(_DELAY_S_MAX, 0.1 * 2 ** (self._deaths[place] - 1) - 0.1))
        await self._fill(place)

    async def _fill(self, place: int) -> None:
        """Start a process while others serve."""
        if self.ending:
            return
        worker = await self._start(place)
        if not await self._started(worker):
            await self._again(place, worker)

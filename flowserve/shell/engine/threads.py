"""A bounded pool of threads that tell the event loop when a job has ended."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import select
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from flowserve.shell.engine.promptness import step_back

Job = Callable[[], Any]
_Work = tuple[Job, Callable[[Any], None]]
_End = tuple["Threads", Callable[[Any], None], Any]


class Threads:
    """Runs jobs on at most `bound` threads, which are started when they are needed.

    `concurrent.futures` makes a future with a lock and a condition for each job; nobody waits for these.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bound: int,
        freed: Callable[[Threads], None] = lambda threads: None,
        beside: Threads | None = None,
    ) -> None:
        """`freed` hears on the loop of every end of a job; so does, in its `rest`, the pool `beside` it."""
        self._loop = loop
        self._freed = freed
        self._bound = bound
        self._started = 0
        self._busy = 0  # jobs that were given and have not ended
        self.starved: dict[Any, None] = {}
        """Who found no thread free, first come first served; for who gives jobs."""
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        # The loop does not know of these yet.
        self._unheard: SimpleQueue[_End] = beside._unheard if beside is not None else SimpleQueue()
        self._rest: _Rest = beside._rest if beside is not None else _Rest()

    @property
    def free(self) -> int:
        """How many jobs could begin at once."""
        return self._bound - self._busy

    @property
    def busy(self) -> bool:
        """Whether a job has not ended."""
        return self._busy > 0

    def run(self, job: Job, ended: Callable[[Any], None]) -> None:
        """Run `job` on a thread, then `ended` with its result on the loop. A job must not raise."""
        self._busy += 1
        if self._busy > self._started and self._started < self._bound:
            self._started += 1
            # Daemons: one that hangs in a model must not keep the process from ending.
            threading.Thread(target=self._serve, name=f"model-{self._started}", daemon=True).start()
        self._work.put((job, ended))

    def rest(self, seconds: float) -> None:
        """Hold the loop still until a job ends, at most so long: meanwhile nothing interrupts them."""
        self._rest.until(seconds, self._unheard.empty)
        self._hear()

    def close(self) -> None:
        """Let every thread end after what it was given."""
        for _ in range(self._started):
            self._work.put(None)

    def _serve(self) -> None:
        step_back()
        while (work := self._work.get()) is not None:
            job, ended = work
            result = job()
            self._unheard.put((self, ended, result))
            if not self._rest.interrupt():
                with contextlib.suppress(RuntimeError):  # the loop is closed: the server ended in a hurry
                    self._loop.call_soon_threadsafe(self._hear)
            del work, job, ended, result  # else kept until the next one comes

    def _hear(self) -> None:
        with contextlib.suppress(Empty):  # who was told first has heard all
            while True:
                _end(*self._unheard.get_nowait())


class _Rest:
    """Of the loop: until a thread interrupts it.

    Not by a lock, which is given while holding Python's own: the loop would be woken only to wait for that.
    """

    def __init__(self) -> None:
        self._resting = False
        self._interrupted = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._interrupted, select.POLLIN)

    def __del__(self) -> None:
        os.close(self._interrupted)

    def until(self, seconds: float, wanted: Callable[[], bool]) -> None:
        """Rest for so long at most, and not at all unless it is `wanted` when threads can interrupt it."""
        self._resting = True
        try:
            if wanted() and self._poll.poll(math.ceil(seconds * 1e3)):
                os.eventfd_read(self._interrupted)
        finally:
            self._resting = False

    def interrupt(self) -> bool:
        """End the rest; false where there is none."""
        if not self._resting:
            return False
        os.eventfd_write(self._interrupted, 1)
        return True


def _end(of: Threads, ended: Callable[[Any], None], result: Any) -> None:
    of._busy -= 1
    ended(result)
    of._freed(of)

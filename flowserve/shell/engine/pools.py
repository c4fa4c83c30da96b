"""The threads of one process: those of its CPUs, and those of each GPU for what waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from flowserve.core.models.seat import HOST
from flowserve.shell.engine.threads import Threads


class Pools:
    """A pool of threads for each space that models are in. Used on the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: int,
        gpu_threads: int,
        freed: Callable[[Threads], None],
    ) -> None:
        """So many threads for the CPUs, and for each GPU; `freed` hears of a pool that a job has left."""
        self._loop = loop
        self._gpu_threads = gpu_threads
        self._freed = freed
        self._host = Threads(loop, threads, freed)
        self._pools = {HOST: self._host}

    def of(self, space: str) -> Threads:
        """The pool of the models that are there."""
        pool = self._pools.get(space)
        if pool is None:
            pool = self._pools[space] = Threads(self._loop, self._gpu_threads, self._freed, self._host)
        return pool

    @property
    def busy(self) -> bool:
        """Whether a thread has work."""
        if self._host.busy:
            return True
        return len(self._pools) > 1 and any(pool.busy for pool in self._pools.values())

    def run(self, job: Callable[[], Any], ended: Callable[[Any], None]) -> None:
        """Run a job that is no model's; it must not raise."""
        self._host.run(job, ended)

    def rest(self, seconds: float) -> None:
        """Hold the loop still while threads run models, if they do, until one has ended or so long."""
        if self.busy:
            self._host.rest(seconds)

    def close(self) -> None:
        """Let the threads end after what they were given."""
        for pool in self._pools.values():
            pool.close()

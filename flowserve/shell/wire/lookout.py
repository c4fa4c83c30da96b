"""Looking for the next request for a moment, while they come one soon after the other, before sleeping.

An event loop with nothing to do sleeps in the kernel until something comes. To be woken takes longer than a
small model does, on virtual machines and on processors that save power most of all. See decision 11.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from time import perf_counter


class Lookout:
    """Keeps the loop of a process awake for `look_s` after a request that came as soon after another.

    Off when that is 0. Nobody looks out while `busy` says that threads have work: they need the processor.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, look_s: float, busy: Callable[[], bool]) -> None:
        self._loop = loop
        self._look_s = look_s
        self._busy = busy
        self._last = 0.0
        self._until = 0.0
        self._looking = False

    def came(self) -> None:
        """Hear that a request has come and is answered, or is being answered."""
        now = perf_counter()
        if now - self._last < self._look_s:
            self._until = now + self._look_s
            if not self._looking and not self._busy():
                self._looking = True
                self._loop.call_soon(self._look)
        self._last = now

    def _look(self) -> None:
        if perf_counter() < self._until and not self._busy():
            os.sched_yield()
            self._loop.call_soon(self._look)
        else:
            self._looking = False

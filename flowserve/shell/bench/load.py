"""Sends requests for a while: as fast as they are answered, or at a rate of their own.

At a rate (an open loop) every request has a time at which it is due, whatever became of those before it; what
it takes counts from then, also where it could only be sent later. So a server that stands still for a second
is seen by all the requests that fell into that second, and not by the few that were on their way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import cycle
from time import perf_counter

from flowserve.core.bench.latencies import Latencies
from flowserve.shell.bench.links import Link

_SPIN_S = 0.002  # uvloop's timers count whole milliseconds: what is due sooner is looked for at every turn
_PATIENCE_S = 5.0


class Load:
    """One go: requests over links until it is stopped."""

    def __init__(self, requests: Sequence[bytes], rate: float) -> None:
        """`rate` is in requests a second, 0 for a closed loop."""
        self.latencies = Latencies()
        self.failed: dict[str, int] = {}
        self.unsent = 0
        self.seconds = 0.0
        self._requests = cycle(requests)
        self._rate = rate
        self._idle: list[Link] = []
        self._busy = 0
        self._sent = 0
        self._began_s = 0.0
        self._stopped = True
        self._drained = asyncio.Event()
        self._pumping: asyncio.Handle | None = None

    async def run(self, links: Sequence[Link], seconds: float, stop: asyncio.Event) -> None:
        """Send for so long, or until `stop`; then wait for what is on its way."""
        self._stopped, self._busy = False, 0
        self._idle = [link for link in reversed(links) if not link.busy]
        self._began_s = perf_counter()
        if self._rate:
            self._pump()
        else:
            while self._idle:
                self._send(self._idle.pop(), perf_counter())
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass
        self._stopped = True
        if self._pumping is not None:
            self._pumping.cancel()
        self.seconds = perf_counter() - self._began_s
        if self._rate:
            self.unsent = max(0, int(self.seconds * self._rate) - self._sent)
        if self._busy:
            self._drained.clear()
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._drained.wait()
            except TimeoutError:
                self.failed["unanswered"] = self._busy

    def answered(self, link: Link, outcome: str) -> None:
        """Hear how a request ended, and send the next."""
        self._busy -= 1
        now_s = perf_counter()
        if outcome:
            self.failed[outcome] = self.failed.get(outcome, 0) + 1
        else:
            self.latencies.add(now_s - link.due_s)
        if self._stopped:
            if not self._busy:
                self._drained.set()
        elif self._rate:
            self._idle.append(link)
            if self._pumping is None or self._due_s() <= now_s:
                self._pump()
        else:
            self._send(link, now_s)

    def _send(self, link: Link, due_s: float) -> None:
        self._busy += 1
        self._sent += 1
        link.due_s = due_s
        link.send(next(self._requests), self.answered)

    def _due_s(self) -> float:
        return self._began_s + self._sent / self._rate

    def _pump(self) -> None:
        """Send what is due, as far as links are free, and come again when the next is due.

        Where none is free, `_pumping` stays None, and whoever is answered first goes on.
        """
        if self._pumping is not None:
            self._pumping.cancel()
            self._pumping = None
        while self._idle and not self._stopped:
            wait_s = self._due_s() - perf_counter()
            if wait_s <= 0:
                self._send(self._idle.pop(), self._due_s())
                continue
            loop = asyncio.get_running_loop()
            soon = wait_s < _SPIN_S
            self._pumping = (
                loop.call_soon(self._pump) if soon else loop.call_later(wait_s - _SPIN_S / 2, self._pump)
            )
            return

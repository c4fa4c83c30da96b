"""Waiting for many descriptors at once: who waits says once what is to be called."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Mapping

from flowrun.shell.lookout import BRISK_S, look_out

IN, OUT = select.EPOLLIN, select.EPOLLOUT
Call = Callable[[], None]
_MOST = 4096  # events of one wait; more come with the next


class Readiness:
    """Descriptors, and what to call when something happens at them. What is called must not block."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Call] = {}
        self._listened: dict[int, int] = {}
        self._ready: set[int] = set()
        self._brisk = False  # something follows soon on something else

    def add(self, descriptor: int, call: Call) -> None:
        """Call when there is something to read, until `remove`."""
        self._epoll.register(descriptor, IN)
        self._calls[descriptor] = call

    def also_out(self, descriptor: int, out: bool) -> None:
        """Call when there is room to write as well, or no longer."""
        self._epoll.modify(descriptor, IN | OUT if out else IN)

    def remove(self, descriptor: int) -> None:
        """Wait no more. Before the descriptor is closed: a fork may hold it open."""
        if self._calls.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def wait(self, timeout_ms: int, listens: Mapping[int, int] | None = None) -> set[int]:
        """Wait and call. `listens` has further descriptors and their events: those that are ready return."""
        if listens is not None and listens != self._listened:
            self._listen(listens)
        ready = self._ready
        ready.clear()
        calls = self._calls
        for descriptor, _ in self._events(timeout_ms / 1000):
            call = calls.get(descriptor)
            if call is not None:
                call()
            elif descriptor in self._listened:
                ready.add(descriptor)
        return ready

    def _events(self, timeout_s: float) -> list[tuple[int, int]]:
        """What happens. If that was soon the last time, it is looked out for."""
        if self._brisk and (found := look_out(lambda: self._epoll.poll(0, _MOST))):
            return found
        began = time.perf_counter()
        found = self._epoll.poll(timeout_s, _MOST)
        self._brisk = time.perf_counter() - began < BRISK_S
        return found

    def close(self) -> None:
        """Wait for nothing any more."""
        self._epoll.close()

    def _listen(self, listens: Mapping[int, int]) -> None:
        """Wait for these descriptors. One of the same number may have been closed meanwhile."""
        for descriptor in self._listened:
            if descriptor not in listens:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(descriptor)
        for descriptor, events in listens.items():
            if self._listened.get(descriptor) == events:
                continue
            try:
                self._epoll.register(descriptor, events)
            except FileExistsError:
                self._epoll.modify(descriptor, events)
        self._listened = dict(listens)

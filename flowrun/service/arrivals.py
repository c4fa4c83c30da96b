"""Requests that take more than a moment: they go on in steps, between the turns of the loop."""

from __future__ import annotations

import select
from collections import deque

from flowc.plan.diagnostics import Refused
from flowrun.service.aside import Aside
from flowrun.service.messages import Answer, Refusal
from flowrun.service.runs import Steps
from flowrun.service.sockets import Client

MOST = 4  # that go on at a time; others wait for them


class Arrivals:
    """What clients wait for, in order; a client is `busy` until it has its answer."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Client, Steps]] = deque()
        self._going: dict[Client, tuple[Steps, Aside | None]] = {}

    @property
    def due(self) -> bool:
        """Whether something can go on at once."""
        return any(aside is None for _, aside in self._going.values())

    def listens(self) -> dict[int, int]:
        """What to wait for: descriptors, with events of `poll`."""
        return {aside.ended: select.POLLIN for _, aside in self._going.values() if aside is not None}

    def add(self, client: Client, steps: Steps) -> None:
        """Take a request up, at once if few others go on."""
        client.busy = True
        self._waiting.append((client, steps))
        self._take_up()

    def advance(self, ready: set[int]) -> None:
        """A step of each that waits for nothing, or for one of these descriptors."""
        for client, (steps, aside) in list(self._going.items()):
            if aside is None or aside.ended in ready:
                self._step(client, steps)
        self._take_up()

    def close(self, refusal: Refusal) -> None:
        """Do none of it."""
        for client, steps in [
            *((client, steps) for client, (steps, _) in self._going.items()),
            *self._waiting,
        ]:
            steps.close()
            _answer(client, refusal)
        self._going.clear()
        self._waiting.clear()

    def _take_up(self) -> None:
        while self._waiting and len(self._going) < MOST:
            self._step(*self._waiting.popleft())

    def _step(self, client: Client, steps: Steps) -> None:
        self._going.pop(client, None)
        try:
            self._going[client] = (steps, next(steps))
        except StopIteration as end:
            _answer(client, end.value)
        except Refused as refusal:
            _answer(client, Refusal(refusal.diagnostics))


def _answer(client: Client, answer: Answer) -> None:
    client.busy = False
    client.answer(answer)

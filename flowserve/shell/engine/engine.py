"""Runs calls: those that are short inline on the event loop, others on threads."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.engine.calls import Call
from flowserve.core.engine.costs import Costs
from flowserve.core.models.registry import Model
from flowserve.core.wire.tensors import Array
from flowserve.shell.engine.threads import Threads

_log = logging.getLogger("flowserve")


class Settings(msgspec.Struct, frozen=True):
    """What an operator may turn."""

    inline_ms: float = 0.25
    """Up to this expected time a call runs on the loop: going to a thread and back costs about as much."""
    threads: int = 16
    """In all. More than the CPUs: the system shares these fairly between a slow model and a fast one."""
    threads_a_model: int = max(1, os.cpu_count() or 1)


class _Lane:
    """A model's calls."""

    def __init__(self) -> None:
        self.costs = Costs()
        self.waiting: deque[Call] = deque()
        self.running = 0


class LoopEngine:
    """The engine of one process. Made and used on its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: Settings = Settings()) -> None:  # noqa: B008
        self._settings = settings
        self._threads = Threads(loop, settings.threads)
        # By identity: hashing a model would hash all of its signature. A lane ends with its model.
        self._lanes: dict[int, _Lane] = {}
        self._watched: dict[int, weakref.ref[Model]] = {}
        self._cancelled: set[int] = set()

    def now_ms(self) -> float:
        """Milliseconds of a clock that only goes on, for deadlines."""
        return time.monotonic() * 1e3

    def submit(self, call: Call) -> None:
        """Take a call; see `calls.Engine`."""
        lane = self._lanes.get(id(call.model)) or self._open_lane(call.model)
        if lane.costs.known and lane.costs.expected_ms(call.rows) <= self._settings.inline_ms:
            began = time.perf_counter()
            result = run(call.model, call.feed, call.outputs)
            lane.costs.observe(call.rows, (time.perf_counter() - began) * 1e3)
            call.done(result)
            return
        lane.waiting.append(call)
        self._begin(lane)

    def cancel(self, call: Call) -> None:
        """Drop a call whose client has left; see `calls.Engine`."""
        call.done = _nobody

    def aside(self, job: Callable[[], Any], ended: Callable[[Any], None]) -> None:
        """Run a job that is no model's, such as reading a long body, on a thread; it must not raise."""
        self._threads.run(job, ended)

    def close(self) -> None:
        """Let the threads end after what they were given."""
        self._threads.close()

    def _open_lane(self, model: Model) -> _Lane:
        lane, key = _Lane(), id(model)
        lanes, watched = self._lanes, self._watched

        def forget(_: object) -> None:
            lanes.pop(key, None)
            watched.pop(key, None)

        lanes[key] = lane
        watched[key] = weakref.ref(model, forget)
        return lane

    def _begin(self, lane: _Lane) -> None:
        while lane.waiting and lane.running < self._settings.threads_a_model:
            call = lane.waiting.popleft()
            if call.done is _nobody:
                continue
            lane.running += 1
            self._threads.run(functools.partial(_timed, call), functools.partial(self._ended, lane, call))

    def _ended(self, lane: _Lane, call: Call, result: tuple[list[Array] | Refused, float]) -> None:
        outputs, ms = result
        lane.running -= 1
        lane.costs.observe(call.rows, ms)
        self._begin(lane)
        call.done(outputs)


def run(model: Model, feed: dict[str, Array], outputs: tuple[str, ...]) -> list[Array] | Refused:
    """Run a model; what it raises is a refusal, and our bugs are logged."""
    try:
        return model.run(feed, outputs)
    except Refused as refused:
        return refused
    except Exception:
        _log.exception("a request to model %s, version %s, failed", model.name, model.version)
        return Refused(Diagnostic("FS210", "the server failed while answering; its log has the reason"))


def _timed(call: Call) -> tuple[list[Array] | Refused, float]:
    began = time.perf_counter()
    result = run(call.model, call.feed, call.outputs)
    return result, (time.perf_counter() - began) * 1e3


def _nobody(result: list[Array] | Refused) -> None:
    """Who hears of a call whose client has left."""

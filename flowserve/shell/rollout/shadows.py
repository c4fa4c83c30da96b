"""Runs on a candidate what the stable version has answered, where there is nothing better to do.

Nobody waits for it: it is begun when the answer is written, one at a time, by the engine's lowest priority,
beside the model's own queue and statistics. What comes while the process is busy is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from time import perf_counter, process_time, thread_time

import msgspec

from flowc.plan.diagnostics import Refused
from flowc.plan.machine import whole_processors
from flowserve.core.arrays import Array
from flowserve.core.catalog.split import Split
from flowserve.core.engine.calls import Call, Engine
from flowserve.core.models.model import Model
from flowserve.core.models.settings import PRIORITIES
from flowserve.core.rollout.comparing import compare
from flowserve.core.rollout.evidence import Difference, add_difference, observe

_log = logging.getLogger("flowserve")
_WAITING_MAX = 4
_BYTES_MAX = 4 * 2**20
_INLINE_BYTES_MAX = 64 * 2**10
# More of the loop's thread, or of all processors, than this is load: nothing is run that nobody waits for.
_BUSY = 0.6
_LOOK_S = 0.02
# Shadows and comparing them take no more of the time, so that few requests come while one is run.
_SHARE = 0.1


class Shadow(msgspec.Struct, eq=False):
    """A request that the stable version has answered, and how long that ran."""

    split: Split
    feed: dict[str, Array]
    names: tuple[str, ...]
    rows: int
    outputs: list[Array]
    ms: float


class Shadows:
    """Of one process. All methods run on its loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[Shadow] = deque()
        self._running = False
        self._spare = Spare()
        self._began = 0.0

    def offer(self, shadow: Shadow) -> None:
        """Run this later, or drop it."""
        arrays = (*shadow.feed.values(), *shadow.outputs)
        large = sum([array.nbytes for array in arrays]) > _BYTES_MAX
        if large or len(self._waiting) >= _WAITING_MAX or not self._spare.now():
            shadow.split.evidence.shadow.dropped += 1
            return
        self._waiting.append(shadow)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._next)  # after the answer is written

    def _next(self) -> None:
        while self._waiting:
            shadow = self._waiting.popleft()
            model = shadow.split.candidate.model
            if model is None or not self._spare.now():
                shadow.split.evidence.shadow.dropped += 1
                continue
            shadow.split.candidate.uses += 1
            began = self._began = perf_counter()

            def done(result: list[Array] | Refused) -> None:
                self._ran(shadow, model, result, (perf_counter() - began) * 1e3)  # noqa: B023 - left at once

            twin, lowest = shadow.split.twin(model), PRIORITIES - 1
            call = Call(twin, shadow.feed, shadow.names, shadow.rows, done, priority=lowest)
            self._engine.submit(call)
            return
        self._running = False

    def _ran(self, shadow: Shadow, model: Model, result: list[Array] | Refused, ms: float) -> None:
        of = shadow.split.evidence.shadow
        if isinstance(result, Refused):
            of.failed += 1
            self._go_on()
            return
        observe(of.stable, shadow.ms)
        observe(of.candidate, ms)
        specs = {spec.name: spec for spec in model.signature.outputs}
        tolerance = shadow.split.rollout.plan.tolerance

        def compared() -> tuple[float, dict[str, Difference]]:
            try:
                wanted = [specs[name] for name in shadow.names]
                return compare(wanted, shadow.outputs, result, shadow.rows, tolerance)
            except Exception:
                _log.exception("outputs of two versions could not be compared")
                return 1.0, {}

        if sum([array.nbytes for array in result]) <= _INLINE_BYTES_MAX:
            self._count(shadow, compared())
        else:
            task = asyncio.get_running_loop().run_in_executor(None, compared)
            task.add_done_callback(lambda ended: self._count(shadow, ended.result()))

    def _count(self, shadow: Shadow, found: tuple[float, dict[str, Difference]]) -> None:
        of = shadow.split.evidence.shadow
        of.compared += 1
        of.disagreement += found[0]
        for name, difference in found[1].items():
            add_difference(of.outputs.setdefault(name, Difference()), difference)
        self._go_on()

    def _go_on(self) -> None:
        rest_s = (perf_counter() - self._began) * (1 / _SHARE - 1)
        asyncio.get_running_loop().call_later(rest_s, self._next)


class Spare:
    """Whether there is time to spare, by what the loop's thread and the process have used lately."""

    def __init__(self) -> None:
        self._processors = whole_processors()
        self._at, self._thread, self._process = perf_counter(), thread_time(), process_time()
        self._there_is = True

    def now(self) -> bool:
        """Whether there is; looked at every 20 ms, so that it costs nothing to ask."""
        now = perf_counter()
        passed = now - self._at
        if passed >= _LOOK_S:
            thread, process = thread_time(), process_time()
            busy = max(thread - self._thread, (process - self._process) / self._processors)
            self._there_is = busy < _BUSY * passed
            self._at, self._thread, self._process = now, thread, process
        return self._there_is

"""Runs calls: those that are short inline on the event loop, others on threads, together where that helps."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import Any

import msgspec

from flowc.plan.diagnostics import Refused
from flowc.plan.machine import whole_processors
from flowserve.core.arrays import Array
from flowserve.core.engine.calls import Call
from flowserve.core.engine.profile import Profile
from flowserve.core.engine.tally import Tally
from flowserve.core.models.model import ByModel, Model
from flowserve.core.models.seat import GPU_THREADS
from flowserve.shell.engine.dispatch import Dispatch
from flowserve.shell.engine.gate import Gate
from flowserve.shell.engine.lanes import Lane
from flowserve.shell.engine.passage import Passage
from flowserve.shell.engine.pools import Pools
from flowserve.shell.engine.running import Result, run
from flowserve.shell.engine.telling import count

# After so many turns of the loop with one call each, the next calls are not kept for others of their turn,
# but for one in a while.
_ALONE_MAX = 8
_LOOK_AGAIN = 32


class Settings(msgspec.Struct, frozen=True):
    """What an operator may turn."""

    inline_ms: float = 0.25
    """Up to this expected time a call runs on the loop: going to a thread and back costs about as much."""
    threads: int = 16
    """In all. More than the CPUs: the system shares these fairly between a slow model and a fast one."""
    gpu_threads: int = GPU_THREADS
    """Of each GPU, for the models there: what waits for it takes no thread from what computes here."""
    processors: int = whole_processors()
    """So many runs of one model beside each other, unless its settings say otherwise."""


class LoopEngine:
    """The engine of one process. Made and used on its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: Settings = Settings()) -> None:  # noqa: B008
        self._settings = settings
        self._dispatch = Dispatch(loop, self.now_ms)
        self._pools = Pools(loop, settings.threads, settings.gpu_threads, self._dispatch.feed)
        self.tallies: dict[tuple[str, int], Tally] = {}
        """What was counted, by name and version, also of what is not in memory."""
        self.ran_ms = 0.0
        """How long `run_now` took last."""
        self._lanes = ByModel(lambda model: self._lane(model, Profile()))
        self._passages: dict[Call, Passage] = {}
        self.gate = Gate(loop, self._lanes, self.now_ms, self._pools.rest)

    def now_ms(self) -> float:
        """Milliseconds of a clock that only goes on, for deadlines."""
        return monotonic() * 1e3

    def adopt(self, model: Model, profile: Profile) -> None:
        """Hear what a warm-up found out about a model. Without, it is learned from requests."""
        self._lanes.set(model, self._lane(model, profile))

    def run_now(
        self,
        model: Model,
        feed: dict[str, Array],
        outputs: tuple[str, ...],
        rows: int,
        deadline_ms: float | None,
        looked: bool = False,
    ) -> Result | None:
        """Run what is soon over while nothing of its model waits or runs. None: a call must be made of it.

        The path that most requests take, so short. `looked`: no other answer than by a run was found.
        """
        lane = self._lanes.of(model)
        batcher = lane.batcher
        if (lane.special and not looked) or batcher.waiting or batcher.running:
            return None
        if not self._may_run_now(lane, rows, deadline_ms):
            return None
        clock = lane.clock
        self.gate.in_a_row = 0
        began = clock()
        result = run(model, feed, outputs)
        self.ran_ms = ms = (clock() - began) * 1e3
        lane.costs.observe(rows, ms)
        if isinstance(result, Refused):
            lane.tally.ran(rows, ms)
            lane.tally.failure(ms)
        else:
            lane.tally.alone(rows, ms, time())
        return result

    def submit(self, call: Call) -> None:
        """Take a call; see `calls.Engine`."""
        lane = self._lanes.of(call.model)
        if lane.special and (lane.answer_from_cache(call) or self._passes(lane, call)):
            return
        result = self.run_now(call.model, call.feed, call.outputs, call.rows, call.deadline_ms, looked=True)
        if result is None:
            self._dispatch.take(lane, call)
            return
        call.run_ms, call.run_rows = self.ran_ms, call.rows
        call.done(result)

    def _passes(self, lane: Lane, call: Call) -> bool:
        """Send a call through a pipeline; false where the model is none."""
        if lane.bound is None:
            return False
        began_ms = self.now_ms()
        deadline_ms = lane.deadline_ms(call.deadline_ms, began_ms)
        call.deadline_ms = None if deadline_ms == math.inf else deadline_ms
        call.priority = lane.priority(call.priority)

        def done(result: Result) -> None:
            self._passages.pop(call, None)
            ms = self.now_ms() - began_ms
            lane.tally.ran(call.rows, ms)
            count(lane.tally, call.rows, result, 0.0, ms)
            call.run_ms, call.run_rows = ms, call.rows
            call.done(result)

        passage = self._passages[call] = Passage(self, call, lane.stages(call.outputs), done)
        passage.begin()
        return True

    def is_crowded(self, model: Model) -> bool:
        """Whether it is worth asking the gate before a request is read to its end."""
        return bool(self._dispatch.waiting) and self._lanes.of(model).batcher.waiting > 0

    def cancel(self, call: Call) -> None:
        """Drop a call whose client has left; see `calls.Engine`."""
        call.done = _nobody
        if (passage := self._passages.pop(call, None)) is not None:
            passage.cancel()
        self._dispatch.drop(call)

    def aside(self, job: Callable[[], Any], ended: Callable[[Any], None]) -> None:
        """Run a job that is no model's, such as reading a long body, on a thread; it must not raise."""
        self._pools.run(job, ended)

    def tally(self, model: Model) -> Tally:
        """What was counted of a model's calls; see `calls.Engine`."""
        return self._lanes.of(model).tally

    @property
    def uses_threads(self) -> bool:
        """Whether a thread has work."""
        return self._pools.busy

    def waiting(self, model: Model) -> int:
        """How many calls wait for a model to run."""
        return self._lanes.of(model).batcher.waiting

    def retain(self, versions: Iterable[tuple[str, int]]) -> None:
        """Forget what was counted of all but these."""
        for gone in self.tallies.keys() - set(versions):
            del self.tallies[gone]

    def close(self) -> None:
        """Let the threads end after what they were given."""
        self._pools.close()

    def _lane(self, model: Model, profile: Profile) -> Lane:
        # The tally outlives the model, which may leave memory and come again.
        tally = self.tallies.setdefault((model.name, model.version), Tally())
        # What waits for a GPU would hold the loop still meanwhile.
        inline_ms = -1.0 if model.seat.on_gpu else self._settings.inline_ms
        return Lane(
            model, profile, self._settings.processors, tally, self._pools.of(model.seat.space), inline_ms
        )

    def _may_run_now(self, lane: Lane, rows: int, deadline_ms: float | None) -> bool:
        if not lane.costs.known or lane.costs.expected_ms(rows) > lane.inline_ms:
            return False
        if deadline_ms is not None and self.now_ms() >= deadline_ms:
            return False
        if not lane.joins or rows >= lane.batcher.policy.rows_max:
            return True
        if lane.alone < _ALONE_MAX:
            return False
        lane.alone += 1
        if lane.alone >= _ALONE_MAX + _LOOK_AGAIN:
            lane.alone = _ALONE_MAX - 1
        return True


def _nobody(result: object) -> None:
    """Who hears of a call whose client has left."""

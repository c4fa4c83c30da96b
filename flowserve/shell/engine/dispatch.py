"""Calls that wait, and how they come to run: batch by batch, on the loop or on a thread."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable

from flowserve.core.engine.batching import Batch, Entry, Refusal
from flowserve.core.engine.calls import Call
from flowserve.core.engine.joining import join_key
from flowserve.core.engine.overload import explained
from flowserve.shell.engine.lanes import Lane
from flowserve.shell.engine.running import Ran, run_batch
from flowserve.shell.engine.telling import learn, tell
from flowserve.shell.engine.threads import Threads

_TICK_S = 0.05


class Dispatch:
    """The calls of all models that could not run at once. Used on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now_ms: Callable[[], float]) -> None:
        self._loop = loop
        self._now_ms = now_ms
        self.waiting: dict[Call, tuple[Lane, Entry]] = {}
        self._ticking = False

    def take(self, lane: Lane, call: Call) -> None:
        """Let a call wait for its turn, which may be now, or refuse it."""
        batcher = lane.batcher
        key = None
        if lane.joins:
            key = call.outputs if lane.plain else join_key(call.feed, call.outputs)
        now_ms = self._now_ms()
        deadline_ms = lane.deadline_ms(call.deadline_ms, now_ms)
        entry = Entry(call, call.rows, key, deadline_ms, lane.priority(call.priority))
        self.waiting[call] = lane, entry
        self._refuse(batcher.arrived(entry, now_ms))
        if lane.joins and not batcher.running:
            # What else arrives in this turn of the loop may go with it.
            self._advance_soon(lane)
        else:
            self._advance(lane)
        if batcher.waiting and not self._ticking:
            self._ticking = True
            self._loop.call_later(_TICK_S, self._tick)

    def drop(self, call: Call) -> None:
        """Forget a call, if it still waits."""
        if (waiting := self.waiting.pop(call, None)) is not None:
            lane, entry = waiting
            lane.batcher.cancelled(entry)

    def feed(self, threads: Threads) -> None:
        """Let those begin that found no thread free, as many as there are threads now."""
        while threads.starved and threads.free:
            lane = next(iter(threads.starved))
            del threads.starved[lane]
            self._advance(lane)

    def _advance_soon(self, lane: Lane) -> None:
        lane.gathered += 1
        if not lane.will_advance:
            lane.will_advance = True
            self._loop.call_soon(self._advance_gathered, lane)

    def _advance_gathered(self, lane: Lane) -> None:
        lane.alone = lane.alone + 1 if lane.gathered == 1 else 0
        lane.gathered = 0
        lane.will_advance = False
        self._advance(lane)

    def _advance(self, lane: Lane) -> None:
        """Begin what may run."""
        batcher = lane.batcher
        while batcher.waiting:
            if not lane.threads.free:
                lane.threads.starved[lane] = None
                return
            now_ms = self._now_ms()
            batch, refused = batcher.next(now_ms)
            self._refuse(refused)
            if batch is None:
                if (wake_ms := batcher.wake_ms()) < math.inf:
                    self._loop.call_later(max(0.0, wake_ms - now_ms) / 1e3, self._advance, lane)
                return
            calls = [entry.call for entry in batch.entries]
            for call in calls:
                del self.waiting[call]
            if lane.costs.known and batch.expected_ms <= lane.inline_ms:
                ran = run_batch(calls, lane.clock)
                self._ended(lane, batch, ran)
                tell(lane.tally, batch, ran)
            else:
                job = functools.partial(run_batch, calls, lane.clock)
                lane.threads.run(job, functools.partial(self._ran, lane, batch))

    def _ran(self, lane: Lane, batch: Batch, ran: Ran) -> None:
        """Hear that a thread has run a batch. The next one begins before answers are written."""
        self._ended(lane, batch, ran)
        self._advance(lane)
        tell(lane.tally, batch, ran)

    def _ended(self, lane: Lane, batch: Batch, ran: Ran) -> None:
        lane.batcher.ended(batch, self._now_ms())
        learn(lane, batch, ran)

    def _refuse(self, refusals: list[Refusal]) -> None:
        for refusal in refusals:
            call = refusal.entry.call
            if (waiting := self.waiting.pop(call, None)) is None:
                continue  # its client has left when another of these was told
            lane, _ = waiting
            lane.tally.failure(max(0.0, self._now_ms() - refusal.entry.arrived_ms))
            call.done(explained(call.model.name, refusal))

    def _tick(self) -> None:
        """Refuse what has waited beyond its deadline."""
        now_ms = self._now_ms()
        lanes = {id(lane): lane for lane, _ in self.waiting.values()}
        for lane in lanes.values():
            self._refuse(lane.batcher.expired(now_ms))
        self._ticking = bool(self.waiting)
        if self._ticking:
            self._loop.call_later(_TICK_S, self._tick)

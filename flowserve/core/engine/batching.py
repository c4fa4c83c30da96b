"""When a model's calls run and which of them together: no clock, no thread; times are given, in milliseconds.

What arrives is admitted or refused at once. Whoever drives a `Batcher` asks it for the `next` batch whenever
something has arrived, ended or been waited for, and runs what it is given. Calls that arrive while as many
batches run as may make the next one: it grows by itself under load, and nobody waits when there is none.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from enum import Enum
from typing import Any

import msgspec

_PASSED_MAX = 256
_SMOOTHING = 1 / 8
_STRETCH_MAX = 100.0
# Times are estimated, and a little more than the estimate must fit into a deadline.
_MARGIN = 1.4


class Policy(msgspec.Struct, frozen=True):
    """How the calls of one model run."""

    concurrency: int = 1
    """So many batches run at a time."""
    rows_max: int = 0
    """Of a batch; 0 runs every call by itself. A call that has more by itself runs by itself."""
    preferred_rows: int = 0
    delay_ms: float = 0.0
    """So long an idle model waits for a batch of `preferred_rows`."""
    queue_max: int = 1024
    """Calls that wait."""
    wait_ms_max: float = 10_000.0
    """For a call without a deadline, as estimated when it arrives."""


class Entry(msgspec.Struct, eq=False):
    """A call that waits. `key` tells apart what cannot run together; `priority` goes lower first."""

    call: Any
    rows: int = 1
    key: Hashable = None
    deadline_ms: float = math.inf
    priority: int = 0
    arrived_ms: float = 0.0
    cost_ms: float = 0.0
    """Its share of the work ahead of those that come later."""


class Reason(Enum):
    """Why a call is refused."""

    FULL = "full"  # as many wait as may
    BUSY = "busy"  # it would wait too long
    EXPIRED = "expired"  # while it waited its deadline has passed, or come too near


class Refusal(msgspec.Struct, frozen=True):
    """A call that is not run. `retry_after_ms` is when it might be."""

    entry: Entry
    reason: Reason
    retry_after_ms: float


class Batch(msgspec.Struct, eq=False):
    """Calls to run now, together where there are several."""

    entries: list[Entry]
    rows: int
    began_ms: float
    expected_ms: float


class Batcher:
    """The calls of one model that wait and run. `expected_ms(rows)` is what a run of so many rows takes."""

    def __init__(self, policy: Policy, expected_ms: Callable[[int], float]) -> None:
        self.policy = policy
        self._expected_ms = expected_ms
        self._queues: dict[int, deque[Entry]] = {}  # by priority, lowest first
        self._running: list[Batch] = []
        self._ahead_ms: dict[int, float] = {}  # by priority, the work that waits
        self._stretch = 1.0
        self.waiting = 0

    @property
    def running(self) -> int:
        """Batches that run."""
        return len(self._running)

    def __iter__(self) -> Iterator[Entry]:
        """What waits, in the order in which it would run."""
        return (entry for queue in self._queues.values() for entry in queue)

    def arrived(self, entry: Entry, now_ms: float) -> list[Refusal]:
        """Let a call wait, or refuse it, or the last of a lower priority in its stead."""
        entry.arrived_ms = now_ms
        entry.cost_ms = self._cost_ms(entry.rows)
        reason = self.refuses(entry.rows, entry.deadline_ms, entry.priority, now_ms)
        if reason is not None:
            return [Refusal(entry, reason, self.wait_ms(now_ms, entry.priority))]
        refused = []
        if self.waiting >= self.policy.queue_max:
            last = self._last()
            self.cancelled(last)
            refused = [Refusal(last, Reason.FULL, self.wait_ms(now_ms, last.priority))]
        if entry.priority not in self._queues:
            self._queues = dict(sorted([*self._queues.items(), (entry.priority, deque())]))
        self._queues[entry.priority].append(entry)
        self._count(entry, 1)
        return refused

    def refuses(self, rows: int, deadline_ms: float, priority: int, now_ms: float) -> Reason | None:
        """Why such a call would be refused if it arrived now; None where it would not."""
        if now_ms >= deadline_ms:
            return Reason.EXPIRED
        wait_ms = self.wait_ms(now_ms, priority)
        if wait_ms > self.policy.wait_ms_max:
            return Reason.BUSY
        if wait_ms and now_ms + (wait_ms + self._took_ms(rows)) * _MARGIN > deadline_ms:
            return Reason.BUSY
        if self.waiting >= self.policy.queue_max and self._last().priority <= priority:
            return Reason.FULL
        return None

    def next(self, now_ms: float) -> tuple[Batch | None, list[Refusal]]:
        """Take what is to run now, and what can no longer be in time."""
        refused: list[Refusal] = []
        if len(self._running) >= self.policy.concurrency or not self.waiting:
            return None, refused
        entries = self._take(now_ms, refused)
        if not entries:
            return None, refused
        rows = sum([entry.rows for entry in entries])
        batch = Batch(entries, rows, now_ms, self._expected_ms(rows))
        self._running.append(batch)
        return batch, refused

    def ended(self, batch: Batch, now_ms: float) -> None:
        """Hear that a batch has run."""
        self._running.remove(batch)
        if batch.expected_ms > 0:
            took = (now_ms - batch.began_ms) / batch.expected_ms
            self._stretch += _SMOOTHING * (min(max(took, 1.0), _STRETCH_MAX) - self._stretch)

    def cancelled(self, entry: Entry) -> bool:
        """Forget a call that waits; false where it does not."""
        queue = self._queues.get(entry.priority)
        if queue is None or entry not in queue:
            return False
        queue.remove(entry)
        self._count(entry, -1)
        return True

    def expired(self, now_ms: float) -> list[Refusal]:
        """Take out what can no longer be in time, though nothing has ended."""
        late = [entry for entry in self if now_ms >= entry.deadline_ms]
        return [self._expire(entry, now_ms) for entry in late if self.cancelled(entry)]

    def wait_ms(self, now_ms: float, priority: int) -> float:
        """How long a call of this priority would wait: for those before it, and for a place."""
        ahead = sum([ms for level, ms in self._ahead_ms.items() if level <= priority])
        left = 0.0
        if len(self._running) >= self.policy.concurrency:
            left = min([max(0.0, b.began_ms + b.expected_ms * self._stretch - now_ms) for b in self._running])
        return ahead * self._stretch / self.policy.concurrency + left

    def wake_ms(self) -> float:
        """When to ask for the next batch though nothing has arrived or ended; infinity for never."""
        if not self.policy.delay_ms or not self.waiting or len(self._running) >= self.policy.concurrency:
            return math.inf
        head = next(iter(self))
        return min(head.arrived_ms + self.policy.delay_ms, head.deadline_ms - self._took_ms(head.rows))

    def _last(self) -> Entry:
        return next(queue for queue in reversed(self._queues.values()) if queue)[-1]

    def _take(self, now_ms: float, refused: list[Refusal]) -> list[Entry]:
        """The first call that is in time, and those of its key that fit beside it."""
        taken: list[Entry] = []
        rows = 0
        for queue in self._queues.values():
            passed: list[Entry] = []
            while queue and len(passed) < _PASSED_MAX:
                entry = queue[0]
                if self._is_late(entry, now_ms):
                    refused.append(self._expire(entry, now_ms))
                elif not taken:
                    if self._rather_waits(entry, now_ms):
                        return []
                    taken.append(entry)
                    rows = entry.rows
                elif entry.key != taken[0].key:
                    passed.append(queue.popleft())
                    continue
                elif rows + entry.rows <= self.policy.rows_max:
                    taken.append(entry)
                    rows += entry.rows
                else:
                    queue.extendleft(reversed(passed))
                    return taken
                queue.popleft()
                self._count(entry, -1)
                if rows >= self.policy.rows_max and taken:
                    break
            queue.extendleft(reversed(passed))
            if rows >= self.policy.rows_max and taken:
                break
        return taken

    def _rather_waits(self, head: Entry, now_ms: float) -> bool:
        policy = self.policy
        if not policy.delay_ms or now_ms >= head.arrived_ms + policy.delay_ms:
            return False
        if now_ms >= head.deadline_ms - self._took_ms(head.rows):
            return False
        return sum([entry.rows for entry in self if entry.key == head.key]) < policy.preferred_rows

    def _is_late(self, entry: Entry, now_ms: float) -> bool:
        if now_ms >= entry.deadline_ms:
            return True
        # What would end too late makes way for others. One alone runs: else an estimate that is too high
        # would refuse for ever, and nothing would be learned.
        return self.waiting > 1 and now_ms + self._took_ms(entry.rows) > entry.deadline_ms

    def _expire(self, entry: Entry, now_ms: float) -> Refusal:
        return Refusal(entry, Reason.EXPIRED, self.wait_ms(now_ms, entry.priority))

    def _count(self, entry: Entry, sign: int) -> None:
        self.waiting += sign
        self._ahead_ms[entry.priority] = self._ahead_ms.get(entry.priority, 0.0) + sign * entry.cost_ms
        if not self.waiting:
            self._ahead_ms.clear()  # what rounding left

    def _cost_ms(self, rows: int) -> float:
        """What a call adds to the work: under load it shares a full batch."""
        full, rows = self.policy.rows_max, max(1, rows)
        return self._expected_ms(full) * rows / full if rows < full else self._expected_ms(rows)

    def _took_ms(self, rows: int) -> float:
        return self._expected_ms(rows) * self._stretch

"""Looks now and then at what runs for longer: how much memory it holds, and whether it is still alive.

One look at all attempts, a few times a second, and less often where looking takes long: it is to cost no more
than a few hundredths of a CPU. Attempts that are over before that are measured by their processes alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from flowrun.core.changes import Exceeded
from flowrun.core.model import Usage
from flowrun.core.task import Task
from flowrun.shell.host.gpu_memory import GpuMemory
from flowrun.shell.host.memory import Meter, limit_mb

LOOK_MS = 250  # between two looks, and how long something has to run to be looked at
_EFFORT = 50  # times as long as a look took is the pause after it
Key = tuple[str, str, int]  # run, node, attempt


class Attempt(NamedTuple):
    """An attempt that runs: of which run, its process, what that was born with, and when it last wrote.

    `heard_ms` is by the scheduler's clock; `beat` is a file that the operator touches to say that it lives.
    """

    run: str
    task: Task
    pid: int
    base_kb: int = 0
    heard_ms: int = 0
    beat: str = ""


class _Look:
    """What is known of an attempt."""

    def __init__(self, attempt: Attempt) -> None:
        self.meter = Meter(attempt.base_kb, limit_mb(attempt.task.needs.memory_mb) * 1024)
        self.gpu_peak_mb = 0
        self.beaten: int | None = None
        self.beaten_ms = 0


class Watch:
    """What is known of the attempts that run for longer. `tree` gives a process and its descendants."""

    def __init__(
        self,
        tree: Callable[[int], Sequence[int]],
        gpus: GpuMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tree = tree
        self._gpus = gpus or GpuMemory()
        self._clock = clock
        self._next_s = 0.0
        self._looks: dict[Key, _Look] = {}

    def is_due(self) -> bool:
        """Whether it is time for a look."""
        return self._clock() >= self._next_s

    def look(self, attempts: Iterable[Attempt], now_ms: int) -> Iterator[tuple[str, Exceeded]]:
        """Look at all attempts; which of them are over a limit, by run."""
        began_s = self._clock()
        for attempt in attempts:
            task = attempt.task
            if attempt.pid and task.kill is None and now_ms - task.started_ms >= LOOK_MS:
                exceeded = self._look(attempt, now_ms)
                if exceeded is not None:
                    yield attempt.run, exceeded
        took_s = self._clock() - began_s
        self._next_s = began_s + max(LOOK_MS / 1000, took_s * _EFFORT)

    def usage(self, key: Key, usage: Usage) -> Usage:
        """What an attempt used that is over now, with what was seen of it. It is forgotten."""
        look = self._looks.pop(key, None) if self._looks else None
        if look is None:
            return usage
        peak_mb, gpu_peak_mb = look.meter.peak_kb // 1024, look.gpu_peak_mb
        return msgspec.structs.replace(
            usage, peak_mb=max(usage.peak_mb, peak_mb), gpu_peak_mb=max(usage.gpu_peak_mb, gpu_peak_mb)
        )

    def _look(self, attempt: Attempt, now_ms: int) -> Exceeded | None:
        task = attempt.task
        key = (attempt.run, task.node.id, task.attempt)
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = _Look(attempt)
        processes = self._tree(attempt.pid)
        held_mb, limit = look.meter.look(processes) // 1024, limit_mb(task.needs.memory_mb)
        if task.placement is not None and task.placement.gpus:
            of, whole = task.placement.gpus, not task.placement.gpu_memory_mb
            look.gpu_peak_mb = max(look.gpu_peak_mb, self._gpus.held_mb(processes, of, whole))
        if limit and held_mb > limit:
            return Exceeded(now_ms, task.node.id, task.attempt, "memory", held_mb)
        silent_ms = now_ms - self._heard_ms(attempt, look, now_ms) if task.site.heartbeat_ms else 0
        if silent_ms > task.site.heartbeat_ms:
            return Exceeded(now_ms, task.node.id, task.attempt, "hang", silent_ms)
        return None

    def _heard_ms(self, attempt: Attempt, look: _Look, now_ms: int) -> int:
        """When an attempt last gave a sign of life; the file's own time says only that there was another."""
        try:
            beaten = os.stat(attempt.beat).st_mtime_ns if attempt.beat else 0
        except OSError:
            beaten = 0
        if look.beaten is None:
            look.beaten = beaten  # by the node before, maybe
            look.beaten_ms = attempt.task.started_ms
        elif beaten != look.beaten:
            look.beaten, look.beaten_ms = beaten, now_ms
        return max(look.beaten_ms, attempt.heard_ms)

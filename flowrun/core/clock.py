"""What happens in a run by time alone: limits and graces that end, and pauses between attempts."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from flowrun.core.task import Task


class Clock:
    """The moments, in ms, at which a run has to be looked at although nothing was heard."""

    def __init__(self) -> None:
        self._limited: dict[str, Task] = {}  # running
        self._pausing: list[tuple[int, int]] = []  # heap of (moment, index)

    def limit(self, task: Task) -> None:
        """A running task has a time limit, or is asked to end and given its grace for it."""
        self._limited[task.node.id] = task

    def ended(self, task: Task) -> None:
        """A task does not run any more."""
        self._limited.pop(task.node.id, None)

    def pause(self, task: Task, until_ms: int) -> None:
        """A task is not to be started before some moment."""
        heapq.heappush(self._pausing, (until_ms, task.index))

    def rested(self, now_ms: int) -> Iterator[int]:
        """Tasks, by number, whose pause is over: each is told of once."""
        while self._pausing and self._pausing[0][0] <= now_ms:
            yield heapq.heappop(self._pausing)[1]

    def due(self, now_ms: int) -> list[Task]:
        """Running tasks whose time limit, or whose grace after a gentle kill, is over."""
        return [task for task in self._limited.values() if 0 <= _deadline(task) <= now_ms]

    def next_ms(self) -> int | None:
        """The next moment at which something happens by time alone."""
        moments = [deadline for task in self._limited.values() if (deadline := _deadline(task)) >= 0]
        if self._pausing:
            moments.append(self._pausing[0][0])
        return min(moments, default=None)


def _deadline(task: Task) -> int:
    """When a task that is limited has to be over; -1 if it is about to end."""
    if task.kill is None:
        return task.started_ms + task.site.timeout_ms
    return -1 if task.kill.force else task.kill.at_ms + task.kill.grace_ms

"""How many nodes of each site there are, and what they came to: kept up to date with every end."""

from __future__ import annotations

from collections.abc import Iterable

from flowrun.core.model import TaskState
from flowrun.core.task import Task


class Counts:
    """Of nodes that have a process: control nodes do not count.

    `totals` and `ended` are by site, `states` of all. `kept` nodes succeeded without running.
    """

    __slots__ = ("ended", "kept", "states", "totals")

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.totals: dict[str, int] = {}
        self.ended: dict[str, dict[TaskState, int]] = {}
        self.states: dict[TaskState, int] = {}
        self.kept = 0
        for task in tasks:
            self.add(task)

    def add(self, task: Task) -> None:
        """A node is there."""
        if task.site.control == "none":
            self.totals[task.site.site] = self.totals.get(task.site.site, 0) + 1

    def end(self, task: Task, state: TaskState) -> None:
        """A node came to its end."""
        if task.site.control == "none":
            of = self.ended.setdefault(task.site.site, {})
            of[state] = of.get(state, 0) + 1
            self.states[state] = self.states.get(state, 0) + 1
            self.kept += task.kept

    def begin_again(self, task: Task) -> None:
        """A node that had ended is going to run once more."""
        if task.site.control == "none":
            self.ended[task.site.site][task.state] -= 1
            self.states[task.state] -= 1
            self.kept -= task.kept

    def ended_of(self, site: str) -> int:
        """How many nodes of a site have ended."""
        of = self.ended.get(site)
        return sum(of.values()) if of else 0

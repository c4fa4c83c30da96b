"""How far a run is, kept up to date change by change: a look costs the same whatever the plan's size."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

from flowc.plan.graph import bottom_levels, dependencies, depths, weights
from flowc.plan.model import Site
from flowrun.core.changes import AnyChange, Exited, Fail, Opened, Retry, Start
from flowrun.core.model import Failure, TaskState
from flowrun.core.state import State
from flowrun.core.task import Task

WINDOW_MS = 10_000  # over which nodes a second are counted
MOST_FAILURES = 5  # that are remembered
_Stage = Literal["to come", "active", "finished"]
_SCALE = (0.05, 20.0)  # how far measured times may correct planned ones


class SiteRow(NamedTuple):
    """The nodes of a site: how many there are, run, and came to which end."""

    site: str
    total: int
    running: int
    ended: dict[TaskState, int]


class Failed(NamedTuple):
    """A node that failed for good."""

    node: str
    failure: Failure


class Progress:
    """Sees the changes of a run after they were applied to its state.

    `failures` are the last.
    """

    def __init__(self, state: State) -> None:
        self.retries = 0
        self.failures: deque[Failed] = deque(maxlen=MOST_FAILURES)
        sites = (site for site in state.plan.sites if site.control not in ("branch", "choose"))
        self._sites: dict[str, Site] = {site.site: site for site in sites}
        self._order = {name: i for i, name in enumerate(self._sites)}
        self._begun: set[str] = set()
        self._active: set[str] = set()  # sites of which some nodes have begun, and not all have ended
        self._stage_of: dict[str, _Stage] = {}
        self._stages: Counter[_Stage] = Counter()
        self._ended: deque[tuple[int, int]] = deque()  # when attempts ended, and how many
        self._left: dict[str, tuple[int, int]] = {}  # of sites: ms of work, nodes of unknown length
        self._left_ms, self._left_unknown = 0, 0
        self._measured_ms, self._measured = 0.0, 0
        self._planned_ms, self._planned_took_ms = 0.0, 0.0
        self._tails: list[float] | None = None
        self._depends_on: list[list[int]] | None = None
        self._levels: list[list[int]] | None = None  # nodes that have not been seen to have ended
        self._level = 0
        for name in self._sites:
            self._touch(state, name)

    def see(self, state: State, changes: Iterable[AnyChange]) -> None:
        """Take note of what happened."""
        touched: set[str] = set()
        by_id = state.by_id
        for change in changes:
            match change:  # what happens most often comes first
                case Start():
                    self._begun.add(by_id[change.node].site.site)
                case Exited():
                    self._exited(by_id[change.node], change)
                case Opened():
                    touched.update(self._sites)
                case Retry():
                    self.retries += 1
                case Fail():
                    failure = by_id[change.node].failure
                    if failure is not None:
                        self.failures.append(Failed(change.node, failure))
            node = getattr(change, "node", "")
            if node:
                touched.add(by_id[node].site.site)
        for name in touched:
            if name in self._sites:
                self._touch(state, name)

    def rows(self, state: State, most: int) -> tuple[list[SiteRow], int]:
        """The sites at which something goes on, those with most that runs first; how many more there are."""
        running: dict[str, int] = {}
        for task in state.running.values():
            running[task.site.site] = running.get(task.site.site, 0) + 1
        chosen = heapq.nsmallest(
            most, self._active, key=lambda name: (-running.get(name, 0), self._order[name])
        )
        chosen.sort(key=self._order.__getitem__)
        counts = state.counts
        rows = [
            SiteRow(name, counts.totals[name], running.get(name, 0), counts.ended.get(name, {}))
            for name in chosen
        ]
        return rows, len(self._active) - len(rows)

    def sites(self, stage: _Stage) -> int:
        """How many sites there are of which no node has begun, some have, or all have ended."""
        return self._stages[stage]

    def level(self, state: State) -> tuple[int, int]:
        """The first level of the plan at which something is left to do, from 1 on, and how many there are.

        The nodes of a loop are at the loop's level. What has to be done again does not lead back.
        """
        if self._levels is None:
            deep = depths(self._dependencies(state))
            self._levels = [[] for _ in range(max(deep, default=0) + 1)]
            for i, depth in enumerate(deep):
                self._levels[depth].append(i)
        while self._level < len(self._levels) - 1:
            nodes = self._levels[self._level]
            while nodes and state.tasks[nodes[-1]].state not in ("pending", "ready", "running"):
                nodes.pop()
            if nodes:
                break
            self._level += 1
        return self._level + 1, len(self._levels)

    def per_s(self, now_ms: float) -> float:
        """Attempts that ended a second, lately."""
        while self._ended and self._ended[0][0] < now_ms - WINDOW_MS:
            self._ended.popleft()
        span_ms = min(WINDOW_MS, now_ms - self._ended[0][0]) if self._ended else 0
        return sum(count for _, count in self._ended) / max(span_ms, 500) * 1000

    def left_ms(self, state: State, now_ms: float) -> float | None:
        """How long it is going to take, by what was measured and planned; `None` if nothing is known.

        At least the work that is left over as much as has run side by side so far, and at least the longest
        way from what runs to the end.
        """
        if not self._measured and (self._left_unknown or not self._left_ms):
            return None
        mean_ms = self._measured_ms / self._measured if self._measured else 0.0
        elapsed_ms = max(1.0, now_ms - state.opened_ms)
        running = list(state.running.values())
        spent_ms = sum(now_ms - task.started_ms for task in running)
        side_by_side = max(1.0, (self._measured_ms + spent_ms) / elapsed_ms)
        work_ms = self._left_ms + self._left_unknown * mean_ms
        longest_ms = 0.0
        for task in running:
            expected_ms = state.expected.ms(task.site) or mean_ms
            rest_ms = max(0.0, expected_ms - (now_ms - task.started_ms))
            work_ms -= expected_ms - rest_ms
            longest_ms = max(longest_ms, rest_ms + self._tail_ms(state, task))
        return max(0.0, work_ms / side_by_side, longest_ms)

    def _exited(self, task: Task, exited: Exited) -> None:
        if not self._ended or self._ended[-1][0] < exited.at_ms - 100:
            self._ended.append((exited.at_ms, 0))
        at, count = self._ended[-1]
        self._ended[-1] = (at, count + 1)
        if exited.artifact is not None:
            took_ms = max(0, exited.at_ms - task.started_ms)
            self._measured_ms += took_ms
            self._measured += 1
            if task.site.estimate.ms:
                self._planned_ms += task.site.estimate.ms
                self._planned_took_ms += took_ms

    def _touch(self, state: State, name: str) -> None:
        """Bring up to date what is known of a site."""
        total = state.counts.totals.get(name, 0)
        ended = state.counts.ended_of(name)
        self._stages[self._stage_of.get(name, "to come")] -= name in self._stage_of
        stage: _Stage = "to come"
        if total and ended == total:
            stage = "finished"
        elif ended or name in self._begun:
            stage = "active"
        self._stage_of[name] = stage
        self._stages[stage] += 1
        if stage == "active":
            self._active.add(name)
        else:
            self._active.discard(name)
        known_ms, unknown = self._left.get(name, (0, 0))
        expected_ms = state.expected.ms(self._sites[name])
        now = ((total - ended) * expected_ms, 0) if expected_ms else (0, total - ended)
        self._left[name] = now
        self._left_ms += now[0] - known_ms
        self._left_unknown += now[1] - unknown

    def _dependencies(self, state: State) -> list[list[int]]:
        if self._depends_on is None:
            self._depends_on = dependencies(state.plan.nodes)
        return self._depends_on

    def _tail_ms(self, state: State, task: Task) -> float:
        """The longest way to the end that comes after a node, by the plan, corrected by what was measured."""
        if not self._planned_ms:
            return 0.0
        if self._tails is None:
            own = weights(state.plan)
            ways = bottom_levels(self._dependencies(state), own)
            self._tails = [1000 * (way - weight) for way, weight in zip(ways, own, strict=True)]
        index = task.index
        if index >= len(self._tails):  # of a loop: after it comes what comes after the loop
            index = state.by_id[task.node.id[: task.node.id.rindex("[")]].index
        low, high = _SCALE
        return self._tails[index] * min(high, max(low, self._planned_took_ms / self._planned_ms))

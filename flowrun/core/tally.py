"""Counts over all runs, as monitoring wants them: attempts by outcome, times by operator, what was kept."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from flowc.plan.model import site_of
from flowrun.core.changes import AnyChange, Exited, Opened, Retry, Start

# Seconds: a decade in steps that a person can read, from a no-op to a day.
BOUNDS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14_400, 86_400)


class Histogram(msgspec.Struct):
    """How many values were at most each of the bounds (and the rest), and their sum."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(BOUNDS_S, value)] += 1
        self.total += value


class Tally(msgspec.Struct):
    """What all runs did. Of attempts the outcome is `succeeded`, or the code of the failure."""

    attempts: Counter[str] = msgspec.field(default_factory=Counter)
    retries: int = 0
    kept: int = 0  # nodes that a resumed run, or another, had done before
    cpu_s: float = 0.0
    durations: dict[str, Histogram] = msgspec.field(default_factory=dict)  # by operator, of attempts


def count(tally: Tally, changes: Iterable[AnyChange], operators: Mapping[str, str]) -> None:
    """Add what a run did. `operators` has that of each site of its plans."""
    started: dict[tuple[str, int], int] = {}
    for change in changes:
        match change:
            case Opened(earlier=earlier):
                tally.kept += sum(was.artifact is not None for was in earlier.values())
            case Start():
                started[change.node, change.attempt] = change.at_ms
            case Exited():
                start = started.pop((change.node, change.attempt), None)
                if start is None:
                    continue
                tally.attempts[change.failure.code if change.failure else "succeeded"] += 1
                tally.cpu_s += change.usage.cpu_ms / 1000
                operator = operators.get(site_of(change.node), "")
                histogram = tally.durations.setdefault(operator, Histogram())
                histogram.add(max(0, change.at_ms - start) / 1000)
            case Retry():
                tally.retries += 1

"""The best of the places that a request fits, by how much of the free GPUs stays of use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flowc.plan.model import Resources
from flowrun.core.pool.hosts import Free, Kind
from flowrun.core.pool.requests import WHOLE_GPU, Request, request_of
from flowrun.core.pool.scoring import fragmentation, left_after, tightness

_KNOWN_MAX = 100_000

State = tuple[int, Free]  # the number of a kind of hosts, and what is free of it


class Answer(NamedTuple):
    """The GPUs to take in a state, and how good that is: the least first, ties broken in order of fields."""

    growth: int
    slack: float
    share: int
    state: State
    slots: tuple[int, ...]


class Judge:
    """Judges by typical requests: those to be expected, with how often. By whole GPUs if there are none."""

    def __init__(self, typical: Mapping[Resources, int]) -> None:
        weighed = tuple((request_of(needs), weight) for needs, weight in typical.items() if needs.gpus)
        self.typical = weighed or ((WHOLE_GPU, 1),)
        self._known: dict[State, int] = {}  # a memory of a pure function

    def best(self, kind: Kind, free: Free, request: Request, found: list[tuple[int, ...]]) -> Answer:
        """The best of some choices of GPUs."""
        state = (kind.number, free)
        before = self._fragmentation(kind, free)
        slack = -tightness(kind, free, request)
        gpus = free.gpus
        answers = []
        for slots in found:
            after = kind.sorted(left_after(free, request, slots))
            growth = self._fragmentation(kind, after) - before
            answers.append(Answer(growth, slack, sum([gpus[slot] for slot in slots]), state, slots))
        return min(answers)

    def _fragmentation(self, kind: Kind, free: Free) -> int:
        state = (kind.number, free)
        known = self._known.get(state)
        if known is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            known = self._known[state] = fragmentation(kind, free, self.typical)
        return known

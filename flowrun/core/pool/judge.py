"""The best of the places that a request fits: where what is left is of most use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flowc.plan.model import Resources
from flowrun.core.pool.hosts import Free, Kind
from flowrun.core.pool.requests import Request
from flowrun.core.pool.scoring import left_after, tightness, typical_of, useful

_KNOWN_MAX = 100_000

State = tuple[int, Free]  # the number of a kind of hosts, and what is free of it


class Answer(NamedTuple):
    """The GPUs to take in a state, and how good that is: the least is best, field by field.

    `spoilt` is how much less useful the free GPUs get, `slack` what stays unused
    of the host, `room` the memory that is free on the GPUs.
    """

    spoilt: int
    slack: float
    room: int
    state: State
    slots: tuple[int, ...]


class Judge:
    """Judges by typical requests: those to be expected, with how often. By whole GPUs if there are none."""

    def __init__(self, typical: Mapping[Resources, int], kinds: Sequence[Kind]) -> None:
        self._typical = typical_of(typical, max((mb for kind in kinds for mb in kind.whole), default=0))
        self._known: dict[State, int] = {}  # a memory of a pure function

    def best(self, kind: Kind, free: Free, request: Request, found: list[tuple[int, ...]]) -> Answer:
        """The best of some choices of GPUs."""
        state = (kind.number, free)
        before = self._useful(kind, free)
        slack = -tightness(kind, free, request)
        gpus = free.gpus
        answers = []
        for slots in found:
            after = kind.sorted(left_after(free, request, slots))
            room = sum([gpus[slot] for slot in slots])
            answers.append(Answer(before - self._useful(kind, after), slack, room, state, slots))
        return min(answers)

    def _useful(self, kind: Kind, free: Free) -> int:
        if not kind.whole:
            return 0
        state = (kind.number, free)
        known = self._known.get(state)
        if known is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            known = self._known[state] = useful(kind, free, self._typical)
        return known

"""What waits for a place on the hosts, and what holds one."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from flowc.plan.model import Resources
from flowrun.core.model import Placement

UNKNOWN_MS = 1000  # what nobody knows the length of is taken to last so long, or as long again as by now


class Ref(NamedTuple):
    """Names what asks: a node of a run."""

    run: str
    node: str

    def __str__(self) -> str:
        return f"{self.run}/{self.node}" if self.run else self.node


class Lane(NamedTuple):
    """Requests that only their rank tells apart: of a team, by its number, and of a tier."""

    team: int = 0
    tier: int = 3


# Of what others hold, who do not ask here. It counts for no team, nobody can take it away from them, and what
# is kept for the first tier is not kept for them.
OUTSIDE = Lane(team=-1, tier=1)


class Request(msgspec.Struct, frozen=True):
    """Something that is ready to run and needs a place.

    `rank` orders the requests of a lane, the smallest first; it begins with the negative of what counts as
    priority among lanes. `estimate_ms` is how long it is going to hold
    its place, 0 if nobody knows; `since_ms` is when it began to wait.
    """

    ref: Ref
    needs: Resources
    rank: tuple[float, ...]
    estimate_ms: int
    since_ms: int
    lane: Lane = Lane()
    preempted: int = 0  # times that its place was taken away


class Holding(msgspec.Struct):
    """Something that holds a place since `started_ms`, and is expected to give it back at `ends_ms`.

    `leaving`: it was told to. `entry` is its number in the order of ends.
    """

    request: Request
    placement: Placement
    started_ms: int
    ends_ms: int
    leaving: bool = False
    entry: int = 0

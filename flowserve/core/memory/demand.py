"""What is loaded before somebody asks for it: by how often it was asked for. Pure: the clock is an argument.

Every version's requests are counted with a weight that fades by e in ten minutes: exponential smoothing
(R. G. Brown, 1959) of requests that come at any time. The weight is then the requests of about the last ten
minutes. A version is asked for regularly when it was in several looks of them, however many came in one: who
asks a thousand times at once may never come back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from flowserve.core.memory.tiers import Amounts, fits
from flowserve.core.models.key import Key

FADE_S = 600.0
LOOKS_MIN = 3.0
"""In so many looks, faded ones in part, a version must have been asked for."""


class Demand(msgspec.Struct, frozen=True):
    """How often a version was asked for by `at_s`, and in how many looks; both fade."""

    requests: float = 0.0
    looks: float = 0.0
    at_s: float = 0.0

    def now(self, now_s: float) -> Demand:
        """What has not faded yet."""
        kept = math.exp(-max(0.0, now_s - self.at_s) / FADE_S)
        return Demand(self.requests * kept, self.looks * kept, now_s)

    def asked(self, requests: int, now_s: float) -> Demand:
        """After a look that found so many requests since the one before."""
        kept = self.now(now_s)
        return Demand(kept.requests + requests, kept.looks + 1, now_s)


class Cold(msgspec.Struct, frozen=True):
    """A version that is not in memory, and what it would take."""

    key: Key
    bytes: Amounts
    demand: Demand


def wanted(cold: Iterable[Cold], free: Mapping[str, float], now_s: float) -> Key | None:
    """Return what to load now: of what is asked for regularly and has room, what is asked for most."""
    found = [(of, of.demand.now(now_s)) for of in cold if fits(of.bytes, free)]
    regular = [(demand.requests, of.key) for of, demand in found if demand.looks >= LOOKS_MIN]
    if not regular:
        return None
    return min(regular, key=lambda pair: (-pair[0], pair[1]))[1]

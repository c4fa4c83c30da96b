"""Which models are in memory: by tier, by use, within a budget. Pure: the clock is an argument.

Tier 1 is loaded when the server starts and never goes. Tier 2 is loaded then too, as far as there is room,
and may go. Tiers 3 and 4 are loaded when they are asked for. What has to go is what nobody used for the grace
period, the highest tier first, and within a tier what was used the longest time ago; only when that is not
enough, what was used since.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flowserve.core.models.key import Key

PINNED, EAGER = 1, 2
"""Tiers up to these never go, and are loaded at the start."""


class Budget(msgspec.Struct, frozen=True):
    """How much memory models may have, 0 for any, and how long what was used is spared."""

    bytes: int = 0
    grace_s: float = 300.0


class Resident(msgspec.Struct, frozen=True):
    """A version in memory. `used_s` is when it was asked for last."""

    key: Key
    tier: int
    bytes: int
    used_s: float
    holds: tuple[Key, ...] = ()
    """Of a pipeline, what its steps run: it goes after the pipeline, and is as dear as that."""


class Room(msgspec.Struct, frozen=True):
    """What has to go for `wanted` bytes more, in that order, and how much is still `lacking` then."""

    evict: tuple[Resident, ...]
    lacking: int = 0


def make_room(residents: Iterable[Resident], wanted: int, budget: Budget, now_s: float) -> Room:
    """Say what has to go so that `wanted` bytes fit."""
    all_of = list(residents)
    excess = sum(resident.bytes for resident in all_of) + wanted - budget.bytes
    if not budget.bytes or excess <= 0:
        return Room(())
    ordered = [resident for dear, resident in _by_dearness(all_of, budget.grace_s, now_s) if not dear[0]]
    evict: list[Resident] = []
    for resident in ordered:
        if excess <= 0:
            break
        evict.append(resident)
        excess -= resident.bytes
    # What frees nothing that is needed stays: a small one that went first for a large one that went after. A
    # pipeline stays only with all that it holds.
    gone = {resident.key for resident in evict}
    for resident in reversed(evict.copy()):
        if resident.bytes <= -excess and gone.isdisjoint(resident.holds):
            evict.remove(resident)
            gone.remove(resident.key)
            excess += resident.bytes
    return Room(tuple(evict), max(0, excess))


_Dearness = tuple[bool, bool, int, float]


def _by_dearness(residents: list[Resident], grace_s: float, now_s: float) -> list[tuple[_Dearness, Resident]]:
    """The cheapest first; pipelines before what they hold, which is at least as dear."""
    found = {r.key: (r.tier <= PINNED, now_s - r.used_s < grace_s, -r.tier, r.used_s) for r in residents}
    depth = dict.fromkeys(found, 0)
    changed = True
    while changed:  # once, but for pipelines of pipelines
        changed = False
        for holder in residents:
            for key in holder.holds:
                if key not in found:
                    continue
                dear = max(found[key], found[holder.key])
                deeper = max(depth[key], depth[holder.key] + 1)
                if (dear, deeper) != (found[key], depth[key]):
                    found[key], depth[key], changed = dear, deeper, True
    dearness = [(found[resident.key], resident) for resident in residents]
    return sorted(dearness, key=lambda pair: (pair[0], depth[pair[1].key], pair[1].key))

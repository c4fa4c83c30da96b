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
    evict: list[Resident] = []
    for resident in sorted(all_of, key=lambda resident: _order(resident, budget.grace_s, now_s)):
        if excess <= 0 or resident.tier <= PINNED:
            break
        evict.append(resident)
        excess -= resident.bytes
    # What frees nothing that is needed stays: a small one that went first for a large one that went after.
    for resident in sorted(evict, key=lambda resident: _order(resident, budget.grace_s, now_s), reverse=True):
        if resident.bytes <= -excess:
            evict.remove(resident)
            excess += resident.bytes
    return Room(tuple(evict), max(0, excess))


def _order(resident: Resident, grace_s: float, now_s: float) -> tuple[bool, bool, int, float, Key]:
    spared = now_s - resident.used_s < grace_s
    return (resident.tier <= PINNED, spared, -resident.tier, resident.used_s, resident.key)

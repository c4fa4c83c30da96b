"""Which models are in memory: by tier, by use, within a budget. Pure: the clock is an argument.

Memory is several spaces, the host's and each GPU's: a model takes room in one or two of them, and has to go
when that helps one that is short.

Tier 1 is loaded when the server starts and never goes. Tier 2 is loaded then too, as far as there is room,
and may go. Tiers 3 and 4 are loaded when they are asked for. What has to go is what nobody used for the grace
period, the highest tier first, and within a tier what was used the longest time ago; only when that is not
enough, what was used since.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flowserve.core.models.key import Key

PINNED, EAGER = 1, 2
"""Tiers up to these never go, and are loaded at the start."""

_AT_ONCE, _PARTS = 16, 32
"""Room is made for so many at once where they take no more than one of so many parts of a space."""

Amounts = Mapping[str, int]
"""Bytes by space. A space that is not there has none of them."""


class Budget(msgspec.Struct, frozen=True):
    """How much memory models may have, 0 for any, and how long what was used is spared."""

    bytes: Amounts = {}
    grace_s: float = 300.0

    def free(self, taken: Amounts) -> dict[str, float]:
        """What is left of each space that is bounded, below 0 where there is too much in it."""
        return {space: limit - taken.get(space, 0) for space, limit in self.bytes.items() if limit}


class Resident(msgspec.Struct, frozen=True):
    """A version in memory. `used_s` is when it was asked for last."""

    key: Key
    tier: int
    bytes: Amounts
    used_s: float
    holds: tuple[Key, ...] = ()
    """Of a pipeline, what its steps run: it goes after the pipeline, and is as dear as that."""


class Room(msgspec.Struct, frozen=True):
    """What has to go for the wanted bytes, in that order, and how much each space is still `lacking` then."""

    evict: tuple[Resident, ...]
    lacking: Amounts = {}


def make_room(residents: Iterable[Resident], wanted: Amounts, budget: Budget, now_s: float) -> Room:
    """Say what has to go so that the wanted bytes fit."""
    all_of = list(residents)
    free = budget.free({space: sum(r.bytes.get(space, 0) for r in all_of) for space in budget.bytes})
    take(free, wanted)
    if not _lacking(free):
        return Room(())
    ordered = [resident for dear, resident in _by_dearness(all_of, budget.grace_s, now_s) if not dear[0]]
    evict: list[Resident] = []
    for resident in ordered:
        if not _lacking(free):
            break
        evict.append(resident)
        give(free, resident.bytes)
    # What frees nothing that is needed stays: a small one that went first for a large one that went after,
    # and one in another space. A pipeline stays only with all that it holds.
    gone = {resident.key for resident in evict}
    for resident in reversed(evict.copy()):
        if fits(resident.bytes, free) and gone.isdisjoint(resident.holds):
            evict.remove(resident)
            gone.remove(resident.key)
            take(free, resident.bytes)
    return Room(tuple(evict), _lacking(free))


def ahead_of(wanted: Amounts, budget: Budget) -> Amounts:
    """What to make room for at once: what is wanted, and as much for each of those that may come after it.

    To choose what goes, and to give its memory back, takes longer than to load a small model.
    """
    limits = budget.bytes
    return {
        space: count * _AT_ONCE if count * _AT_ONCE * _PARTS <= limits.get(space, 0) else count
        for space, count in wanted.items()
    }


def roomiest(spaces: Sequence[str], free: Mapping[str, float]) -> str:
    """The space that has the most left, the first of those that have as much."""
    return max(spaces, key=lambda space: (free.get(space, math.inf), -spaces.index(space)))


def fits(amounts: Amounts, free: Mapping[str, float]) -> bool:
    """Whether there is so much room in every space."""
    return all(count <= free.get(space, math.inf) for space, count in amounts.items() if count)


def take(free: dict[str, float], amounts: Amounts) -> None:
    """Take amounts out of what is free."""
    for space in free.keys() & amounts.keys():
        free[space] -= amounts[space]


def give(free: dict[str, float], amounts: Amounts) -> None:
    """Give them back."""
    for space in free.keys() & amounts.keys():
        free[space] += amounts[space]


def _lacking(free: Mapping[str, float]) -> dict[str, int]:
    return {space: -int(left) for space, left in free.items() if left < 0}


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

"""Whether a request fits what is free on a host, and which of its GPUs it could have. Pure functions."""

from __future__ import annotations

from flowrun.core.model import Rejected
from flowrun.core.pool.hosts import Free, Kind
from flowrun.core.pool.requests import Request


def choices(kind: Kind, free: Free, request: Request) -> list[tuple[int, ...]] | Rejected:
    """The sets of slots worth considering for a request, or what is missing.

    GPUs that are alike are not told apart: of each such set there is one.
    """
    if request.cpus > free.cpus:
        return Rejected("cpus", request.cpus / 1000, free.cpus / 1000)
    if request.memory_mb > free.memory_mb:
        return Rejected("memory", request.memory_mb, free.memory_mb)
    for name, amount in request.uses:
        have = free.uses[kind.names.index(name)] if name in kind.names else 0
        if amount > have:
            return Rejected(name, amount, have)
    if not request.gpus:
        return [()]
    suited = _suited(kind, free, request)
    if request.gpus > len(suited):
        return Rejected("gpus", request.gpus, len(suited))
    if request.most == 1:
        return _each_alike(kind, free.gpus, suited)
    return _together(kind, free.gpus, suited, request)


def most_gpus(kind: Kind, free: Free, request: Request) -> int:
    """How many GPUs of a host a request could have together, its range aside; 0 if other things are short."""
    if any(
        name not in kind.names or amount > free.uses[kind.names.index(name)] for name, amount in request.uses
    ):
        return 0
    suited = _suited(kind, free, request)
    if not request.linked:
        return len(suited)
    return max(map(len, _groups(kind.cohesion[1], suited).values()), default=0)


def _suited(kind: Kind, free: Free, request: Request) -> list[int]:
    """The slots of GPUs that a request could have."""
    gpus, share = free.gpus, request.gpu_memory_mb
    slots = kind.allowed(request.models)
    if share:
        return [slot for slot in slots if gpus[slot] >= share]
    whole = kind.whole
    return [slot for slot in slots if gpus[slot] == whole[slot]]


def _each_alike(kind: Kind, gpus: tuple[int, ...], suited: list[int]) -> list[tuple[int, ...]]:
    """One of each class and free amount."""
    class_of = kind.class_of
    found: dict[tuple[int, int], tuple[int, ...]] = {}
    for slot in suited:
        found.setdefault((class_of[slot], gpus[slot]), (slot,))
    return list(found.values())


def _together(
    kind: Kind, gpus: tuple[int, ...], suited: list[int], request: Request
) -> list[tuple[int, ...]] | Rejected:
    """Several GPUs, as close together as can be: some of each group of the closest kind that has them."""
    ways = kind.cohesion[:2] if request.linked else kind.cohesion
    most = max(map(len, _groups(ways[-1], suited).values()))
    if most < request.gpus:
        return Rejected("linked gpus", request.gpus, most)
    wanted = min(request.most, most)
    for way in ways:
        enough = [group for group in _groups(way, suited).values() if len(group) >= wanted]
        if enough:
            break
    # Fullest first: small tasks share a GPU, and whole ones stay free for those that need them whole.
    return [tuple(sorted(sorted(group, key=lambda slot: (gpus[slot], slot))[:wanted])) for group in enough]


def _groups(way: tuple[int, ...], suited: list[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for slot in suited:
        groups.setdefault(way[slot], []).append(slot)
    return groups

"""GPUs on several hosts at once, for what is larger than a host. All or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from flowc.plan.model import Resources
from flowrun.core.model import Rejected
from flowrun.core.pool.hosts import Free, Kind
from flowrun.core.pool.matching import most_gpus
from flowrun.core.pool.requests import Request, request_of


def divide(
    needs: Resources, groups: Iterable[tuple[Kind, Free, list[int]]]
) -> list[tuple[int, Resources]] | Rejected:
    """The hosts of a gang and what each has to give, on as few hosts as can be; or how many GPUs there are.

    A group is hosts with the same free; their numbers are negated, the lowest at the end. CPUs and memory are
    divided as the GPUs are; named resources are held on each host.
    """
    rooms = []
    request = request_of(needs)
    for kind, free, hosts in groups:
        room = min(_room(kind, free, request), max(needs.gpus, needs.gpus_max))
        if room:
            available = sum(amount > 0 for amount in free.gpus)  # of as many, the others stay unused
            rooms.append((-room, available, kind.number, free, hosts))
    rooms.sort()
    chosen = _largest(rooms, needs.hosts_max, max(needs.gpus, needs.gpus_max))
    total = sum(room for room, _ in chosen)
    if total < needs.gpus:
        return Rejected("gpus", needs.gpus, total)
    shares = {room: _share(needs, room, total) for room in {room for room, _ in chosen}}
    return [(host, shares[room]) for room, host in chosen]


Rooms = list[tuple[int, int, int, Free, list[int]]]


def _largest(rooms: Rooms, hosts_max: int, wanted: int) -> list[tuple[int, int]]:
    """GPUs and host: of the hosts with the most, so many that there are enough; of the last, the tightest."""
    chosen: list[tuple[int, int]] = []
    for place, (room, _, _, _, hosts) in enumerate(rooms):
        for taken, host in enumerate(reversed(hosts)):
            if len(chosen) == hosts_max:
                return chosen
            if -room >= wanted:
                last = [other for other in rooms[place:] if -other[0] >= wanted]
                tightest = max(range(len(last)), key=lambda i: (last[i][0], -last[i][1]))
                at = taken if tightest == 0 else 0
                chosen.append((wanted, -last[tightest][4][-1 - at]))
                return chosen
            chosen.append((-room, -host))
            wanted += room
    return chosen


def _room(kind: Kind, free: Free, request: Request) -> int:
    """How many GPUs of a gang have room on a host, with their part of CPUs and memory."""
    if free.memory_mb < 0:  # others have some that was given out: whoever has it is about to be refused
        return 0
    room = most_gpus(kind, free, request)
    if request.cpus:
        room = min(room, free.cpus * request.gpus // request.cpus)
    if request.memory_mb:
        room = min(room, free.memory_mb * request.gpus // request.memory_mb)
    return room


def _share(needs: Resources, gpus: int, of: int) -> Resources:
    return msgspec.structs.replace(
        needs,
        cpus=needs.cpus * gpus / of,
        memory_mb=math.ceil(needs.memory_mb * gpus / of),
        gpus=gpus,
        gpus_max=0,
    )

"""The models that a process has in memory: loaded when they have to be, measured, and let go within a budget.

Memory is the host's and that of GPUs, on one of which a model may have its seat.
Loading and letting go happen on one thread, one after the other, so that what is measured is one model's.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.catalog.version import Version
from flowserve.core.memory.demand import LOOKS_MIN, Cold, Demand, wanted
from flowserve.core.memory.tiers import (
    EAGER,
    PINNED,
    Amounts,
    Budget,
    Resident,
    ahead_of,
    fits,
    make_room,
    roomiest,
    take,
)
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.seat import HOST, Seat
from flowserve.shell.models.seats import Seats
from flowserve.shell.models.weights import Size

_libc = ctypes.CDLL(None)
_MB = 2**20
# A model that seems to take more than its files by this is looked at once more: that takes some milliseconds.
_SLACK_BYTES = 4 * _MB
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# By the first word of a space, the setting that bounds it.
_SETTINGS = {HOST: "memory_mb", "gpu": "gpu_memory_mb"}


class _Measured(msgspec.Struct, frozen=True):
    """What a version takes: on the host, and where its seat is."""

    host: int
    seat: Seat


class Memory:
    """What is in memory, and the way in and out."""

    def __init__(
        self,
        load: Callable[[Version, Seat], Model],
        size: Callable[[Key], Size],
        budget: Budget,
        now_s: Callable[[], float] = time.monotonic,
        seats: Seats = Seats(),  # noqa: B008
    ) -> None:
        """`load` is given the seat that a version is to have, and raises `Refused`; the model has its own.

        `size` says what a version takes by its files.
        """
        self._load = load
        self._size = size
        self._budget = budget
        self._now_s = now_s
        self._seats = seats
        self._residents: dict[Version, Resident] = {}
        self._taken = Counter[str]()  # by all of them
        self._uses: dict[Version, int] = {}
        self._measured: dict[Key, _Measured] = {}
        self._demand: dict[Version, Demand] = {}
        self._counted: dict[Version, int] = {}
        self._assembling: list[Version] = []  # what is being loaded, and within that its members

    def residents(self) -> list[Resident]:
        """What is in memory now."""
        return list(self._residents.values())

    def fits(self, version: Version) -> bool:
        """Whether there is room without anything that has to go."""
        free = self._free()
        return not free or fits(self._missing(version, free), free)

    def load(self, version: Version) -> Model | Refused:
        """Bring a version into memory, in place of others if need be. For the loading thread.

        Refuses with FS103 what does not load, and with FS260 what has no room.
        """
        if version.model is not None:
            return version.model
        if isinstance(version.members, Refused):
            return version.members
        if version in self._assembling:
            message = f"{version.key} does not load: one of its steps runs a pipeline that runs it"
            return Refused(Diagnostic("FS263", message))
        self._assembling.append(version)
        try:
            return self._assembled(version, version.members)
        finally:
            self._assembling.pop()

    def _assembled(self, version: Version, members: Sequence[Version]) -> Model | Refused:
        """Load a version after its members, of which none goes meanwhile."""
        for member in members:
            outcome = self.load(member)
            if isinstance(outcome, Refused):
                return outcome
        key, seat = version.key, self._seat(version.key, self._free())
        try:
            expected = self._expected(key, seat)
            self._make_room(key, version.tier, expected)
            if seat.on_gpu:
                self._seats.begin(seat.space)
            before = _resident_bytes()
            began_s = self._now_s()
            model = self._load(version, seat)
            version.load_ms += (self._now_s() - began_s) * 1e3
            version.loads += 1
            bytes_of = self._measure(key, model, before)
            if any(size > expected.get(space, 0) for space, size in bytes_of.items()):
                self._make_room(key, version.tier, bytes_of)
        except Refused as refused:
            return refused.bare()  # its frames would keep the session
        holds = tuple(member.key for member in members)
        self._residents[version] = Resident(key, version.tier, bytes_of, self._now_s(), holds)
        self._taken.update(bytes_of)
        self._uses[version] = version.uses
        version.model = model
        return model

    def forget(self, version: Version) -> None:
        """Let a version go; a request that holds its model keeps that. For the loading thread."""
        if (resident := self._residents.pop(version, None)) is not None:
            self._taken.subtract(resident.bytes)
        self._uses.pop(version, None)
        version.model = None

    def drop(self, version: Version) -> None:
        """Let a version go for good."""
        self.forget(version)
        self._demand.pop(version, None)
        self._counted.pop(version, None)

    def succeed(self, version: Version, before: Version) -> None:
        """Expect that a new version will be asked for as often as the one before it."""
        if before in self._demand:
            self._demand[version] = self._demand[before]

    def ahead(self) -> Version | None:
        """Say what to load before somebody asks: what is asked for regularly, as far as there is room."""
        free = self._free() if self._demand else {}
        cold = {
            version.key: (version, Cold(version.key, self._missing(version, free), demand))
            for version, demand in list(self._demand.items())
            if demand.looks >= LOOKS_MIN and version.model is None
        }
        key = wanted((of for _, of in cold.values()), free, self._now_s()) if cold else None
        return cold[key][0] if key is not None else None

    def load_ahead(self, version: Version) -> None:
        """Load what `ahead` said, if there still is room. For the loading thread."""
        if version.model is None and self.fits(version) and isinstance(self.load(version), Refused):
            self._demand.pop(version, None)  # not again, until it is asked for

    def trim(self) -> None:
        """Give back to the system what was freed; the heap would keep it."""
        if hasattr(_libc, "malloc_trim"):
            _libc.malloc_trim(0)

    def look(self, versions: Iterable[Version] = ()) -> None:
        """Take note of what was used since the last look, and of these, how often they were asked for."""
        now_s = self._now_s()
        for version in versions:
            if version.tier > EAGER and version.uses != (counted := self._counted.get(version, 0)):
                asked = version.uses - counted
                self._counted[version] = version.uses
                self._demand[version] = self._demand.get(version, Demand()).asked(asked, now_s)
        for version, resident in list(self._residents.items()):
            if self._uses.get(version) != version.uses:
                self._uses[version] = version.uses
                self._residents[version] = msgspec.structs.replace(resident, used_s=now_s)

    def _missing(self, version: Version, free: Mapping[str, float]) -> Amounts:
        """How many bytes it takes to load a version and its members, each where there would be most room."""
        missing, left = Counter[str](), dict(free)
        for of in _with_members(version):
            if of.model is None:
                expected = self._expected(of.key, self._seat(of.key, left))
                missing.update(expected)
                take(left, expected)
        return missing

    def _free(self) -> dict[str, float]:
        return self._budget.free(self._taken)

    def _seat(self, key: Key, free: Mapping[str, float]) -> Seat:
        """The seat that a version is to have: on the GPU with the most room, if it may have one there."""
        spaces, known = self._seats.spaces(key), self._measured.get(key)
        if not spaces or (known is not None and not known.seat.on_gpu):
            return Seat()
        space = roomiest(spaces, free)
        if known is not None:
            return msgspec.structs.replace(known.seat, space=space)
        by_files = self._size(key)
        return self._seats.expected(key, space, by_files.private + by_files.shared)

    def _expected(self, key: Key, seat: Seat) -> Amounts:
        known = self._measured.get(key)
        if known is not None:
            host = known.host
        else:
            by_files = self._size(key)
            host = by_files.private + by_files.shared
        return {HOST: host, seat.space: seat.bytes} if seat.on_gpu else {HOST: host}

    def _measure(self, key: Key, model: Model, before: int) -> Amounts:
        """Note what a version that was just loaded takes; of the host's memory there was so much `before`."""
        by_files, seat = self._size(key), model.seat
        # Freed memory may be used again, and then nothing has grown. What is on a GPU need not be here.
        least = 0 if seat.on_gpu else by_files.private
        grown = _resident_bytes() - before
        if grown > least + _SLACK_BYTES:
            self.trim()  # what warming up took and freed is not the model's
            grown = _resident_bytes() - before
        self._measured[key] = _Measured(max(grown, least) + by_files.shared, seat)
        return self._expected(key, seat)

    def _make_room(self, key: Key, tier: int, wanted: Amounts) -> None:
        free = self._free()
        take(free, wanted)
        if all(left >= 0 for left in free.values()):
            return
        self.look()
        busy = {of.key for version in self._assembling for of in _with_members(version)}
        residents = [
            msgspec.structs.replace(resident, tier=PINNED) if resident.key in busy else resident
            for resident in self.residents()
        ]
        room = make_room(residents, ahead_of(wanted, self._budget), self._budget, self._now_s())
        if room.lacking:
            room = make_room(residents, wanted, self._budget, self._now_s())
        if room.lacking and tier > PINNED:
            self._refuse(key, wanted, room.lacking)
        going = {resident.key for resident in room.evict}
        for version in [version for version, resident in self._residents.items() if resident.key in going]:
            self.forget(version)
            version.evictions += 1
        if going:
            self.trim()

    def _refuse(self, key: Key, wanted: Amounts, lacking: Amounts) -> NoReturn:
        space = min(lacking)
        place = "" if space == HOST else f" on {space}"
        message = f"{key} needs {wanted.get(space, 0) / _MB:.0f} MB{place}, and there is no room for it"
        setting, bytes_of = _SETTINGS[space.partition(":")[0]], self._budget.bytes[space]
        refuse("FS260", message, hint=f"`{setting}` gives each process {bytes_of / _MB:.0f} MB{place}")


def _with_members(version: Version) -> tuple[Version, ...]:
    return (version, *(() if isinstance(version.members, Refused) else version.members))


def _resident_bytes() -> int:
    """Memory of this process's own: without code and mapped weights, which processes share."""
    statm = os.open("/proc/self/statm", os.O_RDONLY)  # `status` says the same, and takes ten times as long
    try:
        pages = os.read(statm, 128).split()
    finally:
        os.close(statm)
    return (int(pages[1]) - int(pages[2])) * _PAGE_BYTES

"""The models that a process has in memory: loaded when they have to be, measured, and let go within a budget.

Loading and letting go happen on one thread, one after the other, so that what is measured is one model's.
"""

from __future__ import annotations

import ctypes
import math
import re
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.models.demand import Cold, Demand, wanted
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.table import Version
from flowserve.core.models.tiers import EAGER, PINNED, Budget, Resident, make_room
from flowserve.shell.models.weights import Size

_libc = ctypes.CDLL(None)


class Memory:
    """What is in memory, and the way in and out."""

    def __init__(
        self,
        load: Callable[[Version], Model],
        size: Callable[[Key], Size],
        budget: Budget,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`load` raises `Refused`; `size` says what a version takes by its files."""
        self._load = load
        self._size = size
        self._budget = budget
        self._now_s = now_s
        self._residents: dict[Version, Resident] = {}
        self._uses: dict[Version, int] = {}
        self._measured: dict[Key, int] = {}
        self._demand: dict[Version, Demand] = {}
        self._counted: dict[Version, int] = {}
        self._assembling: list[Version] = []  # what is being loaded, and within that its members

    def residents(self) -> list[Resident]:
        """What is in memory now."""
        return list(self._residents.values())

    def fits(self, version: Version) -> bool:
        """Whether there is room without anything that has to go."""
        return self._missing(version) <= self._free_bytes()

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
        try:
            self._make_room(version.key, version.tier, self._expected(version.key))
            before = _resident_bytes()
            began_s = self._now_s()
            model = self._load(version)
            version.load_ms += (self._now_s() - began_s) * 1e3
            version.loads += 1
            grown = _resident_bytes() - before
        except Refused as refused:
            return refused
        # Freed memory may be used again, and then nothing has grown.
        by_files = self._size(version.key)
        size = self._measured[version.key] = max(grown, by_files.private) + by_files.shared
        holds = tuple(member.key for member in members)
        self._residents[version] = Resident(version.key, version.tier, size, self._now_s(), holds)
        self._uses[version] = version.uses
        version.model = model
        return model

    def forget(self, version: Version) -> None:
        """Let a version go; a request that holds its model keeps that. For the loading thread."""
        self._residents.pop(version, None)
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
        cold = {
            version.key: (version, Cold(version.key, self._missing(version), demand))
            for version, demand in list(self._demand.items())
            if version.model is None
        }
        key = wanted((of for _, of in cold.values()), self._free_bytes(), self._now_s()) if cold else None
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

    def _missing(self, version: Version) -> int:
        """How many bytes it takes to load a version and its members."""
        needed = [of for of in _with_members(version) if of.model is None]
        return sum(self._expected(of.key) for of in needed)

    def _free_bytes(self) -> float:
        if not self._budget.bytes:
            return math.inf
        return self._budget.bytes - sum(resident.bytes for resident in self.residents())

    def _expected(self, key: Key) -> int:
        if key not in self._measured:
            by_files = self._size(key)
            return by_files.private + by_files.shared
        return self._measured[key]

    def _make_room(self, key: Key, tier: int, wanted: int) -> None:
        self.look()
        busy = {of.key for version in self._assembling for of in _with_members(version)}
        residents = [
            msgspec.structs.replace(resident, tier=PINNED) if resident.key in busy else resident
            for resident in self.residents()
        ]
        room = make_room(residents, wanted, self._budget, self._now_s())
        if room.lacking and tier > PINNED:
            mb = 2**20
            message = f"{key} needs {wanted / mb:.0f} MB, and there is no room for it"
            hint = f"`memory_mb` gives each process {self._budget.bytes / mb:.0f} MB"
            refuse("FS260", message, hint=hint)
        going = {resident.key for resident in room.evict}
        for version in [version for version, resident in self._residents.items() if resident.key in going]:
            self.forget(version)
            version.evictions += 1
        if going:
            self.trim()


def _with_members(version: Version) -> tuple[Version, ...]:
    return (version, *(() if isinstance(version.members, Refused) else version.members))


def _resident_bytes() -> int:
    """Memory of this process's own: without code and mapped weights, which processes share."""
    with open("/proc/self/status", "rb") as status:
        found = re.search(rb"RssAnon:\s+(\d+) kB", status.read())
    return int(found[1]) * 1024 if found else 0

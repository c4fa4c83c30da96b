"""The models that a process has in memory: loaded when they have to be, measured, and let go within a budget.

Loading and letting go happen on one thread, one after the other, so that what is measured is one model's.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Sequence

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.table import Version
from flowserve.core.models.tiers import PINNED, Budget, Resident, make_room
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
        self._assembling: list[Version] = []  # what is being loaded, and within that its members

    def residents(self) -> list[Resident]:
        """What is in memory now."""
        return list(self._residents.values())

    def fits(self, version: Version) -> bool:
        """Whether there is room without anything that has to go."""
        room = make_room(self.residents(), self._expected(version.key), self._budget, self._now_s())
        return not room.evict and not room.lacking

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
            model = self._load(version)
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

    def trim(self) -> None:
        """Give back to the system what was freed; the heap would keep it."""
        if hasattr(_libc, "malloc_trim"):
            _libc.malloc_trim(0)

    def look(self) -> None:
        """Take note of what was used since the last look."""
        now_s = self._now_s()
        for version, resident in list(self._residents.items()):
            if self._uses.get(version) != version.uses:
                self._uses[version] = version.uses
                self._residents[version] = msgspec.structs.replace(resident, used_s=now_s)

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
        if going:
            self.trim()


def _with_members(version: Version) -> tuple[Version, ...]:
    return (version, *(() if isinstance(version.members, Refused) else version.members))


def _resident_bytes() -> int:
    """Memory of this process's own: without code and mapped weights, which processes share."""
    with open("/proc/self/status", "rb") as status:
        found = re.search(rb"RssAnon:\s+(\d+) kB", status.read())
    return int(found[1]) * 1024 if found else 0

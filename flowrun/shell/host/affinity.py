"""Which CPUs an attempt runs on.

Who asks for whole CPUs gets CPUs of its own, near each other: such as share a cache, and of each core one
thread before any core's second. Who asks for a fraction shares some with others who do. On a host that is
pretended to have more CPUs than there are, and where too few are left to choose from, the kernel chooses.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_SYSTEM = Path("/sys/devices/system/cpu")
_KNOWN_MAX = 10_000
Ids = tuple[int, ...]


class Where(NamedTuple):
    """Where a CPU is: the first CPU of those that share its last cache, and of those that are its core."""

    cache: int
    core: int


def choose(wanted: int, free: Iterable[int], where: Mapping[int, Where]) -> Ids:
    """So many of the free CPUs, ascending; none if there are not as many.

    Where all can be near each other, in the part with the least to spare; else in as few parts as may be.
    """
    parts: dict[int, list[int]] = {}
    for cpu in sorted(free):
        parts.setdefault(where[cpu].cache, []).append(cpu)
    if wanted > sum(map(len, parts.values())):
        return ()
    chosen: list[int] = []
    while len(chosen) < wanted:
        missing = wanted - len(chosen)
        fitting = [part for part in parts.values() if len(part) >= missing]
        part = min(fitting, key=len) if fitting else max(parts.values(), key=len)
        chosen += _spread(part, where)[:missing]
        del parts[where[part[0]].cache]
    return tuple(sorted(chosen))


def _spread(cpus: Collection[int], where: Mapping[int, Where]) -> list[int]:
    """CPUs in the order in which they are worth having: of idle cores first, second threads last."""
    free: dict[int, int] = {}
    rounds: dict[int, int] = {}
    for cpu in cpus:
        core = where[cpu].core
        rounds[cpu] = free[core] = free.get(core, -1) + 1  # its number among the free ones of its core
    threads = max(free.values(), default=0)
    # Of a core with a thread that is taken, less is left.
    return sorted(cpus, key=lambda cpu: (rounds[cpu] + threads - free[where[cpu].core], cpu))


class Cpus:
    """The CPUs of this process, and who runs on which; by a key that the caller chooses.

    `reserve` says whether a CPU may be used: no other process holds others to it. It is asked once.
    """

    def __init__(
        self,
        capacity: float,
        ids: Collection[int] | None = None,
        where: Callable[[Collection[int]], Mapping[int, Where]] | None = None,
        reserve: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._all = tuple(sorted(os.sched_getaffinity(0) if ids is None else ids))
        self._where: Mapping[int, Where] | None = None
        self._find = where or topology
        self._reserve = reserve
        self._pins = capacity <= len(self._all)
        self._free: frozenset[int] = frozenset()
        self._shared: Ids = ()  # by those with fractions, who ask for so many in all
        self._load = 0.0
        self._held: dict[Hashable, tuple[Ids, float]] = {}
        self._known: dict[tuple[int, frozenset[int]], Ids] = {}

    def take(self, key: Hashable, cpus: float) -> Ids:
        """The CPUs that an attempt is to run on; none if it may run on all."""
        if not self._pins or not cpus:
            return ()
        if self._where is None:
            self._begin()
        if cpus == int(cpus):
            taken = self._choose(int(cpus))
            self._free -= frozenset(taken)
            self._held[key] = taken, 0
            return taken
        self._load += cpus
        missing = math.ceil(self._load - 1e-9) - len(self._shared)
        more = self._choose(missing) if missing > 0 else ()
        self._free -= frozenset(more)
        self._shared += more
        self._held[key] = (), cpus
        return self._shared

    def give_back(self, key: Hashable) -> None:
        """It is over."""
        taken, part = self._held.pop(key, ((), 0))
        if part:
            self._load -= part
            spare = len(self._shared) - math.ceil(self._load - 1e-9)
            taken, self._shared = self._shared[:spare], self._shared[spare:]
        if taken:
            self._free |= frozenset(taken)

    def _begin(self) -> None:
        ours = [cpu for cpu in self._all if self._reserve(cpu)]
        self._where = self._find(ours)
        self._free = frozenset(ours)

    def _choose(self, wanted: int) -> Ids:
        found = self._known.get((wanted, self._free))
        if found is None:
            assert self._where is not None
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            found = self._known[wanted, self._free] = choose(wanted, self._free, self._where)
        return found


def run_on(cpus: Ids, otherwise: Collection[int]) -> None:
    """Hold all threads of this process to some CPUs; to the other ones, if there are none."""
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended; or the CPU was taken away from us all
            os.sched_setaffinity(int(thread), cpus or otherwise)


def topology(cpus: Collection[int], system: Path = _SYSTEM) -> dict[int, Where]:
    """Where CPUs are, as the kernel tells; one that it does not tell of is alone."""
    cores = _groups(cpus, system, "topology/core_cpus_list", "topology/thread_siblings_list")
    caches = _groups(cpus, system, "cache/index3/shared_cpu_list", "topology/package_cpus_list")
    return {cpu: Where(caches[cpu], cores[cpu]) for cpu in cpus}


def _groups(cpus: Collection[int], system: Path, *files: str) -> dict[int, int]:
    """For each CPU the first of those that it is listed with. Only one of each group is read."""
    found: dict[int, int] = {}
    for cpu in sorted(cpus):
        if cpu not in found:
            listed = next(filter(None, (_listed(system / f"cpu{cpu}" / file) for file in files)), [cpu])
            found |= dict.fromkeys([*listed, cpu], min(listed))
    return found


def _listed(path: Path) -> list[int]:
    """The numbers of a list such as `0-3,8`; none if it cannot be read."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        for part in path.read_text().strip().split(","):
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    return found

"""How much memory processes hold, as the kernel tells it in /proc.

What counts is what nobody could take from them: anonymous and shared memory, swapped out or not. Pages of
files that they have mapped, such as results of other nodes, are the kernel's to drop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_HELD = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_SHARED_OUT = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")
_EFFORT = 100  # times as long as it took to look closely, until it is worth it again
TOLERATED, TOLERATED_MB = 0.1, 64  # what something may take over its request before it is ended


def limit_mb(declared_mb: int) -> int:
    """What an attempt with a request may hold before it is ended; 0 if there is no limit."""
    return int(declared_mb * (1 + TOLERATED)) + TOLERATED_MB if declared_mb else 0


def held_kb(pid: int) -> int:
    """What a process holds, memory that it shares with others in full; 0 if it is gone."""
    return _sum(f"/proc/{pid}/status", _HELD)


def share_kb(pid: int) -> int:
    """The same, of what it shares only its share. The kernel looks at every page: 30 ms a GB."""
    return _sum(f"/proc/{pid}/smaps_rollup", _SHARED_OUT)


def mapped_kb() -> int:
    """What this process has in memory of files that it has mapped."""
    return _sum("/proc/self/status", (b"RssFile:",))


def _sum(path: str, names: tuple[bytes, ...]) -> int:
    try:
        with open(path, "rb") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(names))
    except (OSError, IndexError, ValueError):  # it has ended, or is not ours to look at
        return 0


class Meter:
    """The memory of a process with all its descendants, as it grows. `base_kb` is what it was born with.

    Processes share most of what they had when they were forked, so that the sum of what each of them holds is
    too much. How much too much is looked at closely now and then, and whenever the sum is over the limit.
    """

    def __init__(self, base_kb: int, limit_kb: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.peak_kb = 0
        self._base_kb = base_kb
        self._limit_kb = limit_kb
        self._clock = clock
        self._twice_kb = 0  # what the sum counts too often
        self._processes = 0  # when that was found
        self._next_s = 0.0

    def look(self, processes: Sequence[int]) -> int:
        """What a process, the first, and its descendants hold now, in KB."""
        total_kb = sum(map(held_kb, processes)) - self._base_kb
        if len(processes) == 1:
            self._processes = 1
            return self._note(total_kb)
        found_kb = total_kb - self._twice_kb
        over = self._limit_kb and found_kb > self._limit_kb
        if over or len(processes) != self._processes or self._clock() >= self._next_s:
            began_s = self._clock()
            found_kb = sum(map(share_kb, processes))
            ended_s = self._clock()
            self._next_s = ended_s + _EFFORT * (ended_s - began_s)
            self._twice_kb, self._processes = total_kb - found_kb, len(processes)
        return self._note(found_kb)

    def _note(self, found_kb: int) -> int:
        self.peak_kb = max(self.peak_kb, found_kb)
        return max(0, found_kb)


class Kills:
    """Notices when the kernel has killed something because memory ran out: a counter of it moved."""

    def __init__(self, counters: Sequence[Path] = ()) -> None:
        self._counters = counters or tuple(_counters())
        self._seen = 0

    def moved(self) -> bool:
        """Whether there was one that is not accounted for yet; then it is."""
        count = self._count()
        moved, self._seen = count > self._seen, count
        return moved

    def _count(self) -> int:
        found = 0
        for path in self._counters:
            with contextlib.suppress(OSError, ValueError, IndexError):
                for line in path.read_bytes().splitlines():
                    if line.startswith(b"oom_kill "):
                        found += int(line.split()[1])
        return found


def _counters() -> Iterator[Path]:
    """That of the container, where there is one, which tells of nobody else; or the kernel's own."""
    of_container = Path("/sys/fs/cgroup/memory.events")
    yield of_container if of_container.exists() else Path("/proc/vmstat")

"""What a process may use of the machine that it runs on, containers' limits (cgroup v2) included."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def processors() -> float:
    """How many CPUs: those that it may run on, or the part of them that it is given."""
    # The kernel's own answers: what psutil would say, without the import, which takes as long as 5 nodes.
    return min(len(os.sched_getaffinity(0)), _quota())


def whole_processors() -> int:
    """The number of threads that have something to run on; 1 at least."""
    return max(1, int(processors()))


def memory_bytes() -> int:
    """How much memory, used or not."""
    return min(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), _limit_bytes())


def _quota() -> float:
    """Of CPUs: quota and period in microseconds; none is very many."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return round(int(quota) / int(period), 2)
    return math.inf


def _limit_bytes() -> int:
    """None is very large."""
    with contextlib.suppress(OSError, ValueError):
        return int((_CGROUP / "memory.max").read_text())
    return 2**63

"""Looking out for a moment for what is about to happen, before waiting for it.

A process that waits has to be woken, and the CPU that it waits on as well: on virtual machines, and on those
that save power, that takes several times as long as a small node does in all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

BRISK_S = 0.0002  # what takes longer than this is worth waiting for
Found = TypeVar("Found")


def look_out(look: Callable[[], Found]) -> Found | None:
    """What `look` finds, as soon as it finds anything; nothing if that takes long. Others go first."""
    until = time.perf_counter() + BRISK_S
    while time.perf_counter() < until:
        if found := look():
            return found
        os.sched_yield()
    return None

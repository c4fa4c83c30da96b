"""How much of the host a process uses."""

from __future__ import annotations

import os
import time
from pathlib import Path


def cpu_s() -> float:
    """Seconds of processor that this process has used."""
    return time.process_time()


def resident_bytes() -> int:
    """Memory of this process that is not on disk, what it shares with others included."""
    fields = Path("/proc/self/statm").read_bytes().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

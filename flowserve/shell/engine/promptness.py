"""How the threads of a process share a processor: the loop that answers goes before those that run models.

Left alone, Linux lets the one that runs go on until the next tick, 4 ms later, in one wake of a hundred
where both want the same processor: that is what a refusal, a health check or another model's request waits.
"""

from __future__ import annotations

import contextlib
import os
import threading

_NICER = 5


def step_back() -> None:
    """Have the calling thread leave the processor to the others of its process that want it."""
    with contextlib.suppress(OSError):  # where the system does not know threads so
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice + _NICER)

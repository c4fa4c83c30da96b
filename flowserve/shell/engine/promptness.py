"""How the threads of a process share a processor: the loop that answers goes before those that run models.

Left alone, Linux lets the one that runs go on until the next tick, 4 ms later, in one wake of a hundred
where both want the same processor, and takes it from the loop in the middle of its work for as long: that is
what a refusal, a health check or another model's request waits. By a nicer thread the loop is hardly ever
stopped, and with a short slice of its own it need not wait for the end of another's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import threading

_NICER = 10
_SLICE_NS = 100_000
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}.get(platform.machine())


class _Attributes(ctypes.Structure):
    """`struct sched_attr`, as of Linux 3.14."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("slice_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def step_forward() -> None:
    """Have the calling thread get the processor as soon as it wants it, if it does not want it for long."""
    _schedule(_nice(), _SLICE_NS)


def step_back() -> None:
    """Have the calling thread leave the processor to the others of its process that want it."""
    nice = min(19, _nice() + _NICER)
    _schedule(nice, 0)  # a thread has the slice of the one that started it
    with contextlib.suppress(OSError):  # where the system does not know threads so
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def _nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def _schedule(nice: int, slice_ns: int) -> None:
    """Where the system does not know slices (before Linux 6.12) or another policy holds, nothing happens."""
    if _SCHED_SETATTR is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    attributes = _Attributes(ctypes.sizeof(_Attributes), os.SCHED_OTHER, 0, nice, 0, slice_ns)
    ctypes.CDLL(None).syscall(_SCHED_SETATTR, 0, ctypes.byref(attributes), 0)

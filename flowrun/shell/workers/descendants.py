"""Processes and all that they started: what an operator leaves behind does not outlive it, however it hid.

A process that *adopts orphans* becomes the parent of every orphan below it. So what forked twice, or went
into a session of its own, is found below it still, and a process without children has no descendants at all.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 5  # for the end of what was killed; only what hangs in the kernel takes longer


def adopt_orphans() -> None:
    """Become the parent of the orphans below this process (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_at_parents_death(number: int) -> None:
    """Have the kernel send this process a signal when the one that forked it is gone (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, number)


def children(pid: int) -> list[int]:
    """The children of all threads of a process, dead ones that nobody has reaped included."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):  # a thread has ended, or the kernel has no such list
        return [
            other for other in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(other) == pid
        ]
    return found


def descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on: parents first."""
    found = children(pid)
    for child in found:  # grows meanwhile
        found += children(child)
    return found


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    return [pid, *descendants(pid)]


def send_to_all(pid: int, number: int) -> None:
    """Send a signal to a process and to its descendants."""
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, number)


def have_children() -> bool:
    """Whether this process has any, dead ones that nobody has reaped included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def end_children(spares: Callable[[int], bool] = lambda _: False) -> bool:
    """Kill this process's children, and the orphans that they leave to it, but those that it `spares`.

    Whether all are gone: the kernel may hold one up.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while doomed := [child for child in children(os.getpid()) if not spares(child)]:
        for child in doomed:
            send_to_all(child, signal.SIGKILL)
        for child in doomed:
            _reap(child, deadline)
        if time.monotonic() > deadline:
            return False
    return True


def _prctl(option: int, value: int) -> None:
    import ctypes  # takes a while: the scheduler does not need it before the first node is on its way

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _reap(child: int, deadline: float) -> None:
    try:
        descriptor = os.pidfd_open(child)
    except OSError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(max(0, (deadline - time.monotonic()) * 1000))
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, os.WNOHANG)
    finally:
        os.close(descriptor)


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return 0

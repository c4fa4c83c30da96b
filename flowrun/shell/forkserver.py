"""Forking the process that becomes the zygote. Imports next to nothing, so that it can be done first of all.

While the scheduler imports what it is made of, and reads the plan, the new process imports what workers need.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import NamedTuple


class ZygoteProcess(NamedTuple):
    """A zygote, seen from the process that forked it."""

    pid: int
    orders: socket.socket
    reports: socket.socket


def fork_zygote() -> ZygoteProcess:
    """Fork. The new process serves orders until `orders` is closed; the caller must have no threads."""
    orders, its_orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    reports, its_reports = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        its_orders.close()
        its_reports.close()
        return ZygoteProcess(pid, orders, reports)
    try:
        _let_go({0, 1, 2, its_orders.fileno(), its_reports.fileno()})
        os.setsid()  # a Ctrl-C at the terminal is the scheduler's to handle
        from flowrun.shell import zygote

        zygote.run(its_orders, its_reports)
        os._exit(0)
    finally:
        os._exit(1)


def _let_go(keep: set[int]) -> None:
    """Point every other descriptor at nothing: sockets of the caller must be seen closed when it closes them.

    They are not closed here, so that what still refers to their numbers does not get hold of something else.
    """
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor not in keep:
            with contextlib.suppress(OSError):  # the one that the folder was listed by
                os.fstat(descriptor)
                os.dup2(nothing, descriptor, inheritable=False)

"""Forking the process that becomes the zygote. Imports next to nothing, so that it can be done first of all.

While the scheduler imports what it is made of, and reads the plan, the new process imports what workers need.
"""

from __future__ import annotations

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
        orders.close()
        reports.close()
        os.setsid()  # a Ctrl-C at the terminal is the scheduler's to handle
        from flowrun.shell import zygote

        zygote.run(its_orders, its_reports)
        os._exit(0)
    finally:
        os._exit(1)

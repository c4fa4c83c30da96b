"""Starting the first zygote. Imports next to nothing, so that it can be done first of all.

While the scheduler imports what it is made of, and reads the plan, the new process imports what workers need.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import socket
import sys
from typing import NamedTuple

_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)


class ZygoteProcess(NamedTuple):
    """A zygote, seen from the process that started it."""

    pid: int
    control: socket.socket


@functools.cache
def own_zygote() -> ZygoteProcess:
    """The zygote of this process, forked by whoever asks for it first."""
    return fork_zygote()


def fork_zygote() -> ZygoteProcess:
    """Fork. The new process serves orders until `control` is closed; the caller must have no threads."""
    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        its_control.close()
        return ZygoteProcess(pid, control)
    try:
        _let_go({0, 1, 2, its_control.fileno()})
        os.setsid()  # a Ctrl-C at the terminal is the scheduler's to handle
        from flowc.plan.lean import import_msgspec, import_pathlib

        import_msgspec()
        import_pathlib()
        from flowrun.shell.workers import zygote

        zygote.run(its_control)
        os._exit(0)
    finally:
        os._exit(1)


def start_zygote() -> ZygoteProcess:
    """As a new interpreter, as the caller may have threads and much memory by now."""
    import subprocess

    from flowrun.shell.workers import fresh

    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    arguments = f"[{os.getpid()}, {its_control.fileno()}, {_FILES[0]}]"
    process = subprocess.Popen(
        fresh.command("serve", arguments),
        stdin=subprocess.DEVNULL,
        pass_fds=[its_control.fileno()],
        start_new_session=True,
    )
    process.returncode = 0  # the pool waits for it
    its_control.close()
    return ZygoteProcess(process.pid, control)


def allow_many_files() -> None:
    """Let this process open as many as the system lets it: three for each worker. Workers keep the limit."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES[1], _FILES[1]))


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

"""The scheduler's end of the zygote: spawn attempts, signal them, hear how they ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections import deque
from pathlib import Path

from flowrun.core.model import Failure
from flowrun.shell import zygote
from flowrun.shell.artifacts import Store
from flowrun.shell.messages import (
    Ended,
    Reaped,
    Signal,
    Spawn,
    frame,
    receive_report,
)

Key = tuple[str, int]  # node, attempt


class Pool:
    """Worker processes of one run. Make it early: a small process forks fast, and it must have no threads."""

    def __init__(self, root: Path, store: Store, log: Path, operators: list[str]) -> None:
        # Absolute, as an operator may change the working directory.
        self._arguments = (root, Store(store.folder.absolute()), log, operators)
        self._running: dict[Key, Spawn] = {}
        self._ended: dict[Key, Ended] = {}  # heard of, but the process still holds its GPUs
        self._heard: deque[Ended | Reaped] = deque()  # while orders were being sent
        self._start()

    def _start(self) -> None:
        root, store, log, operators = self._arguments
        self._spawned = False
        self.orders, orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.reports, reports = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self.orders.close()
                self.reports.close()
                os.setsid()  # a Ctrl-C at the terminal is the scheduler's to handle
                _redirect(log)
                zygote.run(orders, reports, root, store, operators)
                os._exit(0)
            finally:
                os._exit(1)
        orders.close()
        reports.close()

    def spawn(self, order: Spawn) -> None:
        """Start an attempt. If the zygote is gone, `exits` will tell."""
        self._running[order.node, order.attempt] = order
        self._spawned = True
        self._send(order)

    def kill(self, node: str, attempt: int, force: bool) -> None:
        """Ask an attempt's process group to end, or make it."""
        number = signal.SIGKILL if force else signal.SIGTERM
        self._send(Signal(node, attempt, number))

    def _send(self, order: Spawn | Signal) -> None:
        """Send, and meanwhile listen: a zygote that waits for us to listen does not read."""
        data = memoryview(frame(order))
        poll = select.poll()
        poll.register(self.orders, select.POLLOUT)
        poll.register(self.reports, select.POLLIN)
        with contextlib.suppress(OSError):
            while data:
                try:
                    data = data[self.orders.send(data, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    poll.poll()
                    while (report := receive_report(self.reports)) is not None:
                        self._heard.append(report)

    def exits(self) -> list[Ended]:
        """How attempts ended since the last call. Call it when `reports` or `orders` is readable."""
        found = []
        while (report := self._next_report()) is not None:
            key = (report.node, report.attempt)
            order = self._running.get(key)
            if order is None:
                continue  # its process is gone now; what it had to say was heard before
            if isinstance(report, Reaped):
                ended = self._ended.pop(key, None) or _died(report)
            elif order.gpus:
                # A GPU is free only when the driver has torn down the process's hold on it.
                self._ended[key] = report
                continue
            else:
                ended = report
            del self._running[key]
            found.append(ended)
        if self._zygote_is_gone():
            found += self._replace_zygote()
        return found

    def _next_report(self) -> Ended | Reaped | None:
        return self._heard.popleft() if self._heard else receive_report(self.reports)

    def close(self) -> None:
        """Let the zygote end, and with it every worker; `wait` until they have."""
        if not self._spawned:  # it may still be importing, and need not go on
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self.orders.close()
        self.reports.close()

    def wait(self) -> None:
        """Wait for the zygote's end, after `close`."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _zygote_is_gone(self) -> bool:
        try:
            return self.orders.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _replace_zygote(self) -> list[Ended]:
        """Start anew. The old workers died with their parent, and what they had not reported is lost."""
        self.close()
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        _end_session(self._pid)
        self.wait()
        failure = Failure("FR207", "the process that starts workers died, and the node's process with it")
        ended = [self._ended.get(key) or Ended(*key, failure=failure) for key in sorted(self._running)]
        self._running.clear()
        self._ended.clear()
        self._start()
        return ended


def _end_session(leader: int) -> None:
    """End what the workers of a dead zygote had started. Not yet reaped, it still owns its number."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(name)) == leader:
                os.kill(int(name), signal.SIGKILL)


def _redirect(log: Path) -> None:
    """What imports print goes to a log; nothing reads the terminal."""
    for path, flags, streams in (
        (os.devnull, os.O_RDONLY, (0,)),
        (log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, (1, 2)),
    ):
        descriptor = os.open(path, flags, 0o644)
        for stream in streams:
            os.dup2(descriptor, stream)
        os.close(descriptor)


def _died(reaped: Reaped) -> Ended:
    failure = Failure("FR202", _describe_death(reaped.status))
    return Ended(reaped.node, reaped.attempt, failure=failure, usage=reaped.usage)


def _describe_death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        why = " (the kernel does that when memory runs out)" if number == signal.SIGKILL else ""
        return f"its process was killed by {name}{why}"
    return f"its process exited with status {os.waitstatus_to_exitcode(status)} without a result"

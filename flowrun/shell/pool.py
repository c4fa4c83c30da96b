"""The scheduler's end of the zygote: spawn attempts, signal them, hear how they ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from flowrun.core.model import Failure
from flowrun.shell.artifacts import Store
from flowrun.shell.forkserver import ZygoteProcess, fork_zygote
from flowrun.shell.messages import (
    Ended,
    Order,
    Prepare,
    Reaped,
    Signal,
    Spawn,
    frame,
    receive_report,
)

Key = tuple[str, str, int]  # run, node, attempt


class Pool:
    """Worker processes of one run or of many, forked by a zygote."""

    def __init__(self, zygote: ZygoteProcess) -> None:
        self._zygote = zygote
        self._plan: Prepare | None = None
        self._spawned = False
        self._running: dict[Key, Spawn] = {}
        self._ended: dict[Key, Ended] = {}  # heard of, but the process still holds its GPUs
        self._heard: deque[Ended | Reaped] = deque()  # while orders were being sent

    @property
    def orders(self) -> socket.socket:
        """Readable when the zygote is gone. Another socket when it was replaced."""
        return self._zygote.orders

    @property
    def reports(self) -> socket.socket:
        """Readable when an attempt ended. Another socket when the zygote was replaced."""
        return self._zygote.reports

    def prepare(self, root: Path, store: Store, log: Path, operators: Iterable[str]) -> None:
        """Have the zygote import operators, from modules below `root`. What that prints goes to `log`."""
        # Absolute, as an operator may change the working directory.
        places = [str(path.absolute()) for path in (root, store.folder, log)]
        self._plan = Prepare(places[0], places[1], places[2], tuple(operators))
        self._send(self._plan)

    def spawn(self, order: Spawn) -> None:
        """Start an attempt. If the zygote is gone, `exits` will tell."""
        self._running[order.run, order.node, order.attempt] = order
        self._spawned = True
        self._send(order)

    def kill(self, run: str, node: str, attempt: int, force: bool) -> None:
        """Ask an attempt's process group to end, or make it."""
        number = signal.SIGKILL if force else signal.SIGTERM
        self._send(Signal(node, attempt, number, run))

    def _send(self, order: Order) -> None:
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
            key = (report.run, report.node, report.attempt)
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
                os.kill(self._zygote.pid, signal.SIGKILL)
        self.orders.close()
        self.reports.close()

    def wait(self) -> None:
        """Wait for the zygote's end, after `close`."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._zygote.pid, 0)

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
            os.waitid(os.P_PID, self._zygote.pid, os.WEXITED | os.WNOWAIT)
        _end_session(self._zygote.pid)
        self.wait()
        failure = Failure("FR207", "the process that starts workers died, and the node's process with it")
        ended = [
            self._ended.get(key) or Ended(node, attempt, failure=failure, run=run)
            for key in sorted(self._running)
            for run, node, attempt in [key]
        ]
        self._running.clear()
        self._ended.clear()
        self._zygote = fork_zygote()
        self._spawned = False
        if self._plan:
            self._send(self._plan)
        return ended


def _end_session(leader: int) -> None:
    """End what the workers of a dead zygote had started. Not yet reaped, it still owns its number."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(name)) == leader:
                os.kill(int(name), signal.SIGKILL)


def _died(reaped: Reaped) -> Ended:
    failure = Failure("FR202", _describe_death(reaped.status))
    return Ended(reaped.node, reaped.attempt, failure=failure, usage=reaped.usage, run=reaped.run)


def _describe_death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        why = " (the kernel does that when memory runs out)" if number == signal.SIGKILL else ""
        return f"its process was killed by {name}{why}"
    return f"its process exited with status {os.waitstatus_to_exitcode(status)} without a result"

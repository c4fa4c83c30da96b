"""The scheduler's end of the zygote: spawn attempts, signal them, hear how they ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

from flowrun.core.model import Failure, Usage
from flowrun.shell import zygote
from flowrun.shell.artifacts import Store
from flowrun.shell.messages import (
    Ended,
    Reaped,
    Signal,
    Spawn,
    receive_report,
    send_order,
)

Key = tuple[str, int]  # node, attempt


class Exit:
    """How an attempt ended: the worker's own word if it had one, and the kernel's."""

    def __init__(self, ended: Ended | None, node: str, attempt: int, failure: Failure | None, usage: Usage) -> None:
        self.node, self.attempt, self.usage = node, attempt, usage
        self.artifact = ended.artifact if ended else None
        self.failure = ended.failure if ended and ended.failure else failure


class Pool:
    """Worker processes of one run. Make it early: a small process forks fast, and it must have no threads."""

    def __init__(self, root: Path, store: Store, log: Path, modules: list[str]) -> None:
        self._arguments = (root, store, log, modules)
        self._ended: dict[Key, Ended] = {}
        self.alive: set[Key] = set()
        self._start()

    def _start(self) -> None:
        root, store, log, modules = self._arguments
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
                zygote.run(orders, reports, root, store, modules)
                os._exit(0)
            finally:
                os._exit(1)
        orders.close()
        reports.close()

    def spawn(self, order: Spawn) -> None:
        """Start an attempt. If the zygote is gone, `exits` will tell."""
        self.alive.add((order.node, order.attempt))
        with contextlib.suppress(OSError):
            send_order(self.orders, order)

    def kill(self, node: str, attempt: int, force: bool) -> None:
        """Ask an attempt's process group to end, or make it."""
        number = signal.SIGKILL if force else signal.SIGTERM
        with contextlib.suppress(OSError):
            send_order(self.orders, Signal(node, attempt, number))

    def exits(self) -> list[Exit]:
        """The attempts that ended since the last call. Call it when `reports` or `orders` is readable."""
        found = []
        while (report := receive_report(self.reports)) is not None:
            match report:
                case Ended():
                    self._ended[report.node, report.attempt] = report
                case Reaped():
                    found.append(self._exit(report))
        if self._zygote_is_gone():
            found += self._replace_zygote()
        return found

    def close(self) -> None:
        """End every worker and the zygote."""
        self.orders.close()
        self.reports.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _exit(self, reaped: Reaped) -> Exit:
        key = (reaped.node, reaped.attempt)
        self.alive.discard(key)
        ended = self._ended.pop(key, None)
        failure = None if ended else Failure("FR202", _describe_death(reaped.status))
        return Exit(ended, reaped.node, reaped.attempt, failure, Usage(reaped.cpu_ms, reaped.peak_mb))

    def _zygote_is_gone(self) -> bool:
        try:
            return self.orders.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _replace_zygote(self) -> list[Exit]:
        """Start anew. The old workers died with their parent, and what they had not reported is lost."""
        self.close()
        lost, self.alive = self.alive, set()
        self._ended.clear()
        self._start()
        failure = Failure("FR207", "the process that starts workers died, and the node's process with it")
        return [Exit(None, node, attempt, failure, Usage()) for node, attempt in sorted(lost)]


def _redirect(log: Path) -> None:
    """What imports print goes to a log; nothing reads the terminal."""
    for path, flags, streams in ((os.devnull, os.O_RDONLY, (0,)), (log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, (1, 2))):
        descriptor = os.open(path, flags, 0o644)
        for stream in streams:
            os.dup2(descriptor, stream)
        os.close(descriptor)


def _describe_death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        why = " (the kernel does that when memory runs out)" if number == signal.SIGKILL else ""
        return f"its process was killed by {name}{why}"
    return f"its process exited with status {os.waitstatus_to_exitcode(status)} without a result"

"""The zygote: a lean process that has imported what the operators import, and forks the workers.

Importing torch takes seconds, forking a process that holds it milliseconds. The zygote never runs an
operator, so it stays clean; when its scheduler goes away, for whatever reason, it ends its workers.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import msgspec

from flowrun.core.model import Usage
from flowrun.shell import worker
from flowrun.shell.artifacts import Store
from flowrun.shell.messages import Reaped, Signal, Spawn, encode, receive_order

# Threads of a library that was imported here do not survive the fork; workers set their own numbers.
_NO_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_NOT_OURS = (signal.SIGINT, signal.SIGTERM)  # the scheduler handles them, or workers do


class Attempt(msgspec.Struct, frozen=True):
    """Which attempt a process is."""

    node: str
    number: int


def run(
    orders: socket.socket, reports: socket.socket, root: Path, store: Store, operators: Iterable[str]
) -> None:
    """Serve orders until their sender closes the socket. Called in a forked child."""
    os.environ.update(_NO_THREADS)
    sys.path.insert(0, str(root))
    children: dict[int, Attempt] = {}
    _die_with_parent(children)
    # Blocked, not ignored: what is sent to a worker that is just being forked waits until it has settled.
    signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_OURS)
    for reference in operators:
        _preload_operator(reference)
    gc.freeze()  # so that a worker's collector does not touch, and thereby copy, shared pages
    try:
        _serve(orders, reports, store, children)
    finally:
        _end_all(children)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()  # when this process is gone, so are they


def _die_with_parent(children: dict[int, Attempt]) -> None:
    """End when the scheduler dies. The closed socket tells, too, but not while a library is imported."""

    def end(*_: object) -> None:
        _end_all(children)
        os._exit(1)

    signal.signal(signal.SIGHUP, end)
    worker.signal_at_parents_death(signal.SIGHUP)


def _end_all(children: dict[int, Attempt]) -> None:
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _serve(orders: socket.socket, reports: socket.socket, store: Store, children: dict[int, Attempt]) -> None:
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(orders, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if wake.fileno() in ready:
            wake.recv(4096)
            _reap(children, reports)
        if orders.fileno() in ready:
            order = receive_order(orders)
            if order is None:
                break
            match order:
                case Spawn():
                    pid = _spawn(order, orders, reports, store)
                    children[pid] = Attempt(order.node, order.attempt)
                case Signal():
                    _signal(children, Attempt(order.node, order.attempt), order.signal)


def _spawn(order: Spawn, orders: socket.socket, reports: socket.socket, store: Store) -> int:
    for name in order.imports:
        _preload(name)
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # in both processes: whichever comes first
        return pid
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGHUP, *_NOT_OURS):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_OURS)
        orders.close()  # the scheduler must see it closed when the zygote dies
        worker.run(order, reports, store, zygote)
    except BaseException:
        traceback.print_exc()
    finally:
        # Never return into the zygote's loop, nor run exit handlers that belong to it.
        os._exit(worker.BROKEN)


def _preload(name: str) -> None:
    """Execute `import module` or `from module import name`; failures show up where the operator imports."""
    module, _, attribute = name.partition(":")
    with contextlib.suppress(BaseException):
        __import__(module, fromlist=[attribute] if attribute else ["*"])


def _preload_operator(reference: str) -> None:
    """Load an operator, and have it work out once what every worker is going to ask of it."""
    module, _, name = reference.partition(":")
    with contextlib.suppress(BaseException):
        operator = getattr(importlib.import_module(module), name)
        _ = operator.code, operator.hints


def _reap(children: dict[int, Attempt], reports: socket.socket) -> None:
    while children:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        pid = ended.si_pid
        attempt = children.pop(pid, None)
        if attempt is not None:
            # What the operator started and left behind. Not yet reaped, the process still owns its number.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        if attempt is not None:
            used = Usage(round((usage.ru_utime + usage.ru_stime) * 1000), usage.ru_maxrss // 1024)
            with contextlib.suppress(OSError):  # nobody listens any more: the end of `orders` says so, too
                reports.send(encode(Reaped(attempt.node, attempt.number, status, used)))


def _signal(children: dict[int, Attempt], wanted: Attempt, number: int) -> None:
    for pid, attempt in children.items():
        if attempt == wanted:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

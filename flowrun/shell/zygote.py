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
import time
import traceback
from pathlib import Path

import msgspec

from flowrun.core.model import Usage
from flowrun.shell import worker
from flowrun.shell.artifacts import Store
from flowrun.shell.messages import Prepare, Reaped, Signal, Spawn, encode, frame, receive_order

# Threads of a library that was imported here do not survive the fork; workers set their own numbers.
_NO_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_NOT_OURS = (signal.SIGINT, signal.SIGTERM)  # the scheduler handles them, or workers do


class Attempt(msgspec.Struct, frozen=True):
    """Which attempt a process is."""

    run: str
    node: str
    number: int


class Spare(msgspec.Struct, frozen=True):
    """A worker forked in advance, waiting for its order. `loaded`: how many modules it was born with."""

    pid: int
    orders: socket.socket
    loaded: int


def run(orders: socket.socket, reports: socket.socket) -> None:
    """Serve orders until their sender closes the socket. Called in a forked child."""
    os.environ.update(_NO_THREADS)
    _preload("flowc:operator")  # the least that a module of operators imports, while the plan is being read
    order = receive_order(orders)
    if not isinstance(order, Prepare):
        return
    _redirect(order.log)
    sys.path.insert(0, order.root)
    zygote = Zygote(orders, reports, Store(Path(order.store)))
    # The closed socket tells of the scheduler's death, too, but not while a library is being imported.
    signal.signal(signal.SIGHUP, zygote.end_at_once)
    worker.signal_at_parents_death(signal.SIGHUP)
    # Blocked, not ignored: what is sent to a worker that is just being forked waits until it has settled.
    signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_OURS)
    for reference in order.operators:
        _preload_operator(reference)
    gc.freeze()  # so that a worker's collector does not touch, and thereby copy, shared pages
    try:
        zygote.serve()
    finally:
        zygote.end_workers()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()  # when this process is gone, so are they


def _redirect(log: str) -> None:
    """What imports print goes to a log; nothing reads the terminal."""
    for path, flags, streams in (
        (os.devnull, os.O_RDONLY, (0,)),
        (log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, (1, 2)),
    ):
        descriptor = os.open(path, flags, 0o644)
        for stream in streams:
            os.dup2(descriptor, stream)
        os.close(descriptor)


class Zygote:
    """Forks workers, and always has one in reserve: a fork takes time that no node should wait for."""

    def __init__(self, orders: socket.socket, reports: socket.socket, store: Store) -> None:
        self._orders = orders
        self._reports = reports
        self._store = store
        self._workers: dict[int, Attempt] = {}
        self._spare: Spare | None = None
        self._loaded: set[str] = set()  # what operators import and need not be asked for again

    def serve(self) -> None:
        """Carry out orders until there are no more."""
        wake, woken = socket.socketpair()
        woken.setblocking(False)
        signal.set_wakeup_fd(woken.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(0 if self._spare is None else None)}
            if wake.fileno() in ready:
                wake.recv(4096)
                self._reap()
            if self._orders.fileno() in ready:
                order = receive_order(self._orders)
                if order is None:
                    break
                match order:
                    case Spawn():
                        self._spawn(order)
                    case Signal():
                        self._signal(Attempt(order.run, order.node, order.attempt), order.signal)
                    case Prepare():
                        raise AssertionError("said once, and first")
            if not ready:  # nothing is waiting: time to prepare
                self._spare = self._fork()

    def end_at_once(self, *_: object) -> None:
        """A signal's handler: the scheduler is gone."""
        self.end_workers()
        os._exit(1)

    def end_workers(self) -> None:
        """Kill every worker with all that it started."""
        for pid in (*self._workers, *([self._spare.pid] if self._spare else [])):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _spawn(self, order: Spawn) -> None:
        new = [name for name in order.imports if name not in self._loaded]
        if new:
            self._loaded.update(new)
            order = msgspec.structs.replace(order, loaded={name: _preload(name) for name in new})
        spare, self._spare = self._spare, None
        if spare is not None and spare.loaded < len(
            sys.modules
        ):  # it would have to import what is here by now
            spare.orders.close()
            spare = None
        spare = spare or self._fork()
        self._workers[spare.pid] = Attempt(order.run, order.node, order.attempt)
        with contextlib.suppress(OSError):  # it has died meanwhile, and will be found dead
            spare.orders.sendall(frame(order))
        spare.orders.close()

    def _fork(self) -> Spare:
        """A worker that waits for its order."""
        zygote = os.getpid()
        ours, its = socket.socketpair()
        pid = os.fork()
        if pid:
            its.close()
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)  # in both processes: whichever comes first
            return Spare(pid, ours, len(sys.modules))
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGHUP, *_NOT_OURS):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_OURS)
            ours.close()
            self._orders.close()  # the scheduler must see it closed when the zygote dies
            worker.signal_at_parents_death(signal.SIGKILL)
            worker.rehearse(self._store)
            if os.getppid() == zygote:  # else it died before it could have taken us with it
                order = receive_order(its)
                its.close()
                if isinstance(order, Spawn):
                    worker.run(order, self._reports, self._store)
        except BaseException:
            traceback.print_exc()  # into the node's log: this is ours, not the operator's
        finally:
            # Never return into the zygote's loop, nor run exit handlers that belong to it.
            os._exit(worker.BROKEN)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            attempt = self._workers.pop(pid, None)
            if attempt is not None:
                # What the operator started and left behind. Not yet reaped, the process owns its number.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            if self._spare is not None and self._spare.pid == pid:
                self._spare = None
            _, status, usage = os.wait4(pid, 0)
            if attempt is not None:
                used = Usage(round((usage.ru_utime + usage.ru_stime) * 1000), usage.ru_maxrss // 1024)
                reaped = Reaped(attempt.node, attempt.number, status, used, attempt.run)
                with contextlib.suppress(
                    OSError
                ):  # nobody listens any more: the end of `orders` says so, too
                    self._reports.send(encode(reaped))

    def _signal(self, wanted: Attempt, number: int) -> None:
        for pid, attempt in self._workers.items():
            if attempt == wanted:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number)


def _preload(name: str) -> int:
    """Execute `import module` or `from module import name`, and tell how many milliseconds that took.

    Failures show up where the operator imports.
    """
    began = time.monotonic()
    module, _, attribute = name.partition(":")
    with contextlib.suppress(BaseException):
        __import__(module, fromlist=[attribute] if attribute else ["*"])
    return round((time.monotonic() - began) * 1000)


def _preload_operator(reference: str) -> None:
    """Load an operator, and have it work out once what every worker is going to ask of it."""
    module, _, name = reference.partition(":")
    with contextlib.suppress(BaseException):
        operator = getattr(importlib.import_module(module), name)
        _ = operator.code, operator.hints

"""A zygote: a lean process that has imported what operators import, and forks the workers.

Importing torch takes seconds, forking a process that holds it milliseconds. A zygote never runs an operator,
so it stays clean. The first one imports little; for each set of modules that operators import it forks
another that imports them, so that nobody else waits meanwhile. When the scheduler goes away, for whatever
reason, they end their workers.
"""

from __future__ import annotations

import contextlib
import errno
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
from typing import NoReturn

from flowrun.core.model import Usage
from flowrun.shell.store.artifacts import Store
from flowrun.shell.workers import fresh, worker
from flowrun.shell.workers.descendants import (
    adopt_orphans,
    children,
    end_children,
    send_to_all,
    signal_at_parents_death,
)
from flowrun.shell.workers.messages import (
    Branch,
    Fork,
    Forked,
    Loaded,
    News,
    Prepare,
    Reaped,
    Signal,
    Unforked,
    close_all,
    frame,
    receive_order,
)

# Threads of a library that was imported here do not survive the fork; workers set their own numbers.
_NO_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_NOT_OURS = (signal.SIGINT, signal.SIGTERM)  # the scheduler handles them, or workers do


def run(control: socket.socket) -> None:
    """Serve orders until their sender closes the socket. Called in a process of its own."""
    os.environ.update(_NO_THREADS)
    _preload("flowc:operator")  # the least that a module of operators imports, while the plan is being read
    received = receive_order(control)
    if received is None or not isinstance(prepare := received[0], Prepare):
        return
    _redirect(prepare.log)
    sys.path.insert(0, prepare.root)
    zygote = Zygote(control, prepare)
    for reference in prepare.operators:
        _preload_operator(reference)
    zygote.serve({})


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
    """The process that runs this, with what it has forked: workers and further zygotes."""

    def __init__(self, control: socket.socket, prepare: Prepare) -> None:
        self._control = control
        self._prepare = prepare
        self._store = Store(Path(prepare.store))
        self._forked: dict[int, int] = {}  # numbers of processes
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # The closed socket tells of the scheduler's death, too, but not while a library is being imported.
        signal.signal(signal.SIGHUP, self._end_at_once)
        signal_at_parents_death(signal.SIGHUP)
        adopt_orphans()
        # Blocked, not ignored: what is sent to a worker that is just being forked waits until it has settled.
        signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_OURS)

    def serve(self, imports: dict[str, int]) -> None:
        """Carry out orders until there are no more. `imports` were loaded for it."""
        gc.freeze()  # so that a worker's collector does not touch, and thereby copy, shared pages
        self._tell(Loaded(imports, frozenset(filter(_is_loaded, self._prepare.imports))))
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if self._wake.fileno() in ready:
                    self._wake.recv(4096)
                    self._reap()
                if self._control.fileno() in ready and not self._obey():
                    break
        finally:
            end_children()

    def _obey(self) -> bool:
        received = receive_order(self._control)
        if received is None:
            return False
        order, files = received
        match order:
            case Fork() | Branch():
                self._fork(order, files)
            case Signal():
                for pid, number in self._forked.items():
                    if number == order.number:  # not yet reaped, it owns its number
                        send_to_all(pid, order.signal)
            case Prepare():
                raise AssertionError("said once, and first")
        return True

    def _fork(self, order: Fork | Branch, files: list[int]) -> None:
        parent = os.getpid()
        try:
            if len(files) < order.files:  # the kernel keeps back what this process may not open
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            pid = os.fork()
        except OSError as error:
            self._tell(Unforked(order.number, error.strerror or str(error)))
            pid = -1
        if pid:
            close_all(files)
            if pid > 0:
                self._forked[pid] = order.number
                with contextlib.suppress(OSError):
                    os.setpgid(pid, pid)  # in both processes: whichever comes first
                self._tell(Forked(order.number, pid))
            return
        try:
            self._become_a_child(parent)
            if isinstance(order, Branch):
                self._become_a_zygote(order, files)
            else:
                self._become_a_worker(order, files)
        except BaseException:
            traceback.print_exc()  # into the log: this is ours, not the operator's
        finally:
            # Never return into the parent's loop, nor run exit handlers that belong to it.
            os._exit(worker.BROKEN)

    def _become_a_child(self, parent: int) -> None:
        signal_at_parents_death(signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could have taken us with it
            os._exit(worker.BROKEN)
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        # The scheduler must see it closed when the parent dies.
        self._control.close()
        self._wake.close()
        self._woken.close()

    def _become_a_zygote(self, branch: Branch, files: list[int]) -> NoReturn:
        zygote = Zygote(socket.socket(fileno=files[0]), self._prepare)
        zygote.serve({name: _preload(name) for name in branch.imports})
        os._exit(0)

    def _become_a_worker(self, fork: Fork, files: list[int]) -> NoReturn:
        for number in (signal.SIGCHLD, signal.SIGHUP, *_NOT_OURS):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_OURS)
        if fork.fresh:
            fresh.become(fork, self._prepare, files)
        worker.serve(socket.socket(fileno=files[0]), files[1:], fork.folder, self._prepare, self._store)

    def _end_at_once(self, *_: object) -> None:
        """A signal's handler: the scheduler, or the zygote that forked this one, is gone."""
        end_children()
        os._exit(1)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            _, status, usage = os.wait4(ended.si_pid, 0)
            number = self._forked.pop(ended.si_pid, None)
            if number is not None:
                # What it left behind is an orphan now, and a child of this process.
                if len(children(os.getpid())) > len(self._forked):
                    end_children(self._forked.__contains__)
                cpu_ms = round((usage.ru_utime + usage.ru_stime) * 1000)
                self._tell(Reaped(number, status, Usage(cpu_ms, usage.ru_maxrss // 1024)))

    def _tell(self, news: News) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: the next order tells
            self._control.sendall(frame(news))


def _preload(name: str) -> int:
    """Execute `import module` or `from module import name`, and tell how many milliseconds that took.

    Failures show up where the operator imports.
    """
    began = time.monotonic()
    module, _, attribute = name.partition(":")
    with contextlib.suppress(BaseException):
        __import__(module, fromlist=[attribute] if attribute else ["*"])
    return round((time.monotonic() - began) * 1000)


def _is_loaded(name: str) -> bool:
    module, _, attribute = name.partition(":")
    return module in sys.modules and (not attribute or hasattr(sys.modules[module], attribute))


def _preload_operator(reference: str) -> None:
    """Load an operator, and have it work out once what every worker is going to ask of it."""
    module, _, name = reference.partition(":")
    with contextlib.suppress(BaseException):
        operator = getattr(importlib.import_module(module), name)
        _ = operator.code, operator.hints, operator.takes, operator.gives

"""The worker processes of one run or of many: attempts go in, how they ended comes out.

Workers are forked by zygotes. There is one zygote for each set of modules that operators import, made before
it is needed if that can be foreseen. A worker that has done its work well is given more of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import assert_never

import msgspec

from flowrun.core.model import Failure, Usage
from flowrun.core.task import Task
from flowrun.shell.host import cgroups
from flowrun.shell.host.memory import Kills, held_kb
from flowrun.shell.host.watch import Attempt
from flowrun.shell.readiness import Readiness
from flowrun.shell.workers.deaths import LOST, UNREAD, end_of, no_process
from flowrun.shell.workers.descendants import adopt_orphans, end_children, send_to_all, tree
from flowrun.shell.workers.forkserver import ZygoteProcess, allow_many_files, start_zygote
from flowrun.shell.workers.messages import (
    Branch,
    Ended,
    Fork,
    Forked,
    Loaded,
    Prepare,
    Reaped,
    Signal,
    Spawn,
    Told,
    Unforked,
    decode_news,
    decode_report,
)
from flowrun.shell.workers.places import Places, beat_file
from flowrun.shell.workers.processes import Stream, Worker
from flowrun.shell.workers.zygotes import Zygote, Zygotes

Key = tuple[str, str, int]  # run, node, attempt
LogPath = Callable[[str, str, int], Path]  # of an attempt
_firsts: set[int] = set()  # the first ones of all pools of this process: its own children
_groups = cgroups.Groups(lambda: tree(os.getpid()))  # of all pools, as it is the process that has a folder


class Pool:
    """Worker processes. What they tell is heard while `readiness` waits; `exits` tells what it means."""

    def __init__(self, process: ZygoteProcess, readiness: Readiness) -> None:
        allow_many_files()
        self._readiness = readiness
        self._plan: Prepare | None = None
        self._log_path: LogPath
        self._places: Places
        self._numbers = 0
        self._most_idle = os.cpu_count() or 1
        self._workers: dict[int, Worker] = {}
        self._running: dict[Key, Worker] = {}
        self._idle: list[Worker] = []  # who had an order already; the last one has the warmest caches
        self._ended: list[Ended] = []
        self._told: list[Told] = []
        self._adopts = False
        self._kills = Kills()
        self._grouped: list[str] = []  # groups whose workers were let go
        self._is_closed = False
        self._zygotes = self._begin(process)

    @property
    def zygote(self) -> int:
        """The process that all others come of."""
        return self._process.pid

    def prepare(
        self, root: Path, state: Path, log: Path, log_path: LogPath, operators: Mapping[str, Iterable[str]]
    ) -> None:
        """Have the zygote import operators, from modules below `root`. What that prints goes to `log`.

        `operators` have the modules that they import when they run.
        """
        self._log_path = log_path
        self._places = Places(state / "work")
        imports = tuple({name: None for names in operators.values() for name in names})
        # Absolute, as an operator may change the working directory.
        places = [str(path.absolute()) for path in (root, state / "artifacts", log)]
        self._plan = Prepare(places[0], places[1], places[2], str(Path.cwd()), tuple(operators), imports)
        self._zygotes.first.stream.send(self._plan)
        self._have_a_spare(self._zygotes.first)

    def foresee(self, imports: tuple[str, ...]) -> None:
        """A node that needs these modules is going to start before long."""
        with contextlib.suppress(OSError):
            if zygote := self._zygotes.foresee(imports):
                self._have_a_spare(zygote)

    def spawn(self, order: Spawn) -> None:
        """Start an attempt. If its process cannot be had, or is lost, `exits` will tell."""
        try:
            worker = self._take(order)
        except OSError as error:
            self._fail(order, no_process(error.strerror or str(error)))
            return
        if order.memory_mb and not worker.group:
            worker.group = _groups.make()
        if worker.group:
            order = msgspec.structs.replace(order, group=worker.group)
        worker.order, worker.threads, worker.on = order, order.threads, order.on
        self._running[order.run, order.node, order.attempt] = worker
        worker.outputs.begin(lambda: self._log_path(order.run, order.node, order.attempt))
        worker.stream.send(order)
        if not self._adopts:  # not before the first node is on its way: it takes a while to load
            self._adopt()
            self._kills.moved()  # what was before is no matter

    def kill(self, run: str, node: str, attempt: int, force: bool) -> None:
        """Ask an attempt's process, and all that it started, to end; or make them."""
        worker = self._running.get((run, node, attempt))
        if worker is not None:
            self._signal(worker, signal.SIGKILL if force else signal.SIGTERM)

    def look(self, run: str, task: Task) -> Attempt:
        """What is to be looked at of an attempt that runs."""
        worker = self._running.get((run, task.node.id, task.attempt))
        if worker is None:
            return Attempt(run, task, 0)
        base_kb = worker.kept_kb or held_kb(worker.zygote.pid)
        beat = beat_file(self._places.path(worker.place))
        return Attempt(run, task, worker.pid, base_kb, worker.outputs.heard_ms, beat)

    def exits(self) -> list[Ended]:
        """How attempts ended since the last call."""
        if not self._zygotes.first.stream.is_open and not self._is_closed:
            self._replace()
        ended, self._ended = self._ended, []
        return ended

    def told(self) -> list[Told]:
        """What operators have logged since the last call; of attempts that end, before `exits` tells so."""
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        """Let the zygotes end, and with them every worker; `wait` until they have."""
        if self._is_closed:
            return
        self._is_closed = True
        if all(not worker.threads for worker in self._workers.values()):
            # Nothing has run: it may still be importing, and need not go on.
            self._adopt()
            send_to_all(self._process.pid, signal.SIGKILL)
        for worker in self._workers.values():
            worker.disconnect(self._readiness)
        self._grouped = [worker.group for worker in self._workers.values() if worker.group]
        self._zygotes.remove(self._zygotes.first)
        self._workers.clear()

    def wait(self) -> None:
        """Wait for the end of all processes, after `close`."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._process.pid, 0)
        _firsts.discard(self._process.pid)
        if self._adopts:
            end_children(_is_ours)  # that it left, where it was killed
        for group in self._grouped:
            _groups.remove(group)
        _groups.rest()
        if self._plan is not None:
            self._places.clear()
            self._plan = None

    def _begin(self, process: ZygoteProcess) -> Zygotes:
        self._process = process
        _firsts.add(process.pid)
        first = self._zygote(frozenset(), None, process.control)
        first.pid = process.pid
        return Zygotes(first, self._branch)

    def _branch(self, parent: Zygote, imports: tuple[str, ...]) -> Zygote:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        zygote = self._zygote(parent.has.union(imports), parent, ours)
        parent.stream.send(Branch(zygote.number, imports), [its.detach()])
        return zygote

    def _zygote(self, has: frozenset[str], parent: Zygote | None, control: socket.socket) -> Zygote:
        self._numbers += 1
        zygote = Zygote(self._numbers, has, parent)
        zygote.stream = Stream(control, self._readiness, lambda body: self._hear_news(zygote, body))
        return zygote

    def _have_a_spare(self, zygote: Zygote) -> None:
        if not zygote.spares:
            zygote.spares.append(self._fork(zygote))

    def _take(self, order: Spawn) -> Worker:
        """A worker for an attempt: the one that was idle last, one that was forked ahead, or a new one."""
        if order.isolation == "fresh":
            return self._fork(self._zygotes.first, fresh=True)
        if not order.alone:
            found = -1
            for i in range(len(self._idle) - 1, -1, -1):
                worker = self._idle[i]
                if worker.threads == order.threads and worker.zygote.has.issuperset(order.imports):
                    if worker.on == order.on:  # it need not move
                        return self._idle.pop(i)
                    found = max(found, i)
            if found >= 0:
                return self._idle.pop(found)
        zygote = self._zygotes.get(order.imports)
        worker = zygote.spares.pop() if zygote.spares else self._fork(zygote)
        if order.alone or len(self._running) + 1 < self._most_idle:
            self._have_a_spare(zygote)  # so that the next one need not wait for a fork
        return worker

    def _fork(self, zygote: Zygote, fresh: bool = False) -> Worker:
        self._numbers += 1
        worker = Worker(self._numbers, self._places.take(), zygote)
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stream = Stream(ours, self._readiness, lambda body: self._hear_report(worker, body))
        worker.connect(stream, self._readiness)
        self._workers[worker.number] = worker
        files = [its.detach(), *worker.outputs.writes]
        zygote.stream.send(Fork(worker.number, self._places.path(worker.place), fresh), files)
        return worker

    def _signal(self, worker: Worker, number: int) -> None:
        worker.doomed = True  # the signal may come late, and must not hit another attempt
        worker.zygote.stream.send(Signal(worker.number, number))

    def _hear_report(self, worker: Worker, body: bytes) -> None:
        try:
            told = decode_report(body)
        except msgspec.DecodeError:  # the operator wrote to a socket that is none of its business
            self._signal(worker, signal.SIGKILL)
            return
        order = worker.order
        if order is None or (told.run, told.node, told.attempt) != (order.run, order.node, order.attempt):
            return
        if isinstance(told, Told):
            self._told.append(told)
            return
        ended = told
        worker.cpu_ms += ended.usage.cpu_ms
        worker.kept_kb = ended.kept_kb
        if order.gpus:
            # A GPU is free only when the driver has torn down the process's hold on it.
            worker.ended = ended
            return
        self._over(worker, ended)
        if ended.fit and not worker.doomed:
            self._idle.append(worker)
            if len(self._idle) > self._most_idle:
                self._dismiss(self._idle.pop(0))
        else:
            self._dismiss(worker)

    def _over(self, worker: Worker, ended: Ended) -> None:
        """An attempt has ended."""
        order = worker.order
        assert order is not None
        worker.outputs.drain()  # what was printed before is of this attempt
        worker.outputs.end()
        worker.order = None
        del self._running[order.run, order.node, order.attempt]
        if order.imports and (imports := worker.zygote.tell()):  # with the first attempt that needed them
            usage = msgspec.structs.replace(ended.usage, imports=imports)
            ended = msgspec.structs.replace(ended, usage=usage)
        self._ended.append(ended)

    def _fail(self, order: Spawn, failure: Failure, usage: Usage | None = None) -> None:
        self._ended.append(
            Ended(order.node, order.attempt, failure=failure, usage=usage or Usage(), run=order.run)
        )

    def _dismiss(self, worker: Worker) -> None:
        """It gets no more orders, and ends when it sees that."""
        worker.doomed = True
        worker.stream.close()

    def _hear_news(self, zygote: Zygote, body: bytes) -> None:
        match decode_news(body):
            case Forked(number=number, pid=pid):
                if number in self._workers:
                    self._workers[number].pid = pid
                for other in self._zygotes.all:
                    if other.number == number:
                        other.pid = pid
            case Loaded(imports=imports, has=has):
                for ready in self._zygotes.loaded(zygote, has, imports):
                    self._have_a_spare(ready)
            case Unforked(number=number, why=why):
                self._is_gone(number, no_process(why), Usage())
            case Reaped(number=number, status=status, usage=usage):
                self._is_gone(number, *end_of(self._workers.get(number), status, usage, self._kills))
            case news:
                assert_never(news)

    def _is_gone(self, number: int, failure: Failure, usage: Usage) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            self._bury(worker, failure, usage)
        for zygote in self._zygotes.all:
            if zygote.number == number:
                self._lose(zygote, failure if failure.code == "FR211" else LOST)
                break

    def _bury(self, worker: Worker, failure: Failure, usage: Usage | None = None) -> None:
        """A process is gone: its last words count."""
        worker.stream.listen()
        order = worker.order
        if order is not None:
            if failure.code == "FR202" and worker.stream.was_cut and not worker.doomed:
                failure = UNREAD
            if usage is not None:
                usage = Usage(max(0, usage.cpu_ms - worker.cpu_ms), usage.peak_mb)
            last = Ended(order.node, order.attempt, failure=failure, usage=usage or Usage(), run=order.run)
            self._over(worker, worker.ended or last)
        worker.disconnect(self._readiness)
        if worker.group:
            _groups.remove(worker.group)
        self._places.give_back(worker.place)
        del self._workers[worker.number]
        for workers in (self._idle, worker.zygote.spares):
            if worker in workers:
                workers.remove(worker)

    def _lose(self, lost: Zygote, failure: Failure) -> None:
        """A zygote is gone, and with it all that it forked."""
        for worker in list(self._workers.values()):
            if worker.zygote.is_below(lost):
                self._bury(worker, failure)
        self._zygotes.remove(lost)

    def _adopt(self) -> None:
        """Whatever a zygote leaves when it is killed comes to be found below this process."""
        adopt_orphans()
        self._adopts = True

    def _replace(self) -> None:
        """The first zygote is gone. What had not been reported by then is lost."""
        pid = self._process.pid
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        _firsts.discard(pid)
        self._adopt()
        end_children(_is_ours)
        self._lose(self._zygotes.first, LOST)
        # A new interpreter: this process may have threads by now, which do not survive a fork.
        self._zygotes = self._begin(start_zygote())
        if self._plan is not None:
            self._zygotes.first.stream.send(self._plan)


def _is_ours(child: int) -> bool:
    """Whether a child is no orphan that a zygote left to this process. Those are in other sessions."""
    with contextlib.suppress(ProcessLookupError):
        return child in _firsts or os.getsid(child) == os.getsid(0)
    return True

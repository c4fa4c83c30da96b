"""Executing runs, one or many: the loop that feeds events to the core and carries out its commands."""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NoReturn

from flowrun.core.changes import AnyChange, Elsewhere, Event, Exited, Finish, Logged, Opened, Verified, Woke
from flowrun.core.fleet import Fleet, abandon, decide, look
from flowrun.shell.clock import now_ms
from flowrun.shell.execution import Execution
from flowrun.shell.host.leases import Leases
from flowrun.shell.host.watch import Attempt, Watch
from flowrun.shell.log.database import Batch
from flowrun.shell.log.outage import Outage, unwritten
from flowrun.shell.log.runlog import RunLog, demand_written, refuse_unwritten
from flowrun.shell.readiness import Readiness
from flowrun.shell.saying import complain
from flowrun.shell.store.verifier import Verifier
from flowrun.shell.workers.descendants import tree
from flowrun.shell.workers.pool import Pool

PATIENCE_MS = 200  # between looks at the clock while nothing happens
_LOOK_MS = 1000  # between looks at what waits
_LOOK_ELSEWHERE_MS = 100  # where other processes hold something, too


class Signals:
    """SIGINT, SIGTERM and SIGHUP as something to wait for. The second one counts again.

    A terminal that goes away sends SIGHUP. Who is to go on without one ignores it (`nohup`).
    """

    def __init__(self) -> None:
        self.woken, wake = socket.socketpair()
        wake.setblocking(False)
        self.woken.setblocking(False)
        self._wake = wake
        signal.set_wakeup_fd(wake.fileno())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda *_: None)

    def close(self) -> None:
        """Wait for none any more. One that comes now comes too late, and does nothing."""
        signal.set_wakeup_fd(-1)

    def count(self) -> int:
        """How many signals came since the last call."""
        try:
            return len(self.woken.recv(64))
        except BlockingIOError:
            return 0


class Loop:
    """Executes the runs of a fleet. Who calls it says when it is enough."""

    def __init__(self, fleet: Fleet, log: RunLog, leases: Leases, readiness: Readiness | None = None) -> None:
        self.fleet = fleet
        self._readiness = readiness or Readiness()
        self.executions: dict[str, Execution] = {}
        self.disputed: set[str] = set()  # runs that another process has written to, and that end here by that
        self._home = log.home
        self._leases = leases
        self._writer = log.writer()
        self._readiness.add(self._writer.woken, self._writer.heard)
        self._verifier = Verifier(log.home.store)
        self._readiness.add(self._verifier.woken, self._verifier.heard)
        self._untold: deque[tuple[int, list[Batch]]] = deque()  # batches that may not be durable yet
        self._then: deque[tuple[int, Callable[[], None], Callable[[], None] | None]] = deque()
        self._outage = Outage()
        self._looked_ms = now_ms()
        self._watch = Watch(tree)

    @property
    def outage(self) -> str:
        """Why the log cannot be written just now; empty if it can."""
        return self._outage.reason

    def open(self, execution: Execution, opened: Opened) -> None:
        """Take up a run. It is taken out when it has ended, and that is durable."""
        self.disputed.discard(execution.run)
        self.executions[execution.run] = execution
        self.fleet.runs[execution.run] = execution.state
        self.step([(execution.run, opened)])

    def turn(self, listens: Mapping[int, int], patience_ms: int = PATIENCE_MS) -> set[int]:
        """Wait until something happens, and take a step if it is in the runs.

        `listens` has further descriptors, with the events of `epoll` to wait for; those are returned at which
        something happened.
        """
        ready = self._readiness.wait(self._patience_ms(patience_ms), listens)
        pools = {id(execution.pool): execution.pool for execution in self.executions.values()}.values()
        self._mind_the_log()
        happened = list(self._happened(pools))
        if self._watch.is_due():
            happened += self._watch.look(self._attempts(), now_ms())
        if happened:
            self.step(happened)
        elif self.fleet.scheduler.queue and now_ms() - self._looked_ms >= self._look_ms():
            self._look_around()
            self.look()
        else:
            for execution in self.executions.values():
                execution.watcher.tick(execution.state)
        self._tell()
        return ready

    def step(self, events: Iterable[tuple[str, Event]]) -> None:
        """Decide and do it. It is made durable meanwhile, before anybody hears of it."""
        changes: list[tuple[str, AnyChange]] = []
        for run, event in events:
            execution = self.executions.get(run)
            if execution is None or execution.state.status != "running":
                continue  # a signal that came together with the last exit: the end is the last row
            event = execution.with_reason(event)
            changes.append((run, event))
            changes += decide(self.fleet, run, event)
        self.commit(changes)

    def look(self) -> None:
        """Decide what is to be done by time alone."""
        self._looked_ms = now_ms()
        self.commit(look(self.fleet, self._looked_ms))

    def _look_ms(self) -> int:
        return _LOOK_ELSEWHERE_MS if self.fleet.scheduler.elsewhere else _LOOK_MS

    def _look_around(self) -> None:
        """See what other processes hold of the host by now."""
        others = self._leases.others()
        running = next(iter(self.fleet.runs), None)
        if others != self.fleet.scheduler.elsewhere and running is not None:
            self.step([(running, Elsewhere(now_ms(), others))])

    def commit(self, changes: Iterable[tuple[str, AnyChange]]) -> None:
        """Carry out what is decided, and hand it to the log.

        What is ordered is on its way before it is durable, and so are decisions about what comes of it: the
        log has them in this order. A crash in between repeats work, and never loses any: a node's result
        cannot reach the log before the results that it was made from.
        """
        of: dict[str, list[AnyChange]] = {}
        for run, change in changes:
            of.setdefault(run, []).append(change)
            self.executions[run].carry_out(change)
        if not of:
            return
        batches: list[Batch] = []
        for run, made in of.items():
            execution = self.executions[run]
            while execution.unverified:
                self._verifier.put(run, *execution.unverified.pop())
            if run not in self.disputed:
                batches.append(Batch(run, execution.position, made, execution.results_in(made)))
                execution.position += len(made)
            if execution.state.status != "running":
                del self.fleet.runs[run]
                self._writer.hurry()
                if run in self.disputed:  # that will never be durable
                    del self.executions[run]
        if batches:
            self._writer.put(batches)
            self._untold.append((self._writer.handed, batches))

    def when_durable(self, then: Callable[[], None], in_outage: Callable[[], None] | None = None) -> None:
        """Call something as soon as all that is decided by now is durable.

        What is to be done `in_outage` is done instead when the log cannot be written.
        """
        if self._writer.durable == self._writer.handed:
            then()
        elif self.outage and in_outage is not None:
            in_outage()
        else:
            self._then.append((self._writer.handed, then, in_outage))
            self._writer.hurry()

    def settle(self) -> None:
        """Wait until all that is decided is durable, and told; `Refused` (FR310) if that cannot be now."""
        self._writer.stop()
        self._tell()
        if self._untold:
            self.give_up()

    def give_up(self) -> NoReturn:
        """Do not wait until the log can be written: `Refused` (FR310) says what is not."""
        lost = unwritten(
            (batch.run, change)
            for _, batches in self._untold
            for batch in batches
            for change in batch.changes
        )
        refuse_unwritten(self._writer.outage, self._home, lost)

    def close(self) -> None:
        """Wait until all that is decided is durable, if it can be; nothing more is going to be."""
        self._writer.close()
        self._verifier.close()

    def _mind_the_log(self) -> None:
        """While the log cannot be written, nothing starts, and people know why."""
        news, paused = self._outage.news(self._writer.outage, now_ms()), self.fleet.paused
        if news:
            complain(news)
            for execution in self.executions.values():
                execution.watcher.suffer(self.outage)
        if self.outage:
            paused.add("outage")
            if news:
                waiting, self._then = self._then, deque()
                for handed, then, in_outage in waiting:
                    if in_outage is None:
                        self._then.append((handed, then, None))
                    else:
                        in_outage()
        elif "outage" in paused:
            paused.remove("outage")
            self.look()

    def _tell(self) -> None:
        """Tell of what is durable by now."""
        demand_written(self._writer, self._home)
        durable = self._writer.durable
        while self._writer.disputes:
            self._set_aside(self._writer.disputes.popleft())
        told: dict[str, list[AnyChange]] = {}
        while self._untold and self._untold[0][0] <= durable:
            for run, _, made, _ in self._untold.popleft()[1]:
                told.setdefault(run, []).extend(made)
        for run, made in told.items():
            execution = self.executions[run]
            if isinstance(made[-1], Finish):
                del self.executions[run]
            execution.tell(made)
        while self._then and self._then[0][0] <= durable:
            self._then.popleft()[1]()

    def _set_aside(self, run: str) -> None:
        """What another process goes on with is not ours any more: it ends here, and nobody is told how."""
        if run in self.disputed:
            return
        self.disputed.add(run)
        self._untold = deque(
            (n, [batch for batch in batches if batch.run != run]) for n, batches in self._untold
        )
        if run in self.fleet.runs:
            self.commit(abandon(self.fleet, run, now_ms()))
        else:
            del self.executions[run]  # it had come to its end

    def _happened(self, pools: Iterable[Pool]) -> Iterable[tuple[str, Event]]:
        for execution in self.executions.values():
            known, execution.known = execution.known, []
            yield from ((execution.run, event) for event in known)
        now = now_ms()
        for pool in pools:
            for told in pool.told():
                yield (
                    told.run,
                    Logged(now, told.node, told.attempt, told.points, told.notes, told.artifacts),
                )
            for end in pool.exits():
                usage = self._watch.usage((end.run, end.node, end.attempt), end.usage)
                yield end.run, Exited(now, end.node, end.attempt, end.artifact, end.failure, usage)
        for run, node, artifact, sound in self._verifier.verdicts():
            yield run, Verified(now, node, artifact.hash, sound)
        for execution in self.executions.values():
            wake = execution.wakes_ms()
            if wake is not None and wake <= now:
                yield execution.run, Woke(now)

    def _attempts(self) -> Iterator[Attempt]:
        for execution in self.executions.values():
            for task in execution.state.running.values():
                yield execution.pool.look(execution.run, task)

    def _patience_ms(self, most_ms: int) -> int:
        if any(execution.known for execution in self.executions.values()):
            return 0
        wakes = [execution.wakes_ms() for execution in self.executions.values()]
        soonest = min((wake for wake in wakes if wake is not None), default=None)
        return most_ms if soonest is None else max(0, min(most_ms, soonest - now_ms()))

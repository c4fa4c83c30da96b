"""Executing runs, one or many: the loop that feeds events to the core and carries out its commands."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterable, Mapping

from flowrun.core.changes import AnyChange, Event, Exited, Opened, Woke
from flowrun.core.fleet import Fleet, decide, look
from flowrun.shell.execution import Execution, now_ms
from flowrun.shell.pool import Pool
from flowrun.shell.runlog import RunLog

PATIENCE_MS = 200  # between looks at the clock while nothing happens
_LOOK_MS = 1000  # between looks at what waits


class Signals:
    """SIGINT and SIGTERM as something to wait for. The second one counts again."""

    def __init__(self) -> None:
        self.woken, wake = socket.socketpair()
        wake.setblocking(False)
        self.woken.setblocking(False)
        self._wake = wake
        signal.set_wakeup_fd(wake.fileno())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def count(self) -> int:
        """How many signals came since the last call."""
        try:
            return len(self.woken.recv(64))
        except BlockingIOError:
            return 0


class Loop:
    """Executes the runs of a fleet. Who calls it says when it is enough."""

    def __init__(self, fleet: Fleet, log: RunLog) -> None:
        self.fleet = fleet
        self.executions: dict[str, Execution] = {}
        self._log = log
        self._looked_ms = now_ms()

    def open(self, execution: Execution, opened: Opened) -> None:
        """Take up a run. It is taken out when it has ended."""
        self.executions[execution.run] = execution
        self.fleet.runs[execution.run] = execution.state
        self.step([(execution.run, opened)])

    def turn(self, listens: Mapping[int, int], patience_ms: int = PATIENCE_MS) -> set[int]:
        """Wait until something happens, and take a step if it is in the runs.

        `listens` has further descriptors, with the events of `poll` to wait for; those are returned at which
        something happened.
        """
        pools = {id(execution.pool): execution.pool for execution in self.executions.values()}.values()
        poll = select.poll()  # made anew each time, as a new zygote has new sockets
        for descriptor, events in listens.items():
            poll.register(descriptor, events)
        for pool in pools:
            poll.register(pool.orders, select.POLLIN)
            poll.register(pool.reports, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(self._patience_ms(patience_ms))}
        happened = list(self._happened(pools))
        if happened:
            self.step(happened)
        elif self.fleet.scheduler.queue and now_ms() - self._looked_ms >= _LOOK_MS:
            self.look()
        else:
            for execution in self.executions.values():
                execution.watcher.tick(execution.state)
        return ready.intersection(listens)

    def step(self, events: Iterable[tuple[str, Event]]) -> None:
        """Decide, do it, and make it durable before anybody hears of it."""
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

    def commit(self, changes: Iterable[tuple[str, AnyChange]]) -> None:
        """Carry out what is decided, and make it durable.

        What is ordered is on its way while the log is flushed. A crash in between repeats work, and never
        loses any: a node's result cannot reach the log before the results that it was made from.
        """
        of: dict[str, list[AnyChange]] = {}
        for run, change in changes:
            of.setdefault(run, []).append(change)
            self.executions[run].carry_out(change)
        if not of:
            return
        touched = [(self.executions[run], made) for run, made in of.items()]
        self._log.append_all([(execution.run, execution.position, made) for execution, made in touched])
        for execution, made in touched:
            execution.position += len(made)
            if execution.state.status != "running":
                del self.executions[execution.run], self.fleet.runs[execution.run]
        for execution, made in touched:
            execution.tell(made)

    def _happened(self, pools: Iterable[Pool]) -> Iterable[tuple[str, Event]]:
        for execution in self.executions.values():
            known, execution.known = execution.known, []
            yield from ((execution.run, event) for event in known)
        now = now_ms()
        for pool in pools:
            for end in pool.exits():
                yield (
                    end.run,
                    Exited(now, end.node, end.attempt, end.artifact, end.failure, end.usage),
                )
        for execution in self.executions.values():
            wake = execution.state.next_wake_ms()
            if wake is not None and wake <= now:
                yield execution.run, Woke(now)

    def _patience_ms(self, most_ms: int) -> int:
        if any(execution.known for execution in self.executions.values()):
            return 0
        wakes = [execution.state.next_wake_ms() for execution in self.executions.values()]
        soonest = min((wake for wake in wakes if wake is not None), default=None)
        return most_ms if soonest is None else max(0, min(most_ms, soonest - now_ms()))

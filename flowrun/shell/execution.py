"""Executing a run: the loop that feeds events to the core and carries out its commands."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, assert_never

import msgspec
from blake3 import blake3

from flowc.plan.model import Plan
from flowrun.core.changes import (
    AnyChange,
    Block,
    Cancel,
    CancelRequested,
    Command,
    Event,
    Exited,
    Fail,
    Finish,
    Kill,
    Opened,
    Resolve,
    Resolved,
    Retry,
    Schedule,
    Skip,
    Start,
    Woke,
)
from flowrun.core.decide import decide
from flowrun.core.model import Failure
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.messages import Spawn
from flowrun.shell.pool import Pool
from flowrun.shell.runlog import Home, RunLog
from flowrun.shell.values import Unfit, Values


class Watcher(Protocol):
    """Shows what happens."""

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Called after each step, when the changes are durable."""

    def tick(self, state: State) -> None:
        """Called now and then while nothing changes."""


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


class Execution:
    """One execution of a run, from `Opened` to `Finish`."""

    def __init__(self, run: str, state: State, home: Home, log: RunLog, pool: Pool, watcher: Watcher) -> None:
        self.run = run
        self.state = state
        self._home = home
        self._log = log
        self._pool = pool
        self._watcher = watcher
        self._position = len(log.changes(run))
        self._values = Values(state, home.store)
        self._secrets = {name for site in state.plan.sites for name in site.secrets}
        self._known: list[Event] = []  # what control nodes asked for, and what cannot even start
        self._has_gpus = False

    def go(self, opened: Opened) -> None:
        """Execute until nothing is left to do."""
        self._has_gpus = bool(opened.capacity.gpus)
        signals = Signals()
        self._step([opened])
        while self.state.status == "running":
            if self._known:
                known, self._known = self._known, []
                self._step(known)
                continue
            poll = select.poll()  # made anew each time, as a new zygote has new sockets
            for source in (self._pool.orders, self._pool.reports, signals.woken):
                poll.register(source, select.POLLIN)
            poll.poll(self._patience_ms())
            now = now_ms()
            events: list[Event] = [
                Exited(now, ended.node, ended.attempt, ended.artifact, ended.failure, ended.usage)
                for ended in self._pool.exits()
            ]
            events += [CancelRequested(now)] * signals.count()
            wake = self.state.next_wake_ms()
            if wake is not None and wake <= now:
                events.append(Woke(now))
            if events:
                self._step(events)
            else:
                self._watcher.tick(self.state)

    def _patience_ms(self) -> int:
        wake = self.state.next_wake_ms()
        return 200 if wake is None else max(0, min(200, wake - now_ms()))

    def _step(self, events: list[Event]) -> None:
        """Decide, do it, and make it durable before anybody hears of it.

        What is ordered is on its way while the log is flushed. A crash in between repeats work, and never
        loses any: a node's result cannot reach the log before the results that it was made from.
        """
        changes: list[AnyChange] = []
        for event in events:
            if self.state.status != "running":
                break  # a signal that came together with the last exit: the end is the last row
            event = self._with_reason(event)
            changes.append(event)
            changes += decide(self.state, event)
        for change in changes:
            self._carry_out(change)
        self._position = self._log.append(self.run, self._position, changes)
        self._watcher.see(self.state, changes)

    def _with_reason(self, event: Event) -> Event:
        """A process that we killed failed for our reason, not for the signal's."""
        if not isinstance(event, Exited) or event.failure is None:
            return event
        task = self.state.by_id[event.node]
        if task.kill is None or event.failure.code != "FR202":
            return event
        if task.kill.reason == "timeout":
            message = f"it took longer than its time limit of {task.site.timeout_ms / 1000:g} s"
            failure = msgspec.structs.replace(event.failure, code="FR203", message=message)
        else:
            failure = msgspec.structs.replace(event.failure, message="cancelled")
        return msgspec.structs.replace(event, failure=failure)

    def _carry_out(self, change: Event | Command) -> None:
        match change:
            case Start():
                self._start(change)
            case Kill(node=node, attempt=attempt, force=force):
                self._pool.kill(node, attempt, force)
            case Resolve(node=node):
                self._known.append(self._values.resolve(self.state.by_id[node], now_ms()))
            case (
                Opened()
                | Resolved()
                | Schedule()
                | Skip()
                | Exited()
                | Woke()
                | CancelRequested()
                | Retry()
                | Fail()
                | Block()
                | Cancel()
                | Finish()
            ):
                pass  # these change the state only
            case _:
                assert_never(change)

    def _start(self, start: Start) -> None:
        try:
            self._pool.spawn(self._order(start))
        except Unfit as error:
            failure = Failure("FR206", f"its arguments cannot be had: {error}")
            self._known.append(Exited(now_ms(), start.node, start.attempt, failure=failure))

    def _order(self, start: Start) -> Spawn:
        task = self.state.by_id[start.node]
        log = log_path(self._home, self.run, task, start.attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        return Spawn(
            start.node,
            start.attempt,
            task.site.op,
            task.site.code,
            self._values.arguments(task),
            str(log.absolute()),
            start.placement.cpus,
            start.placement.gpus if self._has_gpus else None,
            task.site.imports,
            tuple(sorted(self._secrets.difference(task.site.secrets))),
        )


def log_path(home: Home, run: str, task: Task, attempt: int) -> Path:
    """The file with an attempt's output: `logs/tree.1.log`, with `%` for each `/` in the node's id.

    Other characters that a file system may not like become `%` too, and long ids are cut; a piece of a hash
    then keeps their names apart.
    """
    node = task.node.id
    safe = "".join(c if (c.isascii() and c.isalnum()) or c in "_.+-[]#~," else "%" for c in node)[:150]
    if safe.replace("%", "/") != node:
        safe += f"~{blake3(node.encode()).hexdigest()[:8]}"
    return home.run_folder(run) / "logs" / f"{safe}.{attempt}.log"


def operators(plan: Plan) -> list[str]:
    """The plan's operators, in order of first use."""
    return list(dict.fromkeys(site.op for site in plan.sites if site.control not in ("branch", "choose")))


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000

"""A run that is being executed: what the core's decisions about it mean in the world."""

from __future__ import annotations

import shutil
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
    Event,
    Exited,
    Fail,
    Finish,
    Kill,
    Opened,
    Reorder,
    Resolve,
    Resolved,
    Retry,
    Skip,
    Start,
    Woke,
)
from flowrun.core.decide import ENDED, PREEMPTED
from flowrun.core.model import Failure
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.messages import Spawn
from flowrun.shell.pool import Pool
from flowrun.shell.runlog import Home
from flowrun.shell.values import Unfit, Values


class Watcher(Protocol):
    """Shows what happens."""

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Called after each step, when the changes are durable."""

    def tick(self, state: State) -> None:
        """Called now and then while nothing changes."""


class Execution:
    """One execution of a run, from `Opened` to `Finish`.

    `position` is where its next change goes in the log; `known` are events that came of carrying out changes:
    what control nodes asked for, and what cannot even start.
    """

    def __init__(
        self, run: str, state: State, home: Home, pool: Pool, watcher: Watcher, position: int = 0
    ) -> None:
        self.run = run
        self.state = state
        self.pool = pool
        self.watcher = watcher
        self.position = position
        self.known: list[Event] = []
        self._home = home
        self._values = Values(state, home.store)
        self._secrets = {name for site in state.plan.sites for name in site.secrets}
        self._has_gpus = False

    def with_reason(self, event: Event) -> Event:
        """A process that we killed failed for our reason, not for the signal's."""
        if not isinstance(event, Exited) or event.failure is None:
            return event
        task = self.state.by_id[event.node]
        if task.kill is None:
            return event
        failure = _with_reason(event.failure, task.kill, task.site.timeout_ms)
        return msgspec.structs.replace(event, failure=failure)

    def carry_out(self, change: AnyChange) -> None:
        """Do in the world what a change calls for."""
        match change:
            case Start():
                self._start(change)
            case Kill(node=node, attempt=attempt, force=force):
                self.pool.kill(self.run, node, attempt, force)
            case Resolve(node=node):
                self.known.append(self._values.resolve(self.state.by_id[node], now_ms()))
            case Opened():
                self._has_gpus = bool(change.capacity.gpus)
            case (
                Resolved()
                | Reorder()
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

    def tell(self, changes: Sequence[AnyChange]) -> None:
        """The changes are durable now: show them."""
        self.watcher.see(self.state, changes)
        if self.state.status == "succeeded":  # nobody is going to read it again
            shutil.rmtree(self._home.run_folder(self.run) / "scratch", ignore_errors=True)

    def _start(self, start: Start) -> None:
        try:
            self.pool.spawn(self._order(start))
        except Unfit as error:
            self._cannot_start(start, Failure("FR206", f"its arguments cannot be had: {error}"))
        except OSError as error:
            self._cannot_start(start, Failure("FR305", f"it can have no log: {error.strerror}"))

    def _cannot_start(self, start: Start, failure: Failure) -> None:
        self.known.append(Exited(now_ms(), start.node, start.attempt, failure=failure))

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
            run=self.run,
            scratch=str(_scratch_path(self._home, self.run, start).absolute()),
        )


def _with_reason(failure: Failure, kill: Kill, timeout_ms: int) -> Failure:
    if kill.reason == "preempted":
        # An operator may end by an exception when it is asked to.
        if failure.code not in (ENDED, "FR201"):
            return failure
        message = f"it was preempted for `{kill.by}`" if kill.by else "it was preempted: the daemon ends"
        return msgspec.structs.replace(failure, code=PREEMPTED, message=message, at="")
    if failure.code != ENDED:
        return failure
    if kill.reason == "timeout":
        message = f"it took longer than its time limit of {timeout_ms / 1000:g} s"
        return msgspec.structs.replace(failure, code="FR203", message=message)
    return msgspec.structs.replace(failure, message="cancelled")


def log_path(home: Home, run: str, task: Task, attempt: int) -> Path:
    """The file with an attempt's output: `logs/tree.1.log`, with `%` for each `/` in the node's id."""
    return home.run_folder(run) / "logs" / f"{_file_name(task.node.id)}.{attempt}.log"


def _scratch_path(home: Home, run: str, start: Start) -> Path:
    """What the attempts of a node have in common, as long as they are to compute the same."""
    return home.run_folder(run) / "scratch" / f"{_file_name(start.node)}.{start.key[:16]}"


def _file_name(node: str) -> str:
    """Characters that a file system may not like become `%`, and long ids are cut.

    A piece of a hash then keeps their names apart.
    """
    safe = "".join(c if (c.isascii() and c.isalnum()) or c in "_.+-[]#~," else "%" for c in node)[:150]
    if safe.replace("%", "/") != node:
        safe += f"~{blake3(node.encode()).hexdigest()[:8]}"
    return safe


def operators(plan: Plan) -> list[str]:
    """The plan's operators, in order of first use."""
    return list(dict.fromkeys(site.op for site in plan.sites if site.control not in ("branch", "choose")))


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000

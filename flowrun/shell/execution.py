"""A run that is being executed: what the core's decisions about it mean in the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, assert_never

import msgspec

from flowrun.core.changes import (
    AnyChange,
    Block,
    Cancel,
    CancelRequested,
    Elsewhere,
    Event,
    Exceeded,
    Exited,
    Fail,
    Finish,
    Kill,
    Logged,
    Opened,
    Outsider,
    Redo,
    Reorder,
    Resolve,
    Resolved,
    Retry,
    Reuse,
    Skip,
    Start,
    Verified,
    Verify,
    Woke,
)
from flowrun.core.failures import TAKEN
from flowrun.core.model import Artifact, Failure
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.clock import now_ms
from flowrun.shell.host.affinity import Cpus
from flowrun.shell.host.leases import Leases
from flowrun.shell.log.home import Home
from flowrun.shell.preparing import file_name
from flowrun.shell.reasons import with_reason
from flowrun.shell.values import Unfit, Values
from flowrun.shell.workers.messages import Spawn
from flowrun.shell.workers.pool import Pool


class Watcher(Protocol):
    """Shows what happens."""

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Called when changes are durable. The state may be further by then."""

    def tick(self, state: State) -> None:
        """Called now and then while nothing changes."""

    def suffer(self, outage: str) -> None:
        """Called when the run log cannot be written, with the reason; and with none when it can be again."""


class Execution:
    """One execution of a run, from `Opened` to `Finish`.

    `position` is where its next change goes in the log; `known` are events that came of carrying out changes:
    what control nodes asked for, and what cannot even start. `unverified` are what nodes could take.
    """

    def __init__(
        self,
        run: str,
        state: State,
        home: Home,
        pool: Pool,
        leases: Leases,
        cpus: Cpus,
        watcher: Watcher,
        position: int = 0,
    ) -> None:
        self.run = run
        self.state = state
        self.pool = pool
        self.watcher = watcher
        self.position = position
        self.known: list[Event] = []
        self.unverified: list[tuple[str, Artifact]] = []
        self._home = home
        self._leases = leases
        self._cpus = cpus
        self._values = Values(state, home.store)
        secrets = {name for site in state.plan.sites for name in site.secrets}
        self._hidden = {s.site: tuple(sorted(secrets.difference(s.secrets))) for s in state.plan.sites}
        self._cold = {site.imports for site in state.plan.sites if site.imports}  # nobody has them ready yet
        self._scratch = str((home.run_folder(run) / "scratch").absolute())
        self._has_gpus = False

    def with_reason(self, event: Event) -> Event:
        """A process that we killed failed for our reason, not for the signal's."""
        if not isinstance(event, Exited) or event.failure is None:
            return event
        failure = with_reason(event.failure, self.state.by_id[event.node])
        return msgspec.structs.replace(event, failure=failure)

    def carry_out(self, change: AnyChange) -> None:
        """Do in the world what a change calls for."""
        match change:
            case Start():
                self._start(change)
            case Exited(node=node, attempt=attempt):
                self._leases.give_back((self.run, node, attempt))
                self._cpus.give_back((self.run, node, attempt))
            case Kill(node=node, attempt=attempt, force=force):
                self.pool.kill(self.run, node, attempt, force)
            case Resolve(node=node):
                self.known.append(self._values.resolve(self.state.by_id[node], now_ms()))
            case Verify(node=node, artifact=artifact):
                self.unverified.append((node, artifact))
            case Opened():
                self._has_gpus = bool(change.capacity.gpus)
            case (
                Resolved()
                | Reorder()
                | Reuse()
                | Verified()
                | Skip()
                | Exceeded()
                | Elsewhere()
                | Woke()
                | CancelRequested()
                | Retry()
                | Redo()
                | Fail()
                | Block()
                | Cancel()
                | Finish()
                | Logged()
            ):
                pass  # these change the state only
            case _:
                assert_never(change)

    def results_in(self, changes: Sequence[AnyChange]) -> dict[int, bytes]:
        """The content keys of results in changes that are about to be logged, by their positions.

        An exit that came too late counts for nothing: what it was made from may be another by now.
        """
        by_id, contents = self.state.by_id, self.state.contents
        found: dict[int, bytes] = {}
        for i, change in enumerate(changes, self.position):
            if isinstance(change, (Exited, Reuse)) and (artifact := change.artifact) is not None:
                key = contents.get(change.node)
                if key and artifact is by_id[change.node].artifact:
                    found[i] = key
        return found

    def tell(self, changes: Sequence[AnyChange]) -> None:
        """The changes are durable now: show them."""
        self.watcher.see(self.state, changes)
        if isinstance(changes[-1], Finish) and changes[-1].status == "succeeded":
            scratch = self._home.run_folder(self.run) / "scratch"
            if scratch.exists():  # nobody is going to read it again
                import shutil

                shutil.rmtree(scratch, ignore_errors=True)

    def wakes_ms(self) -> int | None:
        """When time alone brings something, as long as the run goes on."""
        return self.state.clock.next_ms() if self.state.status == "running" else None

    def _start(self, start: Start) -> None:
        if not self._leases.take((self.run, start.node, start.attempt), start.placement):
            failure = Failure(TAKEN, "another process on this host has taken its place first")
            self._cannot_start(start, failure, self._leases.others())
            return
        task = self.state.by_id[start.node]
        try:
            self.pool.spawn(self._order(start, task))
        except Unfit as error:
            self._cannot_start(start, Failure("FR206", f"its arguments cannot be had: {error}"))
        if self._cold:
            self._look_ahead(task)

    def _cannot_start(
        self, start: Start, failure: Failure, elsewhere: tuple[Outsider, ...] | None = None
    ) -> None:
        exited = Exited(now_ms(), start.node, start.attempt, failure=failure, elsewhere=elsewhere)
        self.known.append(exited)

    def _order(self, start: Start, task: Task) -> Spawn:
        site = task.site
        return Spawn(
            start.node,
            start.attempt,
            site.op,
            site.code,
            self._values.arguments(task),
            start.placement.cpus,
            start.placement.gpus if self._has_gpus else None,
            site.imports,
            self._hidden[site.site],
            self.run,
            f"{self._scratch}/{file_name(start.node)}.{start.key[:16]}",
            site.isolation,
            self._cpus.take((self.run, start.node, start.attempt), start.placement.cpus),
            bool(site.pickles),
            task.needs.memory_mb,
        )

    def _look_ahead(self, task: Task) -> None:
        """What waits for a node that starts will start before long: what it imports is imported by then."""
        self._cold.discard(task.site.imports)
        for index in self.state.dependents[task.index]:
            imports = self.state.tasks[index].site.imports
            if imports in self._cold:
                self._cold.discard(imports)
                self.pool.foresee(imports)

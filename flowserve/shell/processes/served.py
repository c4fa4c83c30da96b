"""What a server serves, and how all of its processes move on to something else at once.

An operation is done in three steps: every process loads and checks what is missing; the catalog takes note of
what failed; the word that all processes read is set to the next generation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.catalog.catalog import Catalog
from flowserve.core.catalog.changes import Ended, changes, rollout_changes, rollouts_ended
from flowserve.core.catalog.operations import Operation, Proposal, Refresh, propose
from flowserve.core.catalog.rolling import EndRollout, Step
from flowserve.core.catalog.settling import Settled, settle
from flowserve.core.models.key import Key
from flowserve.shell.processes.children import Child
from flowserve.shell.processes.control import model_rows
from flowserve.shell.processes.messages import Halt, Known, Moved, Prepare
from flowserve.shell.processes.pool import Pool

_QUEUE_MAX = 32

_Reasons = dict[Key, tuple[Diagnostic, ...]]


class Served:
    """Of one server. `word` is the generation, in memory that all processes of `pool` read."""

    def __init__(self, pool: Pool, word: memoryview, note: Callable[[str], None]) -> None:
        """`note` hears of what changes."""
        self._pool = pool
        self._word = word
        self._note = note
        self._catalog = Catalog()
        self._begun = False
        self._turn = asyncio.Lock()
        self._waiting = 0
        self.on_rollout_end: Callable[[Ended], None] = lambda ended: None
        """Hears how a rollout ended, by whatever operation."""

    @property
    def catalog(self) -> Catalog:
        """What is served now."""
        return self._catalog

    @property
    def waiting(self) -> int:
        """How many operations are being done or wait for their turn."""
        return self._waiting

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until nobody else changes anything. Raises `Refused` FS107 when too many wait."""
        if self._waiting >= _QUEUE_MAX:
            refuse("FS107", f"{self._waiting} operations wait for their turn already")
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1

    async def operate(self, operation: Operation) -> Settled:
        """Do an operation, within a turn. Raises `Refused`."""
        before = self._catalog
        settled, _ = await self._make(operation)
        reason = operation.reason if isinstance(operation, Step | EndRollout) else ""
        for change in changes(before, settled, reason):
            self._note(change)
        for ended in rollouts_ended(before, settled, reason):
            self.on_rollout_end(ended)
        return settled

    async def begin(self, found: Refresh) -> list[Diagnostic]:
        """Serve what was found at the start. Returns why the rest is not served.

        Raises `Refused` when nothing is.
        """
        async with self._turn:
            settled, refused = await self._make(found)
            self._begun = True
        told = [diagnostic for key in sorted(settled.failed) for diagnostic in refused[key]]
        if not self._catalog.serving():
            raise Refused(*told)
        for change in rollout_changes(Catalog(), settled):
            self._note(change)
        for name, of in sorted(found.aliases.items()):
            for alias in sorted(of.keys() - settled.catalog.models[name].aliases.keys()):
                self._note(f"`{name}@{alias}` names version {of[alias]}, which the repository has not")
        return told

    def halt(self, name: str, alias: str, serial: int) -> None:
        """Let the candidate of a rollout get nothing more, before the rollout ends."""
        for worker in self._pool.living():
            worker.tell(Halt(name, alias, serial))

    async def _make(self, operation: Operation) -> tuple[Settled, _Reasons]:
        """Do an operation; return what came of it, and why versions failed."""
        settled, refused = await self._once(propose(self._catalog, operation))
        # A pipeline that was to run what has failed may run what serves instead.
        while settled.failed and settled.done and (again := propose(self._catalog, Refresh({}))).load:
            after, more = await self._once(again)
            tried = {(key.name, key.version) for key in again.load}
            failed = {key: why for key, why in settled.failed.items() if (key.name, key.version) not in tried}
            broken = settled.broken | after.broken
            settled = Settled(after.catalog, True, failed | after.failed, broken)
            refused |= more
        return settled, refused

    async def _once(self, proposal: Proposal) -> tuple[Settled, _Reasons]:
        failed: dict[Key, str] = {}
        refused: _Reasons = {}
        settled = settle(proposal, failed)
        while proposal.load or proposal.prove or settled.catalog.generation != proposal.before.generation:
            loading = set(proposal.load) - set(failed)
            proven = {*loading, *proposal.prove} if proposal.whole else set()
            new = await self._prepared(settled.catalog, loading, proven)
            for key, of in new.items():
                failed[key] = "; ".join(diagnostic.message for diagnostic in of)
            refused |= new
            settled = settle(proposal, failed)
            if not new or settled.catalog.generation == proposal.before.generation:
                break
        # No `await` since the last process was ready: none can have come to serve without this table.
        self._catalog = settled.catalog
        self._word[0] = self._catalog.generation
        known = Known(model_rows(self._catalog)) if self._catalog != proposal.before else None
        for worker in self._pool.living():
            if proposal.load or settled.catalog.generation != proposal.before.generation:
                worker.tell(Moved(self._catalog.generation))
            if worker.serving and known:
                worker.tell(known)
        return settled, refused

    async def _prepared(self, catalog: Catalog, loading: set[Key], proven: set[Key]) -> _Reasons:
        """Have every process load a catalog; return what failed in one of them.

        What must be `proven` is loaded even where its tier would have it wait for a request.
        """
        prepare = prepare_of(catalog, sorted(proven))
        first = not self._begun
        failed: _Reasons = {}
        asked: set[Child] = set()
        # Again for those that have come to serve meanwhile.
        while new := [w for w in self._pool.living() if (w.serving or first) and w not in asked]:
            asked.update(new)
            for answer in await asyncio.gather(*(worker.prepare(prepare) for worker in new)):
                if answer is not None:
                    named = loading | proven
                    failed |= {of.key: of.diagnostics for of in answer.failures if of.key in named}
                elif first:
                    refuse("FS109", "a server process ended while it loaded the models", hint=_CRASH)
                else:  # It cannot be told which of them it was; each may be tried alone.
                    said = "a server process ended while {} was loaded"
                    failed |= {key: (Diagnostic("FS109", said.format(key), hint=_CRASH),) for key in loading}
        return failed


def prepare_of(catalog: Catalog, proven: Iterable[Key] = ()) -> Prepare:
    """What a process is told to have ready for a catalog."""
    of = catalog.serving(), catalog.aliases(), catalog.rollouts(), catalog.failed()
    return Prepare(catalog.generation, *of, list(proven))


_CRASH = "the process's last words are above; a model that crashes onnxruntime takes its process along"

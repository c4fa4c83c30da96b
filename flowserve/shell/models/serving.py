"""The models of a process: the table that is current, the one that is next, what is still to be loaded."""

from __future__ import annotations

import array
import asyncio
from collections.abc import Callable, Iterable, Set
from concurrent.futures import Executor
from typing import Any

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model


class Serving:
    """What a server resolves names with. All methods run on the event loop, but for what `load` does.

    `word` is the generation that all processes serve: a memory of one 64-bit word, maybe shared. It is read
    at every resolve, so that a move to the next table is seen by all processes at the same instant.
    """

    def __init__(self, table: Table, word: memoryview | None = None) -> None:
        self._word = word if word is not None else memoryview(array.array("Q", [table.generation]))
        self._generation = table.generation
        self._table = table
        self._staged: Table | None = None
        self._waiting: dict[Version, list[Callable[[Model | Refused], None]]] = {}
        self._load: Callable[[Version], Model | Refused] | None = None
        self._threads: Executor | None = None
        self.on_move: Callable[[], object] = lambda: None
        """Hears that another table is current."""
        self.headers: set[bytes] = set()
        """In lower case, those of requests that rollouts want to see: empty where there is none."""

    @classmethod
    def of(cls, models: Iterable[Model]) -> Serving:
        """Serve these models and no others, ever."""
        return cls(Table([Version(Key(model.name, model.version), model) for model in models]))

    def lazily(self, load: Callable[[Version], Model | Refused], threads: Executor) -> None:
        """Have what is asked for and not in memory loaded on a thread of these; `load` gives it its model."""
        self._load, self._threads = load, threads

    @property
    def table(self) -> Table:
        """The table that is current."""
        if self._word[0] != self._generation:
            self._move()
        return self._table

    def resolve(self, name: str, tag: str = "") -> Model:
        """As `Table.route`, of the current table."""
        if self._word[0] != self._generation:
            self._move()
        return self._table.route(name, tag)

    def stage(self, table: Table) -> None:
        """Keep a table ready for the word to become its generation."""
        self._staged = table
        # Before it is current: a request's head is read before its name is resolved.
        self.headers |= headers_of(table)

    def halt(self, steps: Set[tuple[str, str, int]]) -> None:
        """Give nothing more to the candidates of rollouts: model, alias and serial."""
        for table in (self._table, self._staged):
            for split in table.splits if table else ():
                if (split.name, split.alias, split.rollout.serial) in steps:
                    split.halted = True

    def fetch(self, version: Version, then: Callable[[Model | Refused], Any]) -> None:
        """Have a version loaded that `resolve` raised `Cold` for; `then` is called exactly once, later."""
        assert self._load is not None, "every version of a fixed table has its model"
        assert self._threads is not None
        waiting = self._waiting.setdefault(version, [])
        waiting.append(then)
        if len(waiting) == 1:
            loop = asyncio.get_running_loop()
            task = loop.run_in_executor(self._threads, self._load, version)
            task.add_done_callback(lambda done: self._fetched(version, done.result()))

    def _fetched(self, version: Version, outcome: Model | Refused) -> None:
        for then in self._waiting.pop(version):
            then(outcome)

    def _move(self) -> None:
        generation = self._word[0]
        if self._staged is None or self._staged.generation != generation:
            return  # a process is told to serve only when it has the table
        self._table, self._staged, self._generation = self._staged, None, generation
        self.headers &= headers_of(self._table)
        self.on_move()


def headers_of(table: Table) -> set[bytes]:
    """The headers that a table's rollouts want to see, in lower case."""
    plans = [split.rollout.plan for split in table.splits]
    return {name.lower().encode() for plan in plans for name in (plan.header, plan.key)}

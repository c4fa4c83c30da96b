"""The run log: every change of every run, in order, durable. SQLite in WAL mode.

One writer a run, any number of readers. A change is appended at the position after the last one seen; if
another process wrote there first, the append fails (compare-and-swap on the log's length). The layout is
specified in `docs/formats/run-log.md`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from blake3 import blake3

from flowc.plan import codec
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, print_diagnostics, refuse
from flowc.plan.model import Header, Plan
from flowrun.core.changes import AnyChange, Opened, Tagged
from flowrun.core.model import Capacity
from flowrun.core.state import State
from flowrun.shell.log import database, facts
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import is_locked
from flowrun.shell.log.made import Made
from flowrun.shell.log.results import Results
from flowrun.shell.log.writer import Writer

if TYPE_CHECKING:
    from flowrun.core.history import Measured

_PATIENCE_S = 10.0
_OTHERS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_RUNS = """
SELECT run, number, workflow, plan_file, created_ms, status, ended_ms, sum FROM runs ORDER BY number
"""


class RunRow(msgspec.Struct, frozen=True):
    """What `flowrun runs` lists.

    `status` is "interrupted" when nobody executes an unfinished run, "damaged" when the row is not as it was
    written.
    """

    run: str
    workflow: str
    plan_file: str
    created_ms: int
    status: str
    ended_ms: int


class RunLog:
    """An open run log. Not to be carried over a fork.

    Another process that has the database is waited for, but no longer than `patience_s`.
    """

    def __init__(self, home: Home, writable: bool = False, patience_s: float = _PATIENCE_S) -> None:
        self.home = home
        self.place = Place(str(home.folder / "runs.db"))
        connect = database.connect if writable else database.connect_to_read
        with self._refusing():
            self._db = connect(Path(self.place.file), patience_s)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def create(self, workflow: str, plan_file: str, now_ms: int) -> str:
        """A new run, named after its workflow and numbered: `iris-7`."""
        with self._refusing():
            return database.create(self._db, workflow, plan_file, now_ms)

    def results(self) -> Results:
        """Results of all runs."""
        return Results(self._db, self.home.store)

    def made_by(self, prefix: str) -> list[tuple[str, str, str, int]]:
        """Artifacts whose hashes begin so: hash, run, node, position in the log; of the latest run first."""
        with self._refusing():
            return Made(self._db).by(prefix)

    def writer(self) -> Writer:
        """A thread of its own that appends; what this process then reads here may lag behind it."""
        return Writer(Path(self.place.file))

    def append(self, run: str, position: int, changes: Sequence[AnyChange]) -> int:
        """Write changes at a position, all or none, durable when this returns; the next position."""
        with self._refusing():
            database.append(self._db, [database.Batch(run, position, changes)])
        return position + len(changes)

    def version(self) -> int:
        """A number that is another as soon as another process has written. SQLite has it in memory."""
        with self._refusing():
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def length(self, run: str) -> int:
        """How many changes of a run there are: the position of the next."""
        query = "SELECT position + count FROM changes WHERE run = ? ORDER BY position DESC LIMIT 1"
        with self._refusing():
            found = self._db.execute(query, (run,)).fetchone()
        return int(found[0]) if found else 0

    def changes(self, run: str, since: int = 0) -> list[AnyChange]:
        """Every change of a run from a position on, in order."""
        with self._refusing():
            return database.changes_of(self._db, run, since)

    def opened(self, run: str) -> Opened | None:
        """How a run was last opened; `None` if it never was."""
        return next((c for c in reversed(self.changes(run)) if isinstance(c, Opened)), None)

    def runs(self) -> list[RunRow]:
        """All runs, oldest first."""
        with self._refusing():
            return [self._row(row) for row in self._db.execute(_RUNS)]

    def readable(self) -> Iterator[tuple[RunRow, list[AnyChange]]]:
        """Every run and what it did, but for those that are damaged: of these is told on standard error."""
        for row in self.runs():
            try:
                yield self.find(row.run), self.changes(row.run)
            except Refused as refusal:
                told = (msgspec.structs.replace(d, severity="warning") for d in refusal.diagnostics)
                print_diagnostics(told)

    def facts(self) -> dict[str, facts.Facts]:
        """What is at hand of each run, by `input`, `metric` and `tag`, by name; the last value of each."""
        with self._refusing():
            return facts.known(self._db)

    def tag(self, run: str, tags: dict[str, str], now_ms: int) -> None:
        """Sort a run under tags, whether it is being executed or not; an empty value takes one away."""
        with self._refusing():
            facts.tag(self._db, run, Tagged(now_ms, tags))

    def find(self, run: str) -> RunRow:
        """The run of that name, or the latest if the name is empty; `Refused` (FR301) if there is none."""
        rows = self.runs()
        found = [row for row in rows if row.run == run] if run else rows[-1:]
        if found and found[0].status == "damaged":
            _refuse(database.Mangled(f"what it says of run `{found[0].run}` is damaged"), self.place)
        if found:
            return found[0]
        if not rows:
            refuse(
                "FR301", f"there are no runs in `{self.home.folder}`", hint="`flowrun execute PLAN` makes one"
            )
        latest = ", ".join(f"`{row.run}`" for row in rows[-5:])
        refuse("FR301", f"there is no run `{run}` in `{self.home.folder}`", hint=f"there is {latest}")

    def keep_plan(self, plan: Plan) -> tuple[str, bytes]:
        """Keep a plan that runs are executed with, once; its hash (BLAKE3 of its bytes), and those."""
        body = codec.encode(plan)
        digest: str = blake3(body).hexdigest()
        with self._refusing():
            found = self._db.execute("SELECT 1 FROM plans WHERE hash = ?", (digest,)).fetchone()
        if not found:
            with self._refusing(), database.transaction(self._db):
                self._db.execute("INSERT OR IGNORE INTO plans VALUES (?, ?)", (digest, body))
        return digest, body

    def plan(self, digest: str) -> Plan:
        """The kept plan with that hash."""
        with self._refusing():
            row = self._db.execute("SELECT body FROM plans WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            refuse("FR305", f"the run log has lost the plan {digest[:12]}", self.place)
        if not isinstance(row[0], bytes) or blake3(row[0]).hexdigest() != digest:
            _refuse(database.Mangled(f"the plan {digest[:12]} is damaged"), self.place)
        from flowc.plan import known

        try:
            return known.decode(row[0])
        except msgspec.DecodeError:  # of another version, maybe: the codec says what is wrong
            return codec.decode(row[0], self.place.file)

    def state_of(self, run: str) -> State | None:
        """The state of a run, rebuilt from its log; `None` if it was never opened."""
        executions = self.executions(run)
        return self.after(executions[-1]) if executions else None

    def after(self, execution: list[AnyChange]) -> State:
        """The state that an execution came to."""
        state = self.opening(execution[0])
        for change in execution:
            state.apply(change)
        return state

    def executions(self, run: str) -> list[list[AnyChange]]:
        """The changes of a run, divided by `Opened`, with which each execution begins."""
        return _divided(self.changes(run))

    def last_execution(self, run: str) -> tuple[State, list[AnyChange]]:
        """The state that a run was opened with the last time, and all changes since.

        A resume opens it again, maybe with another plan: only what it kept and what followed counts.
        """
        executions = self.executions(run)
        if not executions:
            return State(Plan(Header(1, "never:opened")), {}), []
        return self.opening(executions[-1][0]), executions[-1]

    def opening(self, opened: AnyChange) -> State:
        """The state that an execution, whose first change this is, was opened with."""
        assert isinstance(opened, Opened)
        return State(self.plan(opened.plan), opened.inputs, opened.versions)

    def capacity(self, run: str) -> Capacity:
        """The host that a run, which was opened, was last executed on."""
        return next(c.capacity for c in reversed(self.changes(run)) if isinstance(c, Opened))

    def history(self) -> Measured:
        """What the operators of all runs took, and what the runner added."""
        from flowrun.core.history import Call, Loop, Measured, calls, loops, modules, runner, summarise

        plans: dict[str, Plan] = {}
        measured: list[Call] = []
        unfolded: list[Loop] = []
        for _, changes in self.readable():
            for execution in _divided(changes):
                opened = execution[0]
                assert isinstance(opened, Opened)
                if opened.plan not in plans:
                    plans[opened.plan] = self.plan(opened.plan)
                measured += calls(plans[opened.plan], execution)
                unfolded += loops(plans[opened.plan], execution)
        return Measured(summarise(measured, unfolded), modules(measured), runner(measured))

    def _row(self, row: tuple[Any, ...]) -> RunRow:
        run, _, workflow, plan_file, created_ms, status, ended_ms, _ = row
        if not database.is_sound(row):
            return RunRow(str(run), str(workflow), str(plan_file), 0, "damaged", 0)
        found = RunRow(run, workflow, plan_file, created_ms, status, ended_ms)
        if found.status == "running" and not is_locked(self.home, found.run):
            return msgspec.structs.replace(found, status="interrupted")
        return found

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            _refuse(error, self.place)


def demand_written(writer: Writer, home: Home) -> None:
    """Refuse to go on when what was handed to the log can never be written."""
    if writer.failure is not None:
        _refuse(writer.failure, Place(str(home.folder / "runs.db")))


def disputed(run: str, path: Place) -> Diagnostic:
    """Why a run (FR168) is not executed any more: its log is another process's, too."""
    hint = "see what else uses that folder, then go on with the run: what is written of it counts"
    return Diagnostic(
        "FR168", f"another process has written to the log of `{run}` meanwhile", (Label(path),), hint=hint
    )


def refuse_unwritten(outage: str, home: Home, lost: Iterable[str]) -> NoReturn:
    """Refuse (FR310) what needs the log to be written, which it cannot be at the moment."""
    raise Refused(_unwritten(outage, Place(str(home.folder / "runs.db")), lost))


def _unwritten(outage: str, path: Place, lost: Iterable[str] = ()) -> Diagnostic:
    hint = "see to what holds the file, or to the disk; what is written is not lost, and can be gone on with"
    message = f"the run log cannot be written: {outage}"
    return Diagnostic("FR310", message, (Label(path),), tuple(lost), hint)


def _refuse(error: Exception, path: Place) -> NoReturn:
    """Say why the log cannot be used; raise again what has nothing to do with that."""
    match error:
        case database.Mangled() | UnicodeDecodeError():
            hint = "other runs are not affected; `flowrun execute PLAN` computes anew what is lost"
            refuse("FR311", f"the run log is damaged: {error}", path, hint=hint)
        case sqlite3.DatabaseError() if (
            getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
        ):
            hint = "`sqlite3 FILE .recover` may save some; or name another folder with --state"
            refuse("FR311", f"the run log is damaged: {error}", path, hint=hint)
        case database.Foreign() | msgspec.DecodeError():
            hint = "use the flowrun that made it, or name another folder with --state"
            refuse("FR312", f"the run log is of another version of flowrun: {error}", path, hint=hint)
        case database.Conflict():
            raise Refused(disputed(error.run, path))
        case sqlite3.OperationalError() if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OTHERS:
            raise Refused(_unwritten(str(error), path))
        case sqlite3.Error() | OSError():
            hint = "see to permissions and disk, or name another folder with --state: nothing is lost"
            refuse("FR305", f"the run log cannot be used: {error}", path, hint=hint)
        case _:
            raise error


def _divided(changes: list[AnyChange]) -> list[list[AnyChange]]:
    openings = [i for i, change in enumerate(changes) if isinstance(change, Opened)]
    return [changes[i:end] for i, end in pairwise([*openings, len(changes)])]

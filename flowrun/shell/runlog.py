"""The run log: every change of every run, in order, durable. SQLite in WAL mode.

One writer a run, any number of readers. A change is appended at the position after the last one seen; if
another process wrote there first, the append fails (compare-and-swap on the log's length). The layout is
specified in `docs/formats/run-log.md`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

import msgspec
from blake3 import blake3

from flowc.plan import codec, known
from flowc.plan.diagnostics import Place, refuse
from flowc.plan.model import Header, Plan
from flowrun.core.changes import AnyChange, Finish, Opened
from flowrun.core.history import Call, Loop, Measured, calls, loops, modules, runner, summarise
from flowrun.core.model import Capacity
from flowrun.core.state import State
from flowrun.shell.artifacts import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, number INTEGER UNIQUE, workflow TEXT, plan_file TEXT, created_ms INTEGER,
    status TEXT, ended_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    run TEXT, position INTEGER, body BLOB, PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (hash TEXT PRIMARY KEY, body BLOB);
"""
_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, process
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyChange).decode


class RunRow(msgspec.Struct, frozen=True):
    """What `flowrun runs` lists. `status` is "interrupted" when nobody executes an unfinished run."""

    run: str
    workflow: str
    plan_file: str
    created_ms: int
    status: str
    ended_ms: int


class Home:
    """The state folder of a project, `.flow` by default: run log, artifacts, node logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "artifacts")

    def prepare(self) -> Path:
        """Make the folder; the file for what imports print. `Refused` (FR305) if that is not possible."""
        log = self.folder / "zygote.log"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            log.open("a").close()
        except OSError as error:
            hint = "see to its permissions and the disk, or name another folder with --state"
            refuse("FR305", f"the state folder cannot be used: {error.strerror}", Place(str(log)), hint=hint)
        return log

    def run_folder(self, run: str) -> Path:
        """Where a run's plan and node logs lie."""
        return self.folder / "runs" / run


class RunLog:
    """An open run log. Not to be carried over a fork."""

    def __init__(self, home: Home, writable: bool = False) -> None:
        self.home = home
        self._path = Place(str(home.folder / "runs.db"))
        with self._refusing():
            if writable:
                home.folder.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(self._path.file, isolation_level=None, timeout=10)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
            else:
                self._db = self._connect_to_read()

    def _connect_to_read(self) -> sqlite3.Connection:
        """The database; an empty one where nothing has run, or the first run is just making it."""
        if Path(self._path.file).is_file():
            db = sqlite3.connect(self._path.file, isolation_level=None, timeout=10)
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'changes'").fetchone():
                return db
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.executescript(_SCHEMA)
        return db

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def create(self, workflow: str, plan_file: str, now_ms: int) -> str:
        """A new run, named after its workflow and numbered: `iris-7`."""
        with self._transaction():
            (number,) = self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM runs").fetchone()
            run = f"{workflow}-{number}"
            self._db.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, 'running', 0)",
                (run, number, workflow, plan_file, now_ms),
            )
        return run

    def append(self, run: str, position: int, changes: Sequence[AnyChange]) -> int:
        """Write changes at a position, all or none, durable when this returns; the next position."""
        self.append_all([(run, position, changes)])
        return position + len(changes)

    def append_all(self, batches: Iterable[tuple[str, int, Sequence[AnyChange]]]) -> None:
        """Write changes of several runs, each at its position: all or none."""
        with self._transaction():
            for run, position, changes in batches:
                rows = [(run, position + i, _encode(change)) for i, change in enumerate(changes)]
                self._db.executemany("INSERT INTO changes VALUES (?, ?, ?)", rows)
                for change in changes:
                    self._note(run, change)

    def _note(self, run: str, change: AnyChange) -> None:
        if isinstance(change, Finish):
            update = "UPDATE runs SET status = ?, ended_ms = ? WHERE run = ?"
            self._db.execute(update, (change.status, change.at_ms, run))
        elif isinstance(change, Opened):
            self._db.execute("UPDATE runs SET status = 'running', ended_ms = 0 WHERE run = ?", (run,))

    def length(self, run: str) -> int:
        """How many changes of a run there are: the position of the next."""
        with self._refusing():
            found = self._db.execute("SELECT count(*) FROM changes WHERE run = ?", (run,)).fetchone()
        return int(found[0])

    def changes(self, run: str, since: int = 0) -> list[AnyChange]:
        """Every change of a run from a position on, in order."""
        query = "SELECT body FROM changes WHERE run = ? AND position >= ? ORDER BY position"
        with self._refusing():
            return [_decode(body) for (body,) in self._db.execute(query, (run, since))]

    def opened(self, run: str) -> Opened | None:
        """How a run was last opened; `None` if it never was."""
        query = "SELECT body FROM changes WHERE run = ? ORDER BY position DESC"
        with self._refusing():
            for (body,) in self._db.execute(query, (run,)):
                change = _decode(body)
                if isinstance(change, Opened):
                    return change
        return None

    def runs(self) -> list[RunRow]:
        """All runs, oldest first."""
        columns = "run, workflow, plan_file, created_ms, status, ended_ms"
        with self._refusing():
            rows = self._db.execute(f"SELECT {columns} FROM runs ORDER BY number").fetchall()
        return [self._row(row) for row in rows]

    def find(self, run: str) -> RunRow:
        """The run of that name, or the latest if the name is empty; `Refused` (FR301) if there is none."""
        rows = self.runs()
        found = [row for row in rows if row.run == run] if run else rows[-1:]
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
            with self._transaction():
                self._db.execute("INSERT OR IGNORE INTO plans VALUES (?, ?)", (digest, body))
        return digest, body

    def plan(self, digest: str) -> Plan:
        """The kept plan with that hash."""
        with self._refusing():
            row = self._db.execute("SELECT body FROM plans WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            refuse("FR305", f"the run log has lost the plan {digest[:12]}", self._path)
        try:
            if blake3(row[0]).hexdigest() == digest:
                return known.decode(row[0])
        except msgspec.DecodeError:
            pass  # of another version, maybe: the codec says what is wrong
        return codec.decode(row[0], self._path.file)

    def state_of(self, run: str) -> State | None:
        """The state of a run, rebuilt from its log; `None` if it was never opened."""
        state, changes = self.last_execution(run)
        for change in changes:
            state.apply(change)
        return state if changes else None

    def executions(self, run: str) -> list[list[AnyChange]]:
        """The changes of a run, divided by `Opened`, with which each execution begins."""
        changes = self.changes(run)
        openings = [i for i, change in enumerate(changes) if isinstance(change, Opened)]
        return [changes[i:end] for i, end in pairwise([*openings, len(changes)])]

    def last_execution(self, run: str) -> tuple[State, list[AnyChange]]:
        """The state that a run was opened with the last time, and all changes since.

        A resume opens it again, maybe with another plan: only what it kept and what followed counts.
        """
        executions = self.executions(run)
        if not executions:
            return State(Plan(Header(1, "never:opened")), {}), []
        opened = executions[-1][0]
        assert isinstance(opened, Opened)
        return State(self.plan(opened.plan), opened.inputs, opened.versions), executions[-1]

    def capacity(self, run: str) -> Capacity:
        """The host that a run, which was opened, was last executed on."""
        return next(c.capacity for c in reversed(self.changes(run)) if isinstance(c, Opened))

    def history(self) -> Measured:
        """What the operators of all runs took, and what the runner added."""
        plans: dict[str, Plan] = {}
        measured: list[Call] = []
        unfolded: list[Loop] = []
        for row in self.runs():
            for changes in self.executions(row.run):
                opened = changes[0]
                assert isinstance(opened, Opened)
                if opened.plan not in plans:
                    plans[opened.plan] = self.plan(opened.plan)
                measured += calls(plans[opened.plan], changes)
                unfolded += loops(plans[opened.plan], changes)
        return Measured(summarise(measured, unfolded), modules(measured), runner(measured))

    def _row(self, row: tuple[str, str, str, int, str, int]) -> RunRow:
        found = RunRow(*row)
        if found.status == "running" and not is_locked(self.home, found.run):
            return msgspec.structs.replace(found, status="interrupted")
        return found

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._refusing():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except (sqlite3.Error, OSError):
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
            hint = "see to permissions and disk, or name another folder with --state: nothing is lost"
            refuse("FR305", f"the run log cannot be used: {error}", self._path, hint=hint)


class RunLock:
    """Says that a process is executing a run. The kernel releases it however the process ends.

    A record lock belongs to the process alone: forked workers do not inherit it. It is lost, too, when the
    process closes the file anywhere, so `is_locked` does not look at those that are `held` here.
    """

    held: ClassVar[WeakValueDictionary[tuple[int, Path], RunLock]] = WeakValueDictionary()

    def __init__(self, home: Home, run: str) -> None:
        """Take the lock; `Refused` (FR303) if another process has it."""
        folder = self._folder = home.run_folder(run)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "lock").open("a")
        except OSError as error:
            refuse("FR305", f"the run's folder cannot be used: {error.strerror}", Place(str(folder)))
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            hint = "wait for that process, or end it"
            refuse("FR303", f"run `{run}` is being executed by another process", hint=hint)
        self.held[os.getpid(), folder] = self

    def release(self) -> None:
        """Nobody executes the run any more."""
        self.held.pop((os.getpid(), self._folder), None)
        self._file.close()


def is_locked(home: Home, run: str) -> bool:
    """Whether a process is executing a run.

    Only looks: to take the lock, be it for a moment, could make a process that is about to execute the run
    give up.
    """
    folder = home.run_folder(run)
    if (os.getpid(), folder) in RunLock.held:
        return True
    try:
        with (folder / "lock").open("rb") as file:
            wanted = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            kind, *_ = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, wanted))
    except OSError:
        return False
    return bool(kind != fcntl.F_UNLCK)

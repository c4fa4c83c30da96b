"""The run log's database: its tables, and how changes get into them and out of them. SQLite in WAL mode.

What is committed of a run at once is one row: changes that follow on each other, from a position on. Rows
carry check sums, which are verified when they are read. The layout is specified in `docs/formats/run-log.md`.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from flowrun.core.changes import AnyChange, Finish, Logged, Opened
from flowrun.shell.log import facts

FORMAT = 2
_SCHEMA = f"""
CREATE TABLE runs (
    run TEXT PRIMARY KEY, number INTEGER UNIQUE, workflow TEXT, plan_file TEXT, created_ms INTEGER,
    status TEXT, ended_ms INTEGER, sum INTEGER
) WITHOUT ROWID;
CREATE TABLE changes (
    run TEXT, position INTEGER, count INTEGER, sum INTEGER, body BLOB, PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE TABLE results (key BLOB PRIMARY KEY, run TEXT, position INTEGER, sum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (hash TEXT PRIMARY KEY, body BLOB);
{facts.SCHEMA}
PRAGMA user_version = {FORMAT};
"""
# Format 1 had a row for each change, and no sums.
_SET_ASIDE = ("ALTER TABLE changes RENAME TO changes_1", "ALTER TABLE runs RENAME TO runs_1")
_BRING_UP = (
    "INSERT INTO changes SELECT run, position, 1, sum_of(body, run, position, 1), body FROM changes_1",
    """INSERT INTO runs SELECT *, sum_of(NULL, run, number, workflow, plan_file, created_ms, status, ended_ms)
    FROM runs_1""",
    "DROP TABLE changes_1",
    "DROP TABLE runs_1",
)
_CREATE = "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, sum_of(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7))"
_STATUS = """
UPDATE runs SET status = ?2, ended_ms = ?3,
    sum = sum_of(NULL, run, number, workflow, plan_file, created_ms, ?2, ?3) WHERE run = ?1
"""
# Only at the end of what is there: compare-and-swap on the length of the run's log.
_APPEND = """
INSERT INTO changes SELECT ?1, ?2, ?3, ?4, ?5 WHERE ?2 = coalesce(
    (SELECT position + count FROM changes WHERE run = ?1 ORDER BY position DESC LIMIT 1), 0)
"""
_RESULT = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)"
_ROWS = """
SELECT position, count, sum, body FROM changes WHERE run = ?1 AND position >= coalesce(
    (SELECT max(position) FROM changes WHERE run = ?1 AND position <= ?2), 0) ORDER BY position
"""
_ROW = """
SELECT position, count, sum, body FROM changes WHERE run = ? AND position <= ? ORDER BY position DESC LIMIT 1
"""
_encode = msgspec.json.Encoder().encode_lines


class Batch(NamedTuple):
    """Changes of a run, from a position on.

    `keys` are content keys of what is computed: of the results in the changes at these positions.
    """

    run: str
    position: int
    changes: Sequence[AnyChange]
    keys: Mapping[int, bytes] = {}


class Conflict(Exception):
    """Another process has written to the log of `run` meanwhile."""

    def __init__(self, run: str) -> None:
        super().__init__(f"another process has written to the log of `{run}`")
        self.run = run


class Mangled(Exception):
    """What the log has is not what was written."""


class Foreign(Exception):
    """The database is of another version of flowrun, and cannot be read as it is."""


def connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection to write with; the database is made if it is not there.

    `sqlite3.Error`, `OSError`; `Foreign`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = _open(path, timeout_s)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        if _format(db) != FORMAT:
            _make(db)
    except BaseException:
        db.close()
        raise
    return db


def connect_to_read(path: Path, timeout_s: float) -> sqlite3.Connection:
    """The database; an empty one where nothing has run, or the first run is just making it."""
    if path.is_file():
        db = _open(path, timeout_s)
        if _format(db) == FORMAT:
            return db
        there = _is_there(db)
        db.close()
        if there:
            return connect(path, timeout_s)
    db = _open(Path(":memory:"), timeout_s)
    _make(db)
    return db


def create(db: sqlite3.Connection, workflow: str, plan_file: str, now_ms: int) -> str:
    """A new run, named after its workflow and numbered: `iris-7`. `sqlite3.Error`."""
    with transaction(db):
        (number,) = db.execute("SELECT coalesce(max(number), 0) + 1 FROM runs").fetchone()
        run = f"{workflow}-{number}"
        db.execute(_CREATE, (run, number, workflow, plan_file, now_ms, "running", 0))
    return run


def append(db: sqlite3.Connection, batches: Iterable[Batch]) -> None:
    """Write changes of runs, each at its position: all or none, durable when this returns.

    `Conflict` if one is not the next of its run; `sqlite3.Error`.
    """
    statements = [statement for batch in _joined(batches) for statement in _statements(batch)]
    if len(statements) == 1:  # a transaction of its own: one call instead of three
        _execute(db, *statements[0])
        return
    with transaction(db):
        for statement in statements:
            _execute(db, *statement)


def has(db: sqlite3.Connection, batches: Iterable[Batch]) -> bool:
    """Whether these very changes are there. `sqlite3.Error`."""
    first = next(_joined(batches))
    query = "SELECT body FROM changes WHERE run = ? AND position = ?"
    found = db.execute(query, (first.run, first.position)).fetchone()
    return found is not None and found[0] == _encode(first.changes)


def changes_of(db: sqlite3.Connection, run: str, since: int) -> list[AnyChange]:
    """What a run did, from a position on. `Mangled`; `sqlite3.Error`, `msgspec.DecodeError`."""
    with snapshot(db):
        rows = db.execute(_ROWS, (run, since)).fetchall()
        (status,) = db.execute("SELECT status FROM runs WHERE run = ?", (run,)).fetchone() or ("running",)
    found: list[AnyChange] = []
    expected: int | None = None
    for position, count, check, body in rows:
        if expected not in (position, None) or (expected is None and position > since):
            raise _mangled(run, since if expected is None else expected)
        found += _verified(run, position, count, check, body)[max(0, since - position) :]
        expected = position + count
    said = found[-1].status if found and isinstance(found[-1], Finish) else "running"
    if said != status and (found or not since):
        raise Mangled(f"run `{run}` is said to be {status}, but what it did says {said}")
    return found


def read_from(db: sqlite3.Connection, run: str, since: int) -> Iterator[AnyChange]:
    """As `changes_of`, maybe from a little earlier on, for who may not want all: a row is read at a time.

    `Mangled`; `sqlite3.Error`, `msgspec.DecodeError`.
    """
    for row in db.execute(_ROWS, (run, since)):
        yield from _verified(run, *row)


def changes_at(db: sqlite3.Connection, run: str, position: int) -> tuple[int, list[AnyChange]] | None:
    """What was committed at once with a change of a run, and the position of the first; none if it is gone.

    `Mangled`; `sqlite3.Error`, `msgspec.DecodeError`.
    """
    row = db.execute(_ROW, (run, position)).fetchone()
    return (row[0], _verified(run, *row)) if row and position < row[0] + row[1] else None


def result_of(db: sqlite3.Connection, key: bytes) -> tuple[str, int] | None:
    """The run, and the position in what it did, that has the result of a content key. `sqlite3.Error`."""
    found = db.execute("SELECT run, position, sum FROM results WHERE key = ?", (key,)).fetchone()
    return (found[0], found[1]) if found and found[2] == _sum(key, found[0], found[1]) else None


def is_sound(run: tuple[Any, ...]) -> bool:
    """Whether a row of `runs` is as it was written."""
    *values, check = run
    return bool(_sum(None, *values) == check)


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is done inside, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """All that is read inside is of the same moment."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def _verified(run: str, position: int, count: int, check: int, body: Any) -> list[AnyChange]:
    # A flipped bit may have made another type of a value.
    if not isinstance(body, bytes) or check != _sum(body, run, position, count):
        raise _mangled(run, position)
    return _decoder().decode_lines(body)


@functools.cache
def _decoder() -> msgspec.json.Decoder[AnyChange]:
    """Made when something is read: it takes longer than to write what begins a run."""
    return msgspec.json.Decoder(AnyChange)


def _mangled(run: str, position: int) -> Mangled:
    return Mangled(f"what run `{run}` did, from change {position} on, is damaged")


def _open(path: Path, timeout_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=timeout_s)
    db.text_factory = _text
    db.create_function("sum_of", -1, _sum, deterministic=True)
    return db


def _text(raw: bytes) -> str:
    """Texts that were damaged are read, too: their sums tell."""
    return raw.decode(errors="backslashreplace")


def _joined(batches: Iterable[Batch]) -> Iterator[Batch]:
    """What follows on each other in a run, as one."""
    joined: dict[str, tuple[int, list[AnyChange], dict[int, bytes]]] = {}
    for run, position, changes, keys in batches:
        first, made, known = joined.setdefault(run, (position, [], {}))
        assert position == first + len(made), "a run's changes come in order"
        made += changes
        known.update(keys)
    for run, (first, made, known) in joined.items():
        yield Batch(run, first, made, known)


def _statements(batch: Batch) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    run, position, changes, keys = batch
    body = _encode(changes)
    yield _APPEND, [(run, position, len(changes), _sum(body, run, position, len(changes)), body)]
    if keys:
        yield _RESULT, [(key, run, at, _sum(key, run, at)) for at, key in keys.items()]
    for at, change in enumerate(changes, position):
        if isinstance(change, Finish):
            yield _STATUS, [(run, change.status, change.at_ms)]
        elif isinstance(change, (Opened, Logged)):
            if isinstance(change, Opened):
                yield _STATUS, [(run, "running", 0)]
            for statement, row in facts.statements(run, at, change):
                yield statement, [row]


def _execute(db: sqlite3.Connection, statement: str, rows: list[tuple[object, ...]]) -> None:
    if db.executemany(statement, rows).rowcount == 0 and statement is _APPEND:
        raise Conflict(str(rows[0][0]))


def _sum(body: bytes | None, *columns: object) -> int:
    return zlib.crc32(body or b"", zlib.crc32(" ".join(map(str, columns)).encode()))


def _format(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _is_there(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'changes'").fetchone() is not None


def _make(db: sqlite3.Connection) -> None:
    """Make the tables; bring those of an earlier format up to this one."""
    with transaction(db):
        found, old = _format(db), _is_there(db)
        if found == FORMAT:  # another process was quicker
            return
        if found > FORMAT:
            raise Foreign(f"it has format {found}, and this flowrun knows {FORMAT}")
        for statement in (*(_SET_ASIDE if old else ()), *_SCHEMA.split(";"), *(_BRING_UP if old else ())):
            db.execute(statement)

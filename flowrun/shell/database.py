"""The run log's database: its tables, and how changes get into them. SQLite in WAL mode.

What is committed of a run at once is one row: changes that follow on each other, from a position on, with a
check sum. The layout is specified in `docs/formats/run-log.md`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from flowrun.core.changes import AnyChange, Finish, Opened

Batch = tuple[str, int, Sequence[AnyChange]]  # a run, the position of the first change, the changes

FORMAT = 2
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, number INTEGER UNIQUE, workflow TEXT, plan_file TEXT, created_ms INTEGER,
    status TEXT, ended_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    run TEXT, position INTEGER, count INTEGER, sum INTEGER, body BLOB, PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (hash TEXT PRIMARY KEY, body BLOB);
PRAGMA user_version = {FORMAT};
"""
_FROM_1 = """
INSERT INTO changes SELECT run, position, 1, check_sum(run, position, 1, body), body FROM changes_1
"""
# Only at the end of what is there: compare-and-swap on the length of the run's log.
_APPEND = """
INSERT INTO changes SELECT ?1, ?2, ?3, ?4, ?5 WHERE ?2 = coalesce(
    (SELECT position + count FROM changes WHERE run = ?1 ORDER BY position DESC LIMIT 1), 0)
"""
_STATUS = "UPDATE runs SET status = ?, ended_ms = ? WHERE run = ?"
_ROWS = """
SELECT position, count, sum, body FROM changes WHERE run = ?1 AND position >= coalesce(
    (SELECT max(position) FROM changes WHERE run = ?1 AND position <= ?2), 0) ORDER BY position
"""
_encode = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(AnyChange).decode_lines


class Conflict(Exception):
    """Another process has written to the run's log meanwhile."""


class Mangled(Exception):
    """What the log has of a run is not what was written."""


def connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection to write with; the database is made if it is not there. `sqlite3.Error`, `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, timeout=timeout_s)
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
        db = sqlite3.connect(path, isolation_level=None, timeout=timeout_s)
        if _format(db) == FORMAT:
            return db
        there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'changes'").fetchone()
        db.close()
        if there:
            return connect(path, timeout_s)
    db = sqlite3.connect(":memory:", isolation_level=None)
    _make(db)
    return db


def append(db: sqlite3.Connection, batches: Iterable[Batch]) -> None:
    """Write changes of runs, each at its position: all or none, durable when this returns.

    `Conflict` if one is not the next of its run; `sqlite3.Error`.
    """
    statements = [statement for batch in _joined(batches) for statement in _statements(*batch)]
    if len(statements) == 1:  # a transaction of its own: one call instead of three
        _execute(db, *statements[0])
        return
    with transaction(db):
        for statement in statements:
            _execute(db, *statement)


def changes_of(db: sqlite3.Connection, run: str, since: int) -> Iterator[tuple[int, list[AnyChange]]]:
    """What was committed of a run from a position on: positions and changes. `Mangled`; `sqlite3.Error`."""
    expected: int | None = None
    for position, count, check, body in db.execute(_ROWS, (run, since)):
        # A flipped bit may have made another type of a value.
        sound = isinstance(body, bytes) and check == _sum(run, position, count, body)
        if not sound or expected not in (position, None) or (expected is None and position > since):
            raise Mangled(f"what `{run}` did from change {position} on is damaged")
        changes = _decode(body)
        skip = max(0, since - position)
        if skip < count:
            yield position + skip, changes[skip:]
        expected = position + count


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


def _joined(batches: Iterable[Batch]) -> Iterator[Batch]:
    """What follows on each other in a run, as one."""
    joined: dict[str, tuple[int, list[AnyChange]]] = {}
    for run, position, changes in batches:
        first, made = joined.setdefault(run, (position, []))
        assert position == first + len(made), "a run's changes come in order"
        made += changes
    for run, (first, made) in joined.items():
        yield run, first, made


def _statements(
    run: str, position: int, changes: Sequence[AnyChange]
) -> Iterator[tuple[str, tuple[object, ...]]]:
    body = _encode(changes)
    yield _APPEND, (run, position, len(changes), _sum(run, position, len(changes), body), body)
    for change in changes:
        if isinstance(change, Finish):
            yield _STATUS, (change.status, change.at_ms, run)
        elif isinstance(change, Opened):
            yield _STATUS, ("running", 0, run)


def _execute(db: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> None:
    if db.execute(statement, values).rowcount == 0 and statement is _APPEND:
        raise Conflict(f"another process has written to the log of `{values[0]}`")


def _sum(run: str, position: int, count: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(f"{run} {position} {count} ".encode()))


def _format(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _make(db: sqlite3.Connection) -> None:
    """Make the tables; bring those of an earlier format, which had a row for each change, up to this one."""
    with transaction(db):
        if _format(db) == FORMAT:  # another process was quicker
            return
        old = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'changes'").fetchone()
        if old:
            db.execute("ALTER TABLE changes RENAME TO changes_1")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        if old:
            db.create_function("check_sum", 4, _sum, deterministic=True)
            db.execute(_FROM_1)
            db.execute("DROP TABLE changes_1")

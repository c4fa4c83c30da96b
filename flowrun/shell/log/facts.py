"""What lists and searches of runs know without reading what the runs did: inputs, metrics, tags.

Inputs and metrics follow from the changes of a run, and are written with them. So does where in them a node
first logged something, for who takes its result. Tags are what people say of a run, at any time and from any
process: they have a log of their own, so that nobody who executes the run has to know of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from flowrun.core.changes import AnyChange, Logged, Opened, Tagged

SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (run TEXT, kind TEXT, name TEXT, value TEXT, PRIMARY KEY (run, kind, name))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (run TEXT, position INTEGER, body BLOB, PRIMARY KEY (run, position))
    WITHOUT ROWID;
"""
_FORGET = "DELETE FROM facts WHERE run = ? AND kind = ?"
_KEEP = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)"
_FIRST = "INSERT OR IGNORE INTO facts VALUES (?, 'logged', ?, ?)"
_TAG = """
INSERT INTO tags SELECT ?1, coalesce((SELECT max(position) + 1 FROM tags WHERE run = ?1), 0), ?2
"""
_encode = msgspec.json.Encoder().encode

Facts = dict[str, dict[str, Any]]  # by kind (`input`, `metric`, `tag`) and name
Statement = tuple[str, tuple[object, ...]]


def statements(run: str, position: int, change: AnyChange) -> Iterator[Statement]:
    """What a change of a run, at a position in what it did, is to write."""
    match change:
        case Opened(inputs=inputs):
            yield _FORGET, (run, "input")
            yield from _keep(run, "input", inputs)
        case Logged(node=node, attempt=attempt, points=points):
            if attempt:
                yield _FIRST, (run, node, str(position))
            yield from _keep(run, "metric", {point.name: point.value for point in points})


def first_logged(db: sqlite3.Connection, run: str, node: str) -> int | None:
    """The position of the first that a node logged in a run, itself; none if it did not. `sqlite3.Error`."""
    found = db.execute("SELECT value FROM facts WHERE run = ? AND kind = 'logged' AND name = ?", (run, node))
    row = found.fetchone()
    return int(row[0]) if row else None


def tag(db: sqlite3.Connection, run: str, tagged: Tagged) -> None:
    """Append to a run's tags; durable when this returns. `sqlite3.Error`."""
    db.execute(_TAG, (run, _encode(tagged)))


def tags(db: sqlite3.Connection, run: str) -> list[Tagged]:
    """All that was ever said of a run's tags, in order. `sqlite3.Error`, `msgspec.DecodeError`."""
    rows = db.execute("SELECT body FROM tags WHERE run = ? ORDER BY position", (run,))
    return [msgspec.json.decode(body, type=Tagged) for (body,) in rows]


def known(db: sqlite3.Connection) -> dict[str, Facts]:
    """What is known of each run, the last value of each. `sqlite3.Error`, `msgspec.DecodeError`."""
    found: dict[str, Facts] = {}
    for run, kind, name, value in db.execute("SELECT * FROM facts WHERE kind IN ('input', 'metric')"):
        found.setdefault(run, {}).setdefault(kind, {})[name] = msgspec.json.decode(value)
    for run, body in db.execute("SELECT run, body FROM tags ORDER BY run, position"):
        of = found.setdefault(run, {}).setdefault("tag", {})
        for name, value in msgspec.json.decode(body, type=Tagged).tags.items():
            of.pop(name, None)
            if value:
                of[name] = value
    return found


def _keep(run: str, kind: str, facts: Mapping[str, object]) -> Iterator[Statement]:
    for name, value in facts.items():
        yield _KEEP, (run, kind, name, _encode(value).decode())

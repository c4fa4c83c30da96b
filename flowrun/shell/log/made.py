"""Where artifacts come from: an index of the run log, by their hashes.

It is brought up to date by whoever asks. Where the database cannot be written it is made for the moment.
"""

from __future__ import annotations

import contextlib
import sqlite3

from flowrun.core.changes import Exited, Reuse
from flowrun.shell.log.database import Mangled, changes_of, transaction

_TABLES = (
    """CREATE TABLE IF NOT EXISTS {}.made (hash TEXT, run TEXT, position INTEGER, node TEXT,
    PRIMARY KEY (hash, run, position)) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS {}.made_up_to (run TEXT PRIMARY KEY, position INTEGER) WITHOUT ROWID",
)
_NEWS = """
SELECT runs.run, coalesce(made_up_to.position, 0) FROM runs LEFT JOIN {0}.made_up_to USING (run)
WHERE coalesce(made_up_to.position, 0) < coalesce(
    (SELECT position + count FROM changes WHERE run = runs.run ORDER BY position DESC LIMIT 1), 0)
"""


class Made:
    """Which nodes of which runs an artifact is of."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._schema = "main"
        try:
            self._make()
        except sqlite3.OperationalError:
            self._schema = "temp"
            self._make()

    def by(self, prefix: str) -> list[tuple[str, str, str, int]]:
        """Hashes that begin so: hash, run, node and position in what the run did; latest runs first.

        `sqlite3.Error`, `msgspec.DecodeError`.
        """
        self._catch_up()
        query = f"""
            SELECT hash, made.run, node, position FROM {self._schema}.made JOIN runs USING (run)
            WHERE hash >= ? AND hash < ? ORDER BY number DESC, position
        """
        return self._db.execute(query, (prefix, f"{prefix}g")).fetchall()

    def _make(self) -> None:
        with transaction(self._db):
            for table in _TABLES:
                self._db.execute(table.format(self._schema))

    def _catch_up(self) -> None:
        for run, since in self._db.execute(_NEWS.format(self._schema)).fetchall():
            with contextlib.suppress(Mangled):  # of others it is known still
                changes = changes_of(self._db, run, since)
                rows = [
                    (change.artifact.hash, run, since + i, change.node)
                    for i, change in enumerate(changes)
                    if isinstance(change, (Exited, Reuse)) and change.artifact is not None
                ]
                with transaction(self._db):
                    self._db.executemany(
                        f"INSERT OR IGNORE INTO {self._schema}.made VALUES (?, ?, ?, ?)", sorted(rows)
                    )
                    self._db.execute(
                        f"INSERT OR REPLACE INTO {self._schema}.made_up_to VALUES (?, ?)",
                        (run, since + len(changes)),
                    )

"""Results of other runs, looked up in the run log: what a `Cache` asks."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict

import msgspec

from flowrun.core.changes import AnyChange, Exited, Logged, Point, Reuse, Start
from flowrun.core.model import Artifact, Origin
from flowrun.core.reuse import Hit
from flowrun.shell.log.database import Mangled, changes_at, read_from, result_of
from flowrun.shell.log.facts import first_logged
from flowrun.shell.store.artifacts import Store
from flowrun.shell.store.files import LARGE_BYTES

_MOST_ROWS = 16  # of the log, decoded: results of a run are often asked for one after the other


class Results:
    """What is known under content keys, and is there still. What cannot be read is not known."""

    def __init__(self, db: sqlite3.Connection, store: Store) -> None:
        self._db = db
        self._store = store
        self._rows: OrderedDict[tuple[str, int], list[AnyChange]] = OrderedDict()

    def look_up(self, key: bytes) -> Hit | None:
        """The latest result that was computed under a content key.

        It is sound with all its parts, or so large that this has yet to be verified.
        """
        try:
            found = result_of(self._db, key)
            change = self._change(*found) if found else None
        except (sqlite3.Error, msgspec.DecodeError, Mangled):
            return None
        match change:
            case Exited(artifact=artifact) if artifact is not None:
                assert found is not None
                hit = Hit(artifact, Origin(found[0], change.node, change.attempt))
            case Reuse():
                hit = Hit(change.artifact, change.origin)
            case _:
                return None
        if hit.artifact.bytes > LARGE_BYTES:
            return hit._replace(verified=False)
        return hit if self._store.is_sound(hit.artifact) else None

    def logged(self, origin: Origin) -> Logged | None:
        """All that the attempt logged that computed a result, its artifacts as far as they are there still.

        None if it logged nothing, or that cannot be read.
        """
        points: list[Point] = []
        notes: list[str] = []
        artifacts: dict[str, Artifact] = {}
        try:
            first = first_logged(self._db, origin.run, origin.node)
            if first is None:
                return None
            for change in read_from(self._db, origin.run, first):
                match change:
                    case Start(node=origin.node, attempt=origin.attempt):
                        points, notes, artifacts = [], [], {}
                    case Logged(node=origin.node, attempt=origin.attempt):
                        points += change.points
                        notes += change.notes
                        artifacts.update(change.artifacts)
                    case Exited(node=origin.node, attempt=origin.attempt, artifact=Artifact()):
                        break
        except (sqlite3.Error, msgspec.DecodeError, Mangled):
            return None
        there = {name: kept for name, kept in artifacts.items() if self._store.is_sound(kept)}
        if not (points or notes or there):
            return None
        return Logged(0, origin.node, origin.attempt, tuple(points), tuple(notes), there)

    def _change(self, run: str, position: int) -> AnyChange | None:
        for (of, first), row in self._rows.items():
            if of == run and first <= position < first + len(row):
                return row[position - first]
        found = changes_at(self._db, run, position)
        if found is None:
            return None
        first, row = found
        self._rows[run, first] = row
        if len(self._rows) > _MOST_ROWS:
            self._rows.popitem(last=False)
        return row[position - first]

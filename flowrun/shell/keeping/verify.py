"""`flowrun verify`: whether all that runs made is still what it was, before somebody needs it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from flowc.plan.diagnostics import Diagnostic, Place, Refused
from flowrun.shell.keeping.retention import artifacts_of, is_collected, logged_in, stored
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.store.content import Damaged

_MOST = 5  # nodes that a diagnostic lists
_Users = dict[str, list[tuple[str, str]]]  # runs and nodes, by the hash of a file


class Damage(msgspec.Struct, frozen=True):
    """A file of the store that is not what its hash says, or missing; and the runs and nodes whose results
    need it. What was only logged has none: a run that goes on does not make it again."""

    hash: str
    made_by: tuple[tuple[str, str], ...]  # in the order of the runs


class Verified(msgspec.Struct):
    """What was looked at, and what is wrong with it."""

    files: int = 0
    bytes: int = 0
    runs: int = 0
    problems: list[Diagnostic] = []
    damage: list[Damage] = []


def verify(log: RunLog) -> Verified:
    """Read every file of the store and every row of the log."""
    found = Verified()
    users, loggers, unreadable = _users(log, found)
    found.problems += unreadable
    damaged: set[str] = set()
    store = log.home.store
    there: set[str] = set()
    for path in stored(store):
        digest = path.parent.name + path.name
        there.add(digest)
        found.files, found.bytes = found.files + 1, found.bytes + path.stat().st_size
        if not store.content.is_intact(digest):
            damaged.add(digest)
    for digest in sorted(damaged | ((users.keys() | loggers.keys()) - there)):
        what = "is damaged: its content does not match its hash" if digest in damaged else "is missing"
        made_by = users.get(digest, [])
        found.problems.append(
            _problem(digest, what, str(store.path(digest)), made_by, loggers.get(digest, []))
        )
        found.damage.append(Damage(digest, tuple(made_by)))
    return found


def _problem(
    digest: str,
    what: str,
    path: str,
    makers: Sequence[tuple[str, str]],
    loggers: Sequence[tuple[str, str]],
) -> Diagnostic:
    notes = [f"node `{node}` of run `{run}` made it" for run, node in makers]
    notes += [f"node `{node}` of run `{run}` logged it" for run, node in loggers]
    notes[_MOST:] = [f"and {len(notes) - _MOST} more did"] if len(notes) > _MOST else []
    if makers:
        hint = f"`flowrun retry {makers[-1][0]}` makes it again"
    elif loggers:
        run, node = loggers[-1]
        hint = f"`flowrun retry {run} --from {node}` makes it again"
    else:
        notes, hint = ["no run refers to it any more"], "`flowrun gc` removes what nobody needs"
    return Diagnostic("FR307", f"artifact {digest[:12]} {what}", (), (path, *notes), hint)


def _users(log: RunLog, found: Verified) -> tuple[_Users, _Users, list[Diagnostic]]:
    """By the hash of each file, the nodes that made it, and those that logged it; what cannot be read of the
    log."""
    makers: _Users = {}
    loggers: _Users = {}
    problems = _database_problems(log)
    for row in log.runs():
        found.runs += 1
        try:
            changes = log.changes(row.run)
            made, logged = list(artifacts_of(changes)), list(logged_in(changes))
        except Refused as refusal:
            problems += refusal.diagnostics
            continue
        if is_collected(log, row.run):
            continue
        for users, artifacts in (makers, made), (loggers, logged):
            for node, artifact in artifacts:
                try:
                    digests = list(log.home.store.digests(artifact))
                except Damaged as error:
                    digests = [error.digest]
                for digest in digests:
                    users.setdefault(digest, []).append((row.run, node))
    return makers, loggers, problems


def _database_problems(log: RunLog) -> list[Diagnostic]:
    path = log.home.folder / "runs.db"
    if not path.is_file():
        return []
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            told = [row[0] for row in db.execute("PRAGMA integrity_check(20)")]
    except sqlite3.Error as error:
        told = [str(error)]
    label = Place(str(path))
    if told == ["ok"]:
        return []
    return [Diagnostic("FR311", f"the run log is damaged: {told[0]}", notes=(str(label), *told[1:]))]

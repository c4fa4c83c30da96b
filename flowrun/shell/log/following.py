"""Following a run from another process: what the log has of it, and what comes to it when it is durable."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec

from flowrun.core.changes import AnyChange, Finish
from flowrun.shell.log.locks import is_locked
from flowrun.shell.log.runlog import RunLog

_LOOK_S = 0.1  # between looks at a number that SQLite keeps in memory: whether anything was written
_ALONE_S = 1.0  # between looks at whether somebody still executes the run


def follow(log: RunLog, run: str, since: int = 0) -> Iterator[Sequence[AnyChange]]:
    """The changes of a run from a position on, some at a time; now and then none, while nothing happens.

    Ends with the run's end, or when nobody executes it any more.
    """
    position, ended, looked, version = since, False, time.monotonic(), -1
    alone = False
    while True:
        now_version = log.version()
        if now_version != version:
            version = now_version
            changes = log.changes(run, position)
            if changes:
                position += len(changes)
                ended = isinstance(changes[-1], Finish)
                alone = False
                yield changes
                continue
        if ended or alone:
            return
        if time.monotonic() - looked >= _ALONE_S or not position:
            looked = time.monotonic()
            if not is_locked(log.home, run):
                alone, version = True, -1  # it may have ended between the two looks: once more
                continue
        yield ()
        time.sleep(_LOOK_S)


def lines(run: str, changes: Sequence[AnyChange], position: int) -> Iterator[str]:
    """Changes as the log has them, one a line, with their run and position."""
    head = msgspec.json.encode(run).decode()
    for i, change in enumerate(changes):
        body = msgspec.json.encode(change).decode()
        yield f'{{"run":{head},"position":{position + i},{body[1:]}'

"""`flowrun events`: what happens in a run, as JSON lines."""

from __future__ import annotations

import sys

from flowrun.shell.log.following import follow, lines
from flowrun.shell.log.runlog import RunLog


def print_events(log: RunLog, run: str, since: int, on: bool) -> None:
    """Print what happened from a position on, and, with `on`, what happens until the run's end."""
    position = since
    if not on:
        _say(lines(run, log.changes(run, since), since))
        return
    for changes in follow(log, run, since):
        _say(lines(run, changes, position))
        position += len(changes)
    status = log.find(run).status
    if status == "interrupted":
        print(f"{run} was interrupted: nobody executes it any more", file=sys.stderr)


def _say(told: object) -> None:
    sys.stdout.writelines(f"{line}\n" for line in told)  # type: ignore[attr-defined]
    sys.stdout.flush()

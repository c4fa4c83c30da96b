"""`flowrun submit --wait`: a run shown as it goes on, read from the run log.

What the log has is durable, and it outlives the daemon: with the next one the same run goes on being shown.
"""

from __future__ import annotations

import itertools
import time

from flowrun.core.changes import AnyChange, Opened
from flowrun.core.state import State
from flowrun.shell.execution import Watcher
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import is_locked
from flowrun.shell.log.runlog import RunLog

_PATIENCE_S = 0.1


def follow(home: Home, run: str, watcher: Watcher, since: int = 0) -> State | None:
    """Show a run up to its end; `None` if nobody executes it any more."""
    log = RunLog(home)
    state: State | None = None
    position, alone = since, False
    while True:
        changes = log.changes(run, position)
        position += len(changes)
        for step in _executions(changes):
            if isinstance(step[0], Opened):
                state = State(log.plan(step[0].plan), step[0].inputs, step[0].versions)
            assert state is not None, "a log begins with `opened`"
            for change in step:
                state.apply(change)
            watcher.see(state, step)
        if state is not None and state.status != "running":
            return state
        if changes:
            continue
        if not is_locked(home, run):
            if alone:  # looked again, as it may have ended between the two looks
                return None
            alone = True
            continue
        alone = False
        if state is not None:
            watcher.tick(state)
        time.sleep(_PATIENCE_S)


def _executions(changes: list[AnyChange]) -> list[list[AnyChange]]:
    """Cut before each `opened`."""
    starts = [i for i, change in enumerate(changes) if isinstance(change, Opened)]
    cuts = sorted({0, *starts, len(changes)})
    return [changes[a:b] for a, b in itertools.pairwise(cuts)]

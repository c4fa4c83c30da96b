"""Finding what people name: a run as it stands, a node of it."""

from __future__ import annotations

from difflib import get_close_matches

from flowc.plan.diagnostics import refuse
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.log.runlog import RunLog

_MOST_NAMED = 20


def state_of(log: RunLog, run: str) -> State:
    """How a run stands; `Refused` (FR301) if it never began."""
    state = log.state_of(run)
    if state is None:
        message = f"run `{run}` ended before it began: nothing was recorded"
        refuse("FR301", message, hint="execute its plan again")
    return state


def task_of(state: State, run: str, node: str) -> Task:
    """A node of a run; `Refused` (FR302) if it has none of that name."""
    if node not in state.by_id:
        close = get_close_matches(node, state.by_id, 1)
        known = ", ".join(f"`{name}`" for name in list(state.by_id)[:_MOST_NAMED])
        hint = f"did you mean `{close[0]}`?" if close else f"its nodes are {known}"
        refuse("FR302", f"run `{run}` has no node `{node}`", hint=hint)
    return state.by_id[node]

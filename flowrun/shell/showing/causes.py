"""Why a node ran, or did not have to: a sentence about its result and those of other runs."""

from __future__ import annotations

from collections.abc import Iterator

from flowc.plan.diagnostics import Refused
from flowrun.core.differences import differences
from flowrun.core.reuse import content_of, is_named
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.log.runlog import RunLog

_MOST_RUNS = 50  # that are looked at, latest first


def cause(log: RunLog, run: str, task: Task) -> str:
    """Why a node of a run was computed, or taken from where; nothing if it has not come to that."""
    if task.site.control != "none":
        return ""
    node = f"`{task.node.id}`"
    if task.origin is not None:
        named = "" if task.origin.node == task.node.id else f" as `{task.origin.node}`"
        return f"{node} is taken from {task.origin.run}, which computed the same{named}"
    if task.kept or not task.attempt:
        return ""
    return f"{node} ran: {_why(log, run, task)}"


def _why(log: RunLog, run: str, task: Task) -> str:
    state, opened = log.state_of(run), log.opened(run)
    assert state is not None, "a node of it ran"
    assert opened is not None
    if task.node.trigger != "success":
        return "a handler for the end runs at every end"
    if not task.site.cache:
        return "its operator is declared with `cache=False`"
    if not opened.cached:
        return "the run was to compute everything (`--no-cache`)"
    if is_named(task, frozenset(opened.refresh)):
        return "it was to be computed afresh (`--refresh`)"
    now = content_of(state, state.by_id[task.node.id])
    for of, before in _earlier(log, run):
        other = before.by_id.get(task.node.id)
        then = content_of(before, other) if other and other.artifact else None
        if now is None or then is None or other is None or other.artifact is None:
            continue
        found = differences(now, then, of)
        if found:
            return "; ".join(found)
        if not log.home.store.is_sound(other.artifact):
            return f"what {of} computed of the same is not there any more, or is damaged"
        return f"{of} computed the same, but had not done so when this was to start"
    return "no earlier run of the workflow has computed a node of that name"


def _earlier(log: RunLog, run: str) -> Iterator[tuple[str, State]]:
    """How executions of the workflow before a run's last ended, latest first, and what they are called."""
    rows = log.runs()
    (at,) = [i for i, row in enumerate(rows) if row.run == run]
    others = [row.run for row in reversed(rows[:at]) if row.workflow == rows[at].workflow][:_MOST_RUNS]
    for other in [run, *others]:
        try:
            executions = log.executions(other)
        except Refused:  # it is damaged
            continue
        for execution in reversed(executions[:-1] if other == run else executions):
            yield (f"an earlier execution of {run}" if other == run else other), log.after(execution)

"""What a node cannot read because it is damaged is made again."""

from __future__ import annotations

from flowc.plan.graph import waited_for
from flowrun.core.changes import Fail, Redo, Retry
from flowrun.core.failures import MAX_LOSSES
from flowrun.core.state import State
from flowrun.core.task import Task, effect, is_due


def after_damage(state: State, task: Task, retry: Retry) -> Redo | Retry | Fail:
    """What becomes of a task that found an artifact damaged, which would be `retry` if nobody had made that.

    Those that made it run again, unless they cannot, or did so too often already: then it is the disk that
    does it. Who made it anew since the task began has done so.
    """
    made = [source for source in makers(state, task) if source.ended_ms <= task.started_ms or is_due(source)]
    if any(not (is_due(source) or _may_run_again(state, source)) for source in made):
        return Fail(task.node.id)
    if not made:
        return retry
    return Redo(retry.at_ms, task.node.id, tuple(source.node.id for source in made))


def makers(state: State, task: Task) -> list[Task]:
    """The tasks whose artifact a task takes and could not read."""
    assert task.failure is not None
    found = [state.by_id[ref] for ref in sorted(state.graph.taken_by(task))]
    return [source for source in found if source.artifact and source.artifact.hash == task.failure.damaged]


def _may_run_again(state: State, source: Task) -> bool:
    """It may have been kept from before, and lack now what it once was made of."""
    if source.state != "succeeded" or source.redone == MAX_LOSSES or state.is_cancelled(source):
        return False
    needed = [state.by_id[ref] for ref in waited_for(source.node)]
    return all(is_due(other) or effect(source, other, state.results) == "go" for other in needed)

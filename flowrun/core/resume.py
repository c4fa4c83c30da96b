"""What a resumed run keeps."""

from __future__ import annotations

from collections.abc import Callable

from flowrun.core.changes import Earlier
from flowrun.core.model import Artifact
from flowrun.core.state import State


def carry_over(before: State, state: State, is_sound: Callable[[Artifact], bool]) -> dict[str, Earlier]:
    """What the nodes of a run did before, for a run of maybe another plan and other inputs.

    A node stays done if it was, if its key is still the same, and if its artifact is sound.
    """
    carried = {}
    for task in before.tasks:
        again = state.by_id.get(task.node.id)
        if task.attempt == 0:
            continue
        key = before.keys[task.index]
        # What is not in the plan belonged to a loop: if it comes again is seen when that unfolds.
        same = again is None or (state.keys[again.index] == key and again.site.cache)
        kept = task.artifact if same and task.artifact and is_sound(task.artifact) else None
        if again is None and kept is None:
            continue
        named = key if again is None else ""
        carried[task.node.id] = Earlier(task.attempt, task.started_ms, task.ended_ms, task.usage, kept, named)
    return carried

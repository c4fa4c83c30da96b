"""What a resumed run keeps."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flowc.plan.model import site_of
from flowrun.core.changes import Earlier
from flowrun.core.model import Artifact
from flowrun.core.state import State


def carry_over(
    before: State, state: State, is_sound: Callable[[Artifact], bool], refresh: frozenset[str] = frozenset()
) -> dict[str, Earlier]:
    """What the nodes of a run did before, for a run of maybe another plan and other inputs.

    A node stays done if it was, if its key is still the same, and if its artifact is sound. A handler for the
    end never does: it is for this end; nor do those nodes, or nodes of those sites, that `refresh` names.
    Whether a loop has the same nodes again is seen when that unfolds, so those are carried with their keys.
    """
    loops = {site.site for site in state.plan.sites if site.control in ("map", "reduce")}
    carried = {}
    for node_id, was in _history(before).items():
        again = state.by_id.get(node_id)
        if again is None:
            same = site_of(node_id) in loops
        else:
            same = state.keys[again.index] == was.key and again.site.cache and again.node.trigger == "success"
        wanted = same and refresh.isdisjoint((node_id, site_of(node_id)))
        sound = was.artifact is not None and wanted and is_sound(was.artifact)
        if again is not None or same:
            kept = was if sound else Earlier(was.attempt)
            carried[node_id] = msgspec.structs.replace(kept, key=was.key if sound and again is None else "")
    return carried


def _history(before: State) -> dict[str, Earlier]:
    """What nodes did, in this execution of the run or, if it did not come to them, in earlier ones."""
    history = {
        task.node.id: Earlier(
            task.attempt,
            task.started_ms,
            task.ended_ms,
            task.usage,
            task.artifact,
            before.keys[task.index],
            task.origin,
        )
        for task in before.tasks
        if task.attempt or task.origin
    }
    for node_id, was in before.earlier.items():
        task = before.by_id.get(node_id)
        key = was.key or (before.keys[task.index] if task else "")
        history[node_id] = msgspec.structs.replace(was, key=key)
    return history

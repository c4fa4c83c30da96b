"""What a resumed run keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from flowc.plan.graph import dependencies, dependents
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
        now = state.by_id.get(node_id)
        if now is None:
            same = site_of(node_id) in loops
        else:
            same = state.keys[now.index] == was.key and now.site.cache and now.node.trigger == "success"
        wanted = same and refresh.isdisjoint((node_id, site_of(node_id)))
        sound = was.artifact is not None and wanted and is_sound(was.artifact)
        if now is not None or same:
            kept = was if sound else Earlier(was.attempt)
            carried[node_id] = msgspec.structs.replace(kept, key=was.key if sound and now is None else "")
    return carried


def from_there_on(state: State, nodes: Iterable[str]) -> set[str]:
    """Nodes and all that comes of them, by their ids in the plan.

    Of a node of a loop that is what comes of the loop, and it itself: its siblings do not come of it, but for
    a reduction, where they do.
    """
    number = {node.id: i for i, node in enumerate(state.plan.nodes)}
    after = dependents(dependencies(state.plan.nodes))
    found: set[str] = set()
    reached: set[int] = set()
    to_see: list[int] = []
    for name in nodes:
        if name in number:
            to_see.append(number[name])
            continue
        loop = state.by_id[name[: name.rindex("[")]]
        found.add(loop.node.id if loop.site.control == "reduce" else name)
        to_see += after[loop.index]
    while to_see:
        index = to_see.pop()
        if index not in reached:
            reached.add(index)
            to_see += after[index]
    return found | {state.plan.nodes[index].id for index in reached}


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
        if task.attempt or task.kept or task.origin
    }
    for node_id, was in before.earlier.items():
        task = before.by_id.get(node_id)
        key = was.key or (before.keys[task.index] if task else "")
        history[node_id] = msgspec.structs.replace(was, key=key)
    return history

"""What an artifact was made from, and what was made from it, within a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from flowc.plan.model import Ref, references
from flowrun.core.control import flat
from flowrun.core.model import Artifact, Origin
from flowrun.core.reuse import content_of
from flowrun.core.state import State
from flowrun.core.task import Task


class Source(msgspec.Struct, frozen=True):
    """An argument that came from another node, or a part of one."""

    argument: str
    node: str
    artifact: str


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node of a run, as far as it says where an artifact comes from.

    `values` are the arguments that came from the plan or the run's inputs; `origin` computed the artifact, if
    not this run. `versions` are of the packages that its code imports.
    """

    run: str
    node: str
    attempt: int
    op: str
    code: str
    artifact: Artifact | None = None
    origin: Origin | None = None
    versions: dict[str, str] = {}
    sources: tuple[Source, ...] = ()
    values: dict[str, Any] = {}


def step(run: str, state: State, task: Task) -> Step:
    """What a node did, of what."""
    content = content_of(state, task)
    sources = tuple(
        Source(name, ref.source, artifact.hash)
        for name, tree in _arguments(state, task)
        for ref in dict.fromkeys(references(tree))
        if isinstance(ref, Ref) and (artifact := state.by_id[ref.source].artifact) is not None
    )
    made_of = {source.argument for source in sources}
    args = content.args if content is not None else {}
    return Step(
        run,
        task.node.id,
        task.attempt,
        task.site.op,
        task.site.code,
        task.artifact,
        task.origin,
        dict(state.versions.get(task.site.op, {})),
        sources,
        {name: _plain(tree) for name, tree in args.items() if name not in made_of},
    )


def above(state: State, task: Task) -> list[Task]:
    """A node and all that its artifact was made from, the nearest first."""
    found = {task.node.id: task}
    for one in (queue := [task]):
        for source in _sources(state, one):
            if source not in found:
                found[source] = state.by_id[source]
                queue.append(state.by_id[source])
    return queue


def below(state: State, task: Task) -> list[Task]:
    """All that was made from a node's artifact, the nearest first."""
    users: dict[str, list[Task]] = {}
    for other in state.tasks:
        if other.artifact is not None:
            for source in _sources(state, other):
                users.setdefault(source, []).append(other)
    found = {task.node.id}
    for one in (queue := [task]):
        for user in users.get(one.node.id, []):
            if user.node.id not in found:
                found.add(user.node.id)
                queue.append(user)
    return queue[1:]


def _sources(state: State, task: Task) -> list[str]:
    """The nodes whose artifacts a node was given."""
    refs = (ref for _, tree in _arguments(state, task) for ref in references(tree))
    named = dict.fromkeys(ref.source for ref in refs if isinstance(ref, Ref))
    return [name for name in named if state.by_id[name].artifact is not None]


def _arguments(state: State, task: Task) -> Iterator[tuple[str, Any]]:
    for name, tree in task.node.args.items():
        yield name, flat(tree, state.results)


def _plain(tree: Any) -> Any:
    """A tree of values without the marks."""
    if isinstance(tree, dict):
        if tree.keys() == {"value"}:
            return tree["value"]
        return {key: _plain(part) for key, part in tree.get("map", tree).items()}
    return [_plain(part) for part in tree] if isinstance(tree, list) else tree

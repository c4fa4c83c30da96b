"""What differs between two runs: what they were given, what they computed with, what came of each node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from flowc.plan.model import InputRef, Ref, Site
from flowrun.core.keys import substitute, versions_by_operator
from flowrun.core.state import State
from flowrun.core.task import Task

_SLOWER, _LEAST_MS = 1.25, 50  # times that differ by less than both are the same
_MORE, _LEAST_MB = 1.25, 10  # and sizes of memory


class Pair(msgspec.Struct, frozen=True):
    """A value in the first run and in the second; `None` where one has none."""

    first: Any
    second: Any


class NodePair(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node in both runs. What is the same is left out.

    `because` says what of its key differs: its code, an argument, an input, a package, or what it depends on.
    With the same key another artifact comes of chance, or of something that the key does not know.
    """

    node: str
    state: Pair | None = None
    wall_ms: Pair | None = None
    peak_mb: Pair | None = None
    artifact: Pair | None = None
    because: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """Two runs, `first` and `second`."""

    runs: Pair
    workflow: Pair | None
    status: Pair
    wall_ms: Pair
    inputs: dict[str, Pair]
    versions: dict[str, Pair]
    same_plan: bool
    code: list[str]  # operators whose code differs
    only_first: list[str]  # nodes
    only_second: list[str]
    nodes: list[NodePair]
    same: int  # nodes in which nothing differs


class Side(msgspec.Struct, frozen=True):
    """A run that is compared: its name, its status, how it stands, with which versions, the plan's hash."""

    run: str
    status: str
    state: State
    versions: Mapping[str, str]
    plan: str
    wall_ms: int


def compare(first: Side, second: Side) -> Comparison:
    """All that differs."""
    a, b = first.state, second.state
    pairs = [_compare_node(first, second, task) for task in a.tasks if task.node.id in b.by_id]
    differing = [pair for pair in pairs if pair != NodePair(pair.node)]
    code_a, code_b = ({site.op: site.code for site in state.plan.sites} for state in (a, b))
    workflows = (a.plan.header.workflow, b.plan.header.workflow)
    return Comparison(
        Pair(first.run, second.run),
        _pair(*workflows),
        Pair(first.status, second.status),
        Pair(first.wall_ms, second.wall_ms),
        _differing(a.inputs, b.inputs),
        _differing(first.versions, second.versions),
        first.plan == second.plan,
        [op for op, code in code_a.items() if op in code_b and code != code_b[op]],
        [task.node.id for task in a.tasks if task.node.id not in b.by_id],
        [task.node.id for task in b.tasks if task.node.id not in a.by_id],
        differing,
        len(pairs) - len(differing),
    )


def _compare_node(first: Side, second: Side, one: Task) -> NodePair:
    other = second.state.by_id[one.node.id]
    ran = one.placement is not None and other.placement is not None
    ran = ran and one.state == other.state == "succeeded" and not (one.kept or other.kept)
    times = (one.ended_ms - one.started_ms, other.ended_ms - other.started_ms) if ran else (0, 0)
    peaks = (one.usage.peak_mb, other.usage.peak_mb) if ran else (0, 0)
    hashes = [task.artifact.hash if task.artifact else None for task in (one, other)]
    return NodePair(
        one.node.id,
        _pair(one.state, other.state),
        Pair(*times) if _far(*times, _SLOWER, _LEAST_MS) else None,
        Pair(*peaks) if _far(*peaks, _MORE, _LEAST_MB) else None,
        _pair(*hashes),
        tuple(_causes(first, second, one, other)),
    )


def _causes(first: Side, second: Side, one: Task, other: Task) -> Iterator[str]:
    """Which parts of a node's key differ."""
    a, b = first.state, second.state
    if a.keys[one.index] == b.keys[other.index]:
        return
    if _site(one.site) != _site(other.site):
        yield "its code" if one.site.op == other.site.op else "its operator"
    if one.node.args != other.node.args:
        yield "its arguments"
    packages = [versions_by_operator(side.state.plan, side.versions) for side in (first, second)]
    for name in _differing(packages[0].get(one.site.op, {}), packages[1].get(one.site.op, {})):
        yield f"package `{name}`"
    for ref in dict.fromkeys(ref for tree in one.node.args.values() for ref in _references(tree)):
        if isinstance(ref, InputRef):
            if a.inputs.get(ref.input) != b.inputs.get(ref.input):
                yield f"input `{ref.input}`"
        elif ref.source in b.by_id and _key(a, ref.source) != _key(b, ref.source):
            yield f"`{ref.source}`"


def _references(tree: Any) -> list[Ref | InputRef]:
    found: list[Ref | InputRef] = []
    substitute(tree, found.append)
    return found


def _site(site: Site) -> tuple[str, ...]:
    return (site.op, site.code, site.control, site.key)


def _key(state: State, node: str) -> str:
    return state.keys[state.by_id[node].index]


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    names = [*a, *(name for name in b if name not in a)]
    return {name: Pair(a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _pair(a: object, b: object) -> Pair | None:
    return None if a == b else Pair(a, b)


def _far(a: float, b: float, factor: float, least: float) -> bool:
    return abs(a - b) >= least and max(a, b) >= factor * min(a, b)

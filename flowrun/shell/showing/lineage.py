"""`flowrun lineage`: what a model, an artifact or a node's result was made from, and made into."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import msgspec

from flowc.plan.diagnostics import Place, Refused, refuse
from flowrun.core.lineage import Step, above, below, step
from flowrun.core.model import Origin
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.log.runlog import RunLog

_HASH = re.compile(r"[0-9a-f]{6,64}")
_VERSION = re.compile(r"[1-9][0-9]*")
_ORIGIN_FILE = "origin.json"  # of a model's version: docs/formats/model-repository.md
_MOST_RUNS = 20  # that used an artifact, latest first


class Published(msgspec.Struct, frozen=True):
    """What a model's version says of where it comes from; `artifacts` are its publisher's arguments."""

    run: str
    node: str
    attempt: int = 1
    artifacts: dict[str, str] = {}


class Lineage(msgspec.Struct, frozen=True):
    """Where something comes from and where it went.

    `made_from` begins with the node itself; `used_by` are nodes of all runs that took its artifact. There are
    `more_runs` that are not looked at.
    """

    target: str
    made_from: tuple[Step, ...]
    used_by: tuple[Step, ...]
    more_runs: int = 0


def lineage(log: RunLog, target: str, models: Path) -> Lineage:
    """The lineage of `RUN/NODE`, of an artifact by its hash, or of `MODEL` or `MODEL/VERSION`.

    `Refused` FR166 if it is none of these, FR167 for a model that does not say where it comes from.
    """
    found = _Found(*_find(log, target, models))
    state, task = found.state, found.task
    made_from = tuple(step(found.run, state, one) for one in above(state, task))
    users, more = _users(log, found)
    return Lineage(target, made_from, users, more)


class _Found(NamedTuple):
    run: str
    state: State
    task: Task


def _find(log: RunLog, target: str, models: Path) -> tuple[str, State, Task]:
    run, _, node = target.partition("/")
    runs = {row.run for row in log.runs()}
    if run in runs and node:
        state = _state(log, run)
        if state is not None and node in state.by_id:
            return run, state, state.by_id[node]
    if _HASH.fullmatch(target):
        for _, of, name, position in log.made_by(target):
            state = _state(log, of, position)
            if state is not None and name in state.by_id:
                return of, state, state.by_id[name]
    published = _published(models, target)
    if published is not None:
        state = _state(log, published.run)
        if state is None or published.node not in state.by_id:
            by = f"{published.run}/{published.node}"
            message = f"`{target}` was published by `{by}`, which the log does not have"
            refuse("FR167", message, hint="name the state folder of that run with --state")
        return published.run, state, state.by_id[published.node]
    hint = (
        "RUN/NODE, for example iris-7/model; the first digits of an artifact's hash; MODEL or MODEL/VERSION"
    )
    refuse("FR166", f"there is no node, artifact or model `{target}`", hint=hint)


def _published(models: Path, target: str) -> Published | None:
    """What the latest or the named version of a model says; none if there is no such model."""
    name, _, version = target.partition("/")
    folder = models / name
    try:
        versions = [entry.name for entry in folder.iterdir() if _VERSION.fullmatch(entry.name)]
    except OSError:
        return None
    if not versions or (version and version not in versions):
        return None
    file = folder / (version or max(versions, key=int)) / _ORIGIN_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Published)
    except FileNotFoundError:
        hint = "publish it anew with `stdlib.export:publish`, which writes that"
        refuse("FR167", f"`{target}` does not say which run published it", Place(str(file)), hint=hint)
    except (OSError, msgspec.DecodeError) as error:
        refuse("FR167", f"`{target}` does not say which run published it: {error}", Place(str(file)))


def _state(log: RunLog, run: str, position: int | None = None) -> State | None:
    """A run after its last execution, or after the one in which it got to a position."""
    try:
        executions = log.executions(run)
    except Refused:  # damaged: other runs may know
        return None
    ends = accumulate(map(len, executions))
    of = [one for one, end in zip(executions, ends, strict=True) if position is None or position < end]
    return log.after(of[-1 if position is None else 0]) if of else None


def _users(log: RunLog, found: _Found) -> tuple[tuple[Step, ...], int]:
    """What was made from an artifact, in all runs that have it."""
    artifact, maker = found.task.artifact, _maker(found.run, found.task)
    places = [] if artifact is None else list(dict.fromkeys(_places(log, artifact.hash)))
    runs = list(dict.fromkeys([found.run, *(run for run, _ in places)]))
    used: dict[tuple[str, str], Step] = {}
    for run in runs[:_MOST_RUNS]:
        state = found.state if run == found.run else _state(log, run)
        if state is None:
            continue
        nodes = {node for of, node in places if of == run}
        nodes |= {found.task.node.id} if run == found.run else set()
        for node in sorted(nodes & state.by_id.keys()):
            # Content alone is not enough: what gives nothing all has the same.
            one = state.by_id[node]
            if one.artifact == artifact and _maker(run, one) == maker:
                for user in below(state, one):
                    used.setdefault((run, user.node.id), step(run, state, user))
    return tuple(used.values()), max(0, len(runs) - _MOST_RUNS)


def _maker(run: str, task: Task) -> tuple[str, str]:
    """The run and the node that computed a node's artifact."""
    return (task.origin.run, task.origin.node) if task.origin is not None else (run, task.node.id)


def _places(log: RunLog, digest: str) -> Iterator[tuple[str, str]]:
    for _, run, node, _ in log.made_by(digest):
        yield run, node


def text(found: Lineage) -> str:
    """As people read it: a tree up to data and inputs, then what came of it."""
    steps = {one.node: one for one in found.made_from}
    lines = [*_tree(steps, found.made_from[0])]
    if found.used_by:
        lines += ["", "used by"]
        lines += [f"  {one.run}/{one.node}  {_what(one)}" for one in found.used_by]
    if found.more_runs:
        lines.append(f"  ... and {found.more_runs} earlier runs")
    return "\n".join(lines)


def _tree(steps: dict[str, Step], first: Step) -> Iterator[str]:
    """Each node once, indented below what was made from it. Without recursion."""
    stack, shown = [(first, "", 0)], set()
    while stack:
        one, argument, depth = stack.pop()
        name = f"{argument} = " if argument else ""
        if one.node in shown:
            yield f"{'  ' * depth}{name}{one.run}/{one.node}  (above)"
            continue
        shown.add(one.node)
        yield f"{'  ' * depth}{name}{one.run}/{one.node}  {_what(one)}"
        for key, value in one.values.items():
            yield f"{'  ' * (depth + 1)}{key} = {_shown(value)}"
        if one.versions:
            packages = ", ".join(f"{package} {version}" for package, version in sorted(one.versions.items()))
            yield f"{'  ' * (depth + 1)}with {packages}"
        sources = [(steps[source.node], source.argument, depth + 1) for source in one.sources]
        stack += reversed(sources)


def _what(one: Step) -> str:
    digest = one.artifact.hash[:12] if one.artifact else "no artifact"
    of = f", computed by {one.origin}" if isinstance(one.origin, Origin) else ""
    return f"{digest}  {one.op} {one.code[:8]}{of}"


def _shown(value: object) -> str:
    shown = msgspec.json.encode(value).decode()
    return shown if len(shown) <= 80 else f"{shown[:77]}..."

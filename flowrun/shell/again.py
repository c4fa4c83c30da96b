"""Running again: a part of a run, or all of it with other inputs; and saying beforehand what that means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.text import columns, counted
from flowrun.core.changes import Earlier
from flowrun.core.model import Inputs
from flowrun.core.resume import from_there_on
from flowrun.core.state import State
from flowrun.shell.log.finding import task_of

_MOST_SITES = 12  # that a line names
_WIDEST = 60  # characters of a value


def chosen(before: State, run: str, nodes: Sequence[str]) -> set[str]:
    """What is to run again: nodes, and what comes of them. Without nodes nothing but what is not done.

    `Refused`: there is no such node (FR302), or nothing to do (FR155).
    """
    for node in nodes:
        task_of(before, run, node)
    if not nodes and before.status == "succeeded":
        hint = "`--from NODE` runs a node again, and all that comes of it"
        refuse("FR155", f"run `{run}` succeeded: nothing is left to do in it", hint=hint)
    return from_there_on(before, nodes)


def changed(before: Inputs, now: Inputs) -> list[str]:
    """The inputs that differ: `seed` is 3, was 1."""
    return [
        f"`{name}` is {_shown(value)}, was {_shown(before[name]) if name in before else 'not there'}"
        for name, value in now.items()
        if name not in before or before[name] != value
    ]


def kept(state: State, earlier: Mapping[str, Earlier]) -> dict[str, list[str]]:
    """The nodes that stay as they were, and those that are going to run, by name."""
    nodes = [task.node.id for task in state.tasks]
    return {
        "kept": [node for node in nodes if _kept(earlier.get(node))],
        "to_run": [node for node in nodes if not _kept(earlier.get(node))],
    }


def beforehand(before: State, state: State, earlier: Mapping[str, Earlier]) -> str:
    """What stays as it was, and what is going to run, by site."""
    loops = {
        task.node.id
        for task in state.tasks
        if task.site.control in ("map", "reduce") and _key(before, task.node.id) == state.keys[task.index]
    }
    keeps = [task.site.site for task in state.tasks if _kept(earlier.get(task.node.id))]
    runs = [task.site.site for task in state.tasks if not _kept(earlier.get(task.node.id))]
    parts = sum(
        node not in state.by_id and _kept(was) and node[: node.rindex("[")] in loops
        for node, was in earlier.items()
    )
    rows = [
        ("kept", counted(len(keeps), "node"), _sites(keeps)),
        ("to run", counted(len(runs), "node"), _sites(runs)),
    ]
    lines = columns(rows)
    if parts:
        lines.append(
            f"of loops, {counted(parts, 'node')} more are kept if the loops have the same items again"
        )
    return "\n".join(lines)


def _key(state: State, node: str) -> str:
    return state.keys[state.by_id[node].index] if node in state.by_id else ""


def _kept(was: Earlier | None) -> bool:
    return was is not None and was.artifact is not None


def _sites(names: Iterable[str]) -> str:
    counts = Counter(names)
    told = [f"{site} ×{count}" if count > 1 else site for site, count in counts.items()]
    more = [f"... {len(told) - _MOST_SITES} more"] if len(told) > _MOST_SITES else []
    return ", ".join([*told[:_MOST_SITES], *more])


def _shown(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"

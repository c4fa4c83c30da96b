"""Running again: a part of a run, or all of it with other inputs; and saying beforehand what that means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.text import columns, counted
from flowrun.core.changes import Opened, Resolve, Resolved, Verified, Verify
from flowrun.core.foretelling import foretell
from flowrun.core.model import Inputs
from flowrun.core.resume import from_there_on
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.log.finding import task_of
from flowrun.shell.store.artifacts import Store
from flowrun.shell.values import Values

_MOST_SITES = 12  # that a line names
_WIDEST = 60  # characters of a value
_TO_COME = ("pending", "ready")


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


def look_ahead(state: State, opened: Opened, store: Store) -> None:
    """Bring a run as far as it comes by what is there already, before anything runs.

    What is large is looked for, and not verified: if it turns out to be damaged, it is made again after all.
    """
    values = Values(state, store)

    def answer(asked: Resolve | Verify) -> Resolved | Verified:
        if isinstance(asked, Resolve):
            return values.resolve(state.by_id[asked.node], opened.at_ms)
        return Verified(opened.at_ms, asked.node, asked.artifact.hash, store.has(asked.artifact))

    foretell(state, opened, answer)


def kept(state: State) -> dict[str, list[str]]:
    """The nodes that need not run, those that are to, and the loops that have no nodes yet, by name."""
    return {
        "kept": [task.node.id for task in _nodes(state) if task.state == "succeeded"],
        "to_run": [task.node.id for task in _nodes(state) if task.state in _TO_COME],
        "loops": [task.node.id for task in state.tasks if _is_folded(task)],
    }


def beforehand(state: State) -> str:
    """What stays as it was, and what is going to run, by site."""
    keeps = [task.site.site for task in _nodes(state) if task.state == "succeeded"]
    runs = [task.site.site for task in _nodes(state) if task.state in _TO_COME]
    folded = [f"`{task.node.id}`" for task in state.tasks if _is_folded(task)]
    lines = columns(
        [
            ("kept", counted(len(keeps), "node"), _sites(keeps)),
            ("to run", counted(len(runs), "node"), _sites(runs)),
        ]
    )
    if folded:
        more = f" and {len(folded) - _MOST_SITES} more" if len(folded) > _MOST_SITES else ""
        lines.append(f"what nodes {', '.join(folded[:_MOST_SITES])}{more} will have is seen when it unfolds")
    return "\n".join(lines)


def _nodes(state: State) -> list[Task]:
    """What has a process."""
    return [task for task in state.tasks if task.site.control == "none"]


def _is_folded(task: Task) -> bool:
    return task.site.control in ("map", "reduce") and task.state in _TO_COME and not task.parts


def _sites(names: Iterable[str]) -> str:
    counts = Counter(names)
    told = [f"{site} ×{count}" if count > 1 else site for site, count in counts.items()]
    more = [f"... {len(told) - _MOST_SITES} more"] if len(told) > _MOST_SITES else []
    return ", ".join([*told[:_MOST_SITES], *more])


def _shown(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"

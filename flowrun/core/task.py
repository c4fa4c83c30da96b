"""A task: a node in a run, and what it means to it that another one is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from flowc.plan.model import Node, Resources, Site, sources_of
from flowrun.core.changes import Kill
from flowrun.core.control import flat
from flowrun.core.model import Artifact, Failure, Kind, Origin, Placement, TaskState, Usage
from flowrun.core.scheduler.request import Ref


class Task(msgspec.Struct):
    """A node in a run. `attempt` counts from 1; `retried` is how often it was, after which failures.

    `redone` is how often it ran again because what it had made was damaged.

    `more` is what it needs since it ran out of memory, if it is not what its site says.

    `alarmed`: one of the nodes in its `after` did not succeed. `result` is the argument tree
    that a control node came to, `parts` the number of a loop's nodes.
    """

    index: int
    node: Node
    site: Site
    ref: Ref  # its name among all runs that share a scheduler
    priority: float
    missing: int  # dependencies that are not done
    state: TaskState = "pending"
    attempt: int = 0
    retried: dict[Kind, int] = {}
    redone: int = 0
    more: Resources | None = None
    ready_at_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    placement: Placement | None = None
    kill: Kill | None = None
    artifact: Artifact | None = None
    failure: Failure | None = None
    usage: Usage = Usage()
    result: Any = None
    parts: int = 0
    alarmed: bool = False
    blocked_by: str = ""
    origin: Origin | None = None  # who computed its artifact, if not this run
    kept: bool = False  # done in an earlier execution of the run

    @property
    def needs(self) -> Resources:
        """What its next attempt holds, or the present one."""
        return self.more or self.site.needs


class Doomed(NamedTuple):
    """A task that is not going to run, for the sake of another one."""

    number: int
    how: Literal["blocked", "skipped"]
    by: str


def effect(waiting: Task, over: Task, results: Mapping[str, Any]) -> Literal["go", "blocked", "skipped"]:
    """What it means to a task that another one, which it waits for, is over. `results`: of control nodes."""
    node, source = waiting.node, over.node.id
    if over.state == "succeeded":
        misses = (source in node.when and over.result is False) or (
            source in node.unless and over.result is True
        )
        return "skipped" if misses else "go"
    lenient = over.state == "skipped" or node.trigger != "success"
    if not _needs(waiting, source, results) and (lenient or source not in node.after):
        return "go"
    return "skipped" if lenient else "blocked"


def is_due(task: Task) -> bool:
    """Whether a task is still to come to its end; once more, if it had come to one."""
    return task.state in ("pending", "ready", "running")


def is_part(part: Task, loop: Task) -> bool:
    """Whether a task is one of a loop that waits for all of its own."""
    return loop.state == "running" and loop.parts > 0 and part.node.id.rpartition("[")[0] == loop.node.id


def _needs(task: Task, source: str, results: Mapping[str, Any]) -> bool:
    """Whether a task cannot run without the success of a node that it waits for.

    It can if it waits only for the end of that node, or for a value that a choice may not take. A loop that
    is running needs its own nodes.
    """
    node, chooses = task.node, task.site.control == "choose"
    if task.state == "running" or (not node.after and not chooses):  # a loop; most nodes, maybe very wide
        return True
    args = (tree for name, tree in node.args.items() if not chooses or name == "condition")
    trees = (flat(tree, results) for tree in args)
    return source in {*node.when, *node.unless, *(ref for tree in trees for ref in sources_of(tree))}

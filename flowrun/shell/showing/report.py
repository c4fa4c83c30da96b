"""What came of a run, as data: for `--json`, and for the views to print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place
from flowc.plan.text import counted
from flowrun.core.control import flat
from flowrun.core.model import Artifact, Failure, Inputs, Origin, Usage
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.log.home import Home
from flowrun.shell.preparing import log_name, log_path
from flowrun.shell.store.artifacts import Damaged, Missing, Source
from flowrun.shell.values import Unfit, Values, loaded
from flowrun.shell.workers.output import text_of

if TYPE_CHECKING:
    from flowrun.core.logged import Book

_LOG_TAIL = 12  # lines of a failed node's log that a diagnostic shows
_LONGEST = 200  # characters of a value that is shown


class NodeReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node of a run. Times are milliseconds.

    `note` tells what a control node came to, or why a node was skipped. Of its attempts, `preemptions` were
    ended for the sake of other work: they are no failures. `origin` computed the artifact, if this run did
    not.
    """

    node: str
    state: str
    attempt: int = 0
    started_ms: int = 0
    wall_ms: int = 0
    usage: Usage = Usage()
    artifact: Artifact | None = None
    failure: Failure | None = None
    blocked_by: str = ""
    note: str = ""
    kept: bool = False
    log: str = ""
    preemptions: int = 0
    origin: Origin | None = None


class RunReport(msgspec.Struct, frozen=True):
    """A run."""

    run: str
    workflow: str
    status: str
    inputs: Inputs
    started_ms: int
    wall_ms: int
    nodes: list[NodeReport]
    result: Any
    logged: Book | None = None


def report(run: str, status: str, state: State, home: Home, now_ms: int) -> RunReport:
    """Everything about a run as it stands."""
    if status == "interrupted":  # nobody executes it: what ran does not, and its time does not run on
        now_ms = max([state.opened_ms, *(max(task.started_ms, task.ended_ms) for task in state.tasks)])
    logs = str(home.run_folder(run) / "logs")
    nodes = [_node_report(status, state, task, logs, now_ms) for task in _in_order(state)]
    ended = state.ended_ms or now_ms
    result = _result(state, home) if state.status == "succeeded" else None
    header = state.plan.header
    return RunReport(
        run, header.workflow, status, state.inputs, state.opened_ms, ended - state.opened_ms, nodes, result
    )


def failures(run: str, state: State, home: Home) -> list[Diagnostic]:
    """A diagnostic for every failed node: why, where in operator and workflow, how its log ends."""
    spans = {span.site: Place.parse(span.at) for span in state.plan.spans}
    found = []
    for task in state.tasks:
        if task.state != "failed" or task.failure is None:
            continue
        labels = [Label(spans[task.site.site], f"node `{task.node.id}`, called here")]
        if task.failure.at:
            labels.insert(0, Label(Place.parse(task.failure.at)))
        notes = _log_notes(log_path(home, run, task.node.id, task.attempt)) if task.attempt else []
        tries = f" after {task.attempt} attempts" if task.retried.keys() - {"preempted"} else ""
        message = f"node `{task.node.id}` failed{tries}: {task.failure.message}"
        found.append(Diagnostic(task.failure.code, message, tuple(labels), tuple(notes), task.failure.hint))
    return found


def _in_order(state: State) -> list[Task]:
    """The tasks in the order of the plan, the nodes of a loop after it."""

    def place(task: Task) -> tuple[int, int]:
        in_plan = task.index < len(state.plan.nodes)
        loop = task if in_plan else state.by_id[task.node.id[: task.node.id.rindex("[")]]
        return (loop.index, task.index)

    return sorted(state.tasks, key=place)


def _node_report(status: str, state: State, task: Task, logs: str, now_ms: int) -> NodeReport:
    ended = now_ms if task.state == "running" else task.ended_ms
    return NodeReport(
        task.node.id,
        status if task.state == "running" else task.state,
        task.attempt,
        task.started_ms,
        max(0, ended - task.started_ms) if task.attempt else 0,
        task.usage,
        task.artifact,
        task.failure,
        task.blocked_by,
        _note(state, task),
        task.kept,
        f"{logs}/{log_name(task.node.id, task.attempt)}" if task.attempt else "",
        task.retried.get("preempted", 0),
        task.origin,
    )


def _note(state: State, task: Task) -> str:
    if task.state == "skipped":
        cause = state.by_id.get(task.blocked_by)
        if cause is None:
            return "nothing failed"
        decided = cause.site.control == "branch" and cause.state == "succeeded"
        return f"`{task.blocked_by}` is {_truth(cause)}" if decided else f"`{task.blocked_by}` gave no result"
    match task.site.control:
        case "map" | "reduce" if task.state == "succeeded":
            return counted(task.parts, "node")
        case "map" if task.state == "running" and task.parts:
            return f"{task.parts - task.missing} of {counted(task.parts, 'node')}"
        case "branch" if task.state == "succeeded":
            return _truth(task)
        case "choose" if task.state == "succeeded":
            branch = flat(task.node.args["condition"], state.results)
            return "`then` is taken" if branch else "`otherwise` is taken"
        case _:
            return ""


def _truth(branch: Task) -> str:
    return "true" if branch.result else "false"


def _result(state: State, home: Home) -> Any:
    """The workflow's result with every reference replaced by its value, large ones abbreviated."""

    def load(source: Source, at: Sequence[str | int]) -> Any:
        try:
            return abbreviate(home.store.preview(source, at))
        except (Damaged, Missing) as error:
            return f"<{error}>"

    try:
        return loaded(Values(state, home.store).located(state.plan.header.result), load)
    except Unfit as error:
        return f"<{error}>"


def is_result_damaged(state: State, home: Home) -> bool:
    """Whether a run succeeded, and what it came to is damaged or gone by now."""
    if state.status != "succeeded":
        return False
    try:
        loaded(Values(state, home.store).located(state.plan.header.result), home.store.preview)
    except Damaged:
        return True
    except (Missing, Unfit):
        pass
    return False


def abbreviate(value: Any) -> Any:
    """A value as small JSON: arrays and bytes by shape and size, long texts and lists cut."""
    if isinstance(value, dict):
        return {str(key): abbreviate(part) for key, part in value.items()}
    if isinstance(value, list):
        shown = [abbreviate(part) for part in value[:20]]
        return shown if len(value) <= 20 else [*shown, f"... {len(value) - 20} more"]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}... ({len(value)} characters)"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "dtype"):
        return f"<{value.dtype} array {list(value.shape)}>"
    return str(value)


def _log_notes(log: Path) -> list[str]:
    tail = _tail(log)
    return [f"last lines of {log}:", *(f"| {line}" for line in tail)] if tail else ["it printed nothing"]


def _tail(log: Path) -> list[str]:
    """The last lines of a log, which may be very long."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            lines = text_of(file.read()).splitlines()
    except OSError:
        return []
    return [line[:_LONGEST] for line in lines[-_LOG_TAIL:]]

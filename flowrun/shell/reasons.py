"""Why an attempt ended: a process that we ended failed for our reason, not for the signal's."""

from __future__ import annotations

import msgspec

from flowrun.core.changes import Kill
from flowrun.core.failures import ENDED, HUNG, OUT_OF_MEMORY, PREEMPTED, RAISED, TIMED_OUT
from flowrun.core.model import Failure
from flowrun.core.task import Task


def with_reason(failure: Failure, task: Task) -> Failure:
    """The failure of a task's attempt, as ours if it was us."""
    # An operator may end by an exception when it is asked to leave: so that `finally` runs.
    if task.kill is None or failure.code not in (ENDED, RAISED):
        return failure
    return _our_reason(failure, task.kill, task)


def _our_reason(failure: Failure, kill: Kill, task: Task) -> Failure:
    code, hint = ENDED, failure.hint if failure.code == ENDED else ""
    match kill.reason:
        case "preempted":
            code, by = PREEMPTED, f"for `{kill.by}`" if kill.by else ""
            message = f"it was preempted {by}" if by else "it was preempted: the daemon ends"
        case "timeout":
            code, message = (
                TIMED_OUT,
                f"it took longer than its time limit of {_seconds(task.site.timeout_ms)}",
            )
        case "hang":
            code, message = HUNG, f"it gave no sign of life for {_seconds(task.site.heartbeat_ms)}"
            hint = (
                "if it was at work, have it call `flowc.beat()` now and then, or declare a longer `heartbeat`"
            )
        case "memory":
            code = OUT_OF_MEMORY
            message = f"it held {kill.used} MB of memory, and had asked for {task.needs.memory_mb} MB"
        case "cancelled":
            message = "cancelled"
    at = "" if kill.reason == "preempted" else failure.at
    return msgspec.structs.replace(failure, code=code, message=message, hint=hint, at=at)


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"

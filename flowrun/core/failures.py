"""Kinds of failure, and what each of them calls for: another attempt, when, and with how much memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, get_args

import msgspec

from flowc.plan.model import FailureKind, Resources
from flowrun.core.changes import Fail, Retry
from flowrun.core.model import Failure, Kind
from flowrun.core.task import Task

MAX_LOSSES = 3  # times that a task is started again after its process was lost through no fault of its own
MAX_BACKOFF_MS = 10 * 60 * 1000
TAKEN_AGAIN_MS = 50  # until what another process has taken first is asked for again, if nobody is to be seen
LEAST_MB = 512  # asked for by what ran out of memory; less is not worth an attempt

RAISED, ENDED, TIMED_OUT, LOST, PREEMPTED = "FR201", "FR202", "FR203", "FR207", "FR209"
OUT_OF_MEMORY, NO_MORE_MEMORY, HUNG, OUT_OF_GPU_MEMORY, TAKEN = "FR213", "FR214", "FR215", "FR216", "FR218"
DAMAGED = "FR306"
_KINDS: Mapping[str, Kind] = {  # all others are errors
    ENDED: "crash",
    TIMED_OUT: "timeout",
    HUNG: "hang",
    OUT_OF_MEMORY: "memory",
    OUT_OF_GPU_MEMORY: "memory",
    LOST: "lost",
    PREEMPTED: "preempted",
    DAMAGED: "damaged",
    TAKEN: "taken",
}


class Rule(NamedTuple):
    """How often a kind is tried again, and after which pause.

    `most` is `None` where the operator's `retries` say: for all kinds of which that is so, together. So is
    `pause_ms`, where it is the operator's `backoff`: that doubles each time. A kind that `grows` is tried
    again with more memory, as long as there is more.
    """

    most: float | None
    pause_ms: int | None = 0
    grows: bool = False


_AS_DECLARED = Rule(most=None, pause_ms=None)
RULES: Mapping[Kind, Rule] = {
    "error": _AS_DECLARED,
    "crash": _AS_DECLARED,
    "timeout": _AS_DECLARED,
    "hang": _AS_DECLARED,
    # What was short is not time: with more memory it need not wait, without it would be in vain.
    "memory": Rule(math.inf, grows=True),
    "lost": Rule(MAX_LOSSES),
    "preempted": Rule(math.inf),
    "taken": Rule(math.inf, TAKEN_AGAIN_MS),
    "damaged": Rule(MAX_LOSSES),
}
DECLARED: frozenset[Kind] = frozenset(kind for kind, rule in RULES.items() if rule.most is None)


def kind_of(task: Task) -> Kind:
    """What kind of failure a task's attempt ended with: an end that we asked for is of our reason's kind."""
    assert task.failure is not None
    if task.kill is not None and task.kill.reason == "preempted" and task.failure.code == ENDED:
        return "preempted"
    return _KINDS.get(task.failure.code, "error")


def after_failure(task: Task, now_ms: int, could_have: Callable[[Resources], bool]) -> Retry | Fail:
    """Whether a task is tried again. `could_have` says if there could ever be a place with some needs."""
    kind, node = kind_of(task), task.node.id
    rule, chosen = RULES[kind], task.site.retry_on
    before = _count(task, DECLARED if rule.most is None else {kind})
    most = task.site.retries if rule.most is None else rule.most
    if before >= most or (chosen and kind in get_args(FailureKind) and kind not in chosen):
        return Fail(node)
    needs = None
    if rule.grows:
        needs, most_mb = larger(task, could_have)
        if needs is None:
            return Fail(node, _no_more(task, most_mb))
    pause_ms = rule.pause_ms
    if pause_ms is None:
        pause_ms = min(task.site.backoff_ms * 2**before, MAX_BACKOFF_MS)
    return Retry(now_ms, node, now_ms + pause_ms, kind, needs)


def larger(task: Task, could_have: Callable[[Resources], bool]) -> tuple[Resources | None, int]:
    """What a task that ran out of memory is to ask for instead, and how many MB that are.

    Twice what it had asked for, or twice what it was seen to take, if that is more; or the most that it could
    have. `None` if that is no more than it had, or less than it is known to want.
    """
    assert task.failure is not None
    needs = task.needs
    if task.failure.code == OUT_OF_GPU_MEMORY:
        had, least = needs.gpu_memory_mb, max(needs.gpu_memory_mb, task.usage.gpu_peak_mb)
        if not had:  # it had its GPUs whole
            return None, 0

        def asking(amount_mb: int) -> Resources:
            return msgspec.structs.replace(needs, gpu_memory_mb=amount_mb)
    else:
        seen = task.kill.used if task.kill is not None and task.kill.reason == "memory" else 0
        least = max(needs.memory_mb, task.usage.peak_mb + task.failure.wanted_mb, seen, LEAST_MB // 2)
        had = needs.memory_mb

        def asking(amount_mb: int) -> Resources:
            return msgspec.structs.replace(needs, memory_mb=amount_mb)

    most = _most(had, 2 * least, lambda amount_mb: could_have(asking(amount_mb)))
    return (asking(most) if most > had and most >= task.failure.wanted_mb else None), most


def _most(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The greatest number from `low` to `high` of which it holds; it is taken to hold of `low`."""
    if holds(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _count(task: Task, kinds: frozenset[Kind] | set[Kind]) -> int:
    return sum(times for kind, times in task.retried.items() if kind in kinds)


def _no_more(task: Task, most_mb: int) -> Failure:
    """It needs more memory than there is, whatever it asks for."""
    failed = task.failure
    assert failed is not None
    if failed.code == OUT_OF_GPU_MEMORY:
        most = f"it can have {most_mb} MB of each GPU at most" if most_mb else "it had its GPUs to itself"
        hint = "let it work on smaller batches, or run it where GPUs have more memory (`gpu=` names models)"
    else:
        most = f"it can have {most_mb} MB at most"
        hint = "let it work on a part of its data at a time, or run it where there is more memory"
    message = f"{failed.message.removesuffix('.')}; {most}"
    return msgspec.structs.replace(failed, code=NO_MORE_MEMORY, message=message, hint=hint)

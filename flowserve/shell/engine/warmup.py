"""Runs a model a few times before it takes requests, and measures it. Any thread may."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, repeat
from typing import Any, TypeVar

from flowc.plan.diagnostics import Refused
from flowserve.core.arrays import Array
from flowserve.core.engine.joining import joined, may_join, parted
from flowserve.core.engine.profile import ROWS_MAX, Profile, same, sample, trials
from flowserve.core.models.model import Model

_REPEATS = 3
_AGREED = 1.1  # two runs that differ by no more than this need no third
_BUDGET_MS = 200.0
_BUSY = 0.8

_Result = TypeVar("_Result")


def measure(model: Model, budget_ms: float = _BUDGET_MS) -> Profile:
    """Run a model on made-up rows, about `budget_ms` long, and return what was found out.

    A model that refuses these has an empty profile: what it costs is learned from requests.
    """
    names = [spec.name for spec in model.signature.outputs]
    by_rows = may_join(model.signature)
    try:
        rows = sample(model.signature.inputs, ROWS_MAX if by_rows else 1)
    except (MemoryError, ValueError):  # larger than there is memory
        return Profile()
    end = time.perf_counter() + budget_ms / 1e3
    first, second = _calls(rows, [1, 1]) if by_rows else (rows, rows)
    costs: dict[int, float] = {}
    on_cpu, dependent = 0.0, False
    coarse = repeat(model.settings.is_coarse)
    try:
        alone, costs[1], on_cpu = _timed(functools.partial(_alone, model, first, names), end)
        for counts in trials(costs[1]) if by_rows else ():
            if time.perf_counter() > end:
                break
            run = functools.partial(_together, model, _calls(rows, counts), counts, names)
            between: Callable[[], Any] = _nothing
            if model.seat.on_gpu:  # where a run may cost more after one of another size
                between = functools.partial(_alone, model, first, names)
            outputs, costs[sum(counts)], share = _timed(run, end, between)
            on_cpu = max(on_cpu, share)
            if len(alone) == 1:
                alone += _alone(model, second, names)
            dependent = outputs is None or not all(map(same, alone, outputs, coarse))
            if dependent:
                break
    except (Refused, MemoryError):
        return Profile(costs, False, on_cpu > _BUSY, dependent)
    return Profile(costs, len(costs) > 2 and not dependent, on_cpu > _BUSY, dependent)


def time_run(model: Model) -> float:
    """How many milliseconds the model runs with as many rows as are measured; 0 where it refuses them."""
    try:
        feed = sample(model.signature.inputs, ROWS_MAX)
        names = [spec.name for spec in model.signature.outputs]
        _once(functools.partial(model.run, feed, names))
        return _timed(functools.partial(model.run, feed, names), time.perf_counter() + _BUDGET_MS / 1e3)[1]
    except (Refused, MemoryError, ValueError):
        return 0.0


def repeats(model: Model) -> bool:
    """Whether the model gives the same for the same, as far as one try tells."""
    names = [spec.name for spec in model.signature.outputs]
    try:
        feed = sample(model.signature.inputs, 2)
        return same(model.run(feed, names), model.run(feed, names))
    except (Refused, MemoryError, ValueError):
        return True


def _alone(model: Model, feed: Mapping[str, Array], names: Sequence[str]) -> list[list[Array]]:
    return [model.run(feed, names)]


def _together(
    model: Model, calls: Sequence[Mapping[str, Array]], counts: Sequence[int], names: Sequence[str]
) -> list[list[Array]] | None:
    return parted(model.run(joined(calls), names), counts)


def _calls(rows: Mapping[str, Array], counts: Sequence[int]) -> list[dict[str, Array]]:
    """Calls with so many of the rows each."""
    ends = accumulate(counts)
    return [
        {name: array[end - count : end] for name, array in rows.items()}
        for end, count in zip(ends, counts, strict=True)
    ]


def _nothing() -> None:
    pass


def _timed(
    run: Callable[[], _Result], end: float, between: Callable[[], Any] = _nothing
) -> tuple[_Result, float, float]:
    """The result, the shortest of a few times in ms, and the greatest share of one that was this thread's.

    A run that is not over by `end` is not repeated: a model may take seconds, and somebody may wait for it.
    """
    result, shortest, share = _once(run)
    for _ in range(_REPEATS):
        if time.perf_counter() > end:
            break
        before = shortest
        between()
        result, took, of = _once(run)
        shortest, share = min(before, took), max(share, of)
        if max(before, took) <= _AGREED * shortest:
            break
    return result, shortest * 1e3, share


def _once(run: Callable[[], _Result]) -> tuple[_Result, float, float]:
    began, used = time.perf_counter(), time.thread_time()
    result = run()
    took = time.perf_counter() - began
    return result, took, (time.thread_time() - used) / took

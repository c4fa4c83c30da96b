"""Runs a model a few times before it takes requests, and measures it. Any thread may."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from flowc.plan.diagnostics import Refused
from flowserve.core.arrays import Array
from flowserve.core.engine.joining import joined, may_join, parted
from flowserve.core.engine.profile import Profile, same, sample
from flowserve.core.models.model import Model

_SIZES = (1, 2, 4, 8, 16, 32, 64)
_REPEATS = 3
_BUDGET_MS = 200.0
_BUSY = 0.8

_Result = TypeVar("_Result")


def measure(model: Model, budget_ms: float = _BUDGET_MS) -> Profile:
    """Run a model on made-up rows, about `budget_ms` long, and return what was found out.

    A model that refuses these has an empty profile: what it costs is learned from requests.
    """
    names = [spec.name for spec in model.signature.outputs]
    sizes = _SIZES if may_join(model.signature) else _SIZES[:1]
    try:
        rows = sample(model.signature.inputs, sizes[-1])
    except (MemoryError, ValueError):  # larger than there is memory
        return Profile()
    feeds = [rows]
    if len(sizes) > 1:
        feeds = [{name: array[i : i + 1] for name, array in rows.items()} for i in range(sizes[-1])]
    end = time.perf_counter() + budget_ms / 1e3
    costs: dict[int, float] = {}
    alone: list[list[Array]] = []
    independent, on_cpu, dependent = len(sizes) > 1, 0.0, False
    try:
        for size in sizes:
            between: Callable[[], Any] = _nothing
            if model.seat.on_gpu and size > 1:  # where a run may cost more after one of another size
                between = functools.partial(_together, model, feeds[:1], names)
            run = functools.partial(_together, model, feeds[:size], names)
            outputs, ms, share = _timed(run, end, between)
            costs[size], on_cpu = ms, max(on_cpu, share)
            if size == 2:
                alone = [model.run(feed, names) for feed in feeds[:2]]
            coarse = itertools.repeat(model.settings.is_coarse)
            dependent = outputs is None or not all(map(same, alone, outputs, coarse))
            independent = independent and not dependent
            if not independent or time.perf_counter() > end:
                break
    except (Refused, MemoryError):
        independent = False
    return Profile(costs, independent and len(costs) > 2, on_cpu > _BUSY, dependent)


def time_run(model: Model) -> float:
    """How many milliseconds the model runs with as many rows as are measured; 0 where it refuses them."""
    try:
        feed = sample(model.signature.inputs, _SIZES[-1])
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


def _together(
    model: Model, feeds: Sequence[Mapping[str, Array]], names: Sequence[str]
) -> list[list[Array]] | None:
    if len(feeds) == 1:
        return [model.run(feeds[0], names)]
    return parted(model.run(joined(feeds), names), [1] * len(feeds))


def _nothing() -> None:
    pass


def _timed(
    run: Callable[[], _Result], end: float, between: Callable[[], Any] = _nothing
) -> tuple[_Result, float, float]:
    """The result, the shortest of a few times, and the greatest share of one that was this thread's.

    A run that is not over by `end` is not repeated: a model may take seconds, and somebody may wait for it.
    """
    result, shortest, share = _once(run)
    for _ in range(_REPEATS):
        if time.perf_counter() > end:
            break
        between()
        result, took, of = _once(run)
        shortest, share = min(shortest, took), max(share, of)
    return result, shortest * 1e3, share


def _once(run: Callable[[], _Result]) -> tuple[_Result, float, float]:
    began, used = time.perf_counter(), time.thread_time()
    result = run()
    took = time.perf_counter() - began
    return result, took, (time.thread_time() - used) / took

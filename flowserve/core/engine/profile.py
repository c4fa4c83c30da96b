"""What a warm-up found out about a model, and what follows for how its calls run."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import msgspec
import numpy as np

from flowserve.core.arrays import Array
from flowserve.core.engine.batching import Policy
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import TensorSpec

# Rows together must take at most this share of what they take alone for batches to be worth their while.
_WORTH = 0.7
# What a call costs that waits for others, is joined with them and parted again: as much must be gained by it.
_GATHER_MS = 0.02
# A larger batch is preferred as long as a row in it gets cheaper by this much.
_CHEAPER = 0.9
# So much of the time must a run take with twice the threads, at most.
_THREADS_WORTH = 0.65
# Of a batch, where `batching` is on and nothing was measured.
ROWS_MAX = 64
_SIZES, _FEW_SIZES = (2, 4, 8, 16, 32, ROWS_MAX), (2, 4, 16, ROWS_MAX)
# Nobody is to wait longer for a batch than this, unless a single row takes longer.
_BATCH_MS_MAX = 20.0
# Random numbers for made-up inputs: to make them anew takes longer than to run a small model.
_NORMAL_KEPT = 2**14


class Profile(msgspec.Struct, frozen=True):
    """`joined_ms` is by number of rows; where batches may be worth it, with joining and parting them."""

    joined_ms: dict[int, float] = {}
    independent: bool = False
    """Rows together gave what rows alone gave."""
    on_cpu: bool = False
    """Its runs keep the calling thread's processor busy: then that thread's clock is the better one."""
    dependent: bool = False
    """Rows together gave something else than rows alone. (Neither: it could not be found out.)"""


def trials(alone_ms: float) -> list[list[int]]:
    """What to measure after a single row: calls that are run together, each by its rows.

    Only what something may follow from: where a row alone costs less than gathering calls, batches cannot be
    worth it, and what is left to know is whether rows are independent, and what requests of many rows cost.
    """
    if alone_ms <= _GATHER_MS:
        return [[1, 1], [1, 1, ROWS_MAX - 2]]
    every_batch_is_short = alone_ms * ROWS_MAX <= _BATCH_MS_MAX
    return [[1] * size for size in (_FEW_SIZES if every_batch_is_short else _SIZES)]


def batch_sizes(profile: Profile) -> tuple[int, int]:
    """Return the preferred and the maximum rows of a batch; zeros where batches are not worth it."""
    alone_ms = profile.joined_ms.get(1, 0.0)
    if not profile.independent or not alone_ms:
        return 0, 0
    bound_ms = max(_BATCH_MS_MAX, 2 * alone_ms)
    allowed = [rows for rows, ms in sorted(profile.joined_ms.items()) if ms <= bound_ms]
    largest = allowed[-1]
    saved_ms = alone_ms - profile.joined_ms[largest] / largest
    if saved_ms < max((1 - _WORTH) * alone_ms, _GATHER_MS):
        return 0, 0
    preferred = 1
    for rows in allowed:
        if profile.joined_ms[rows] / rows <= _CHEAPER * profile.joined_ms[preferred] / preferred:
            preferred = rows
    return preferred, largest


def settled(settings: ModelSettings, profile: Profile) -> ModelSettings:
    """Return settings in which what was left open about batches is what the measurement says."""
    preferred, largest = batch_sizes(profile)
    if settings.batching == "off" or (settings.batching == "auto" and not largest):
        return msgspec.structs.replace(settings, batching="off", max_rows=0, preferred_rows=0, delay_ms=0.0)
    largest = settings.max_rows or largest or ROWS_MAX
    preferred = settings.preferred_rows or min(preferred or largest, largest)
    return msgspec.structs.replace(settings, batching="on", max_rows=largest, preferred_rows=preferred)


def policy_for(settings: ModelSettings, processors: int) -> Policy:
    """The policy that `settled` settings say, on a host with so many processors."""
    threads = settings.threads if settings.threads != "auto" else 1
    return Policy(
        concurrency=settings.concurrency or max(1, processors // threads),
        rows_max=settings.max_rows,
        preferred_rows=settings.preferred_rows,
        delay_ms=settings.delay_ms,
        queue_max=settings.queue,
        wait_ms_max=settings.queue_s * 1e3,
    )


def chosen_threads(run_ms: Mapping[int, float]) -> int:
    """How many threads a run is to have, by how long it takes with 1, 2, 4 and so on.

    Twice as many must make it nearly twice as fast: else they serve better in requests beside each other.
    """
    chosen = 1
    while (twice := run_ms.get(2 * chosen)) is not None and twice <= _THREADS_WORTH * run_ms[chosen]:
        chosen *= 2
    return chosen


def same(alone: Sequence[Array], together: Sequence[Array], coarse: bool = False) -> bool:
    """Whether two runs gave the same but for rounding, which differs with the size of a matrix product.

    `coarse` is for what rounds to about a thousandth whatever the type is.
    """
    return len(alone) == len(together) and all(map(_same, alone, together, repeat(coarse)))


def _same(alone: Array, together: Array, coarse: bool) -> bool:
    if alone.shape != together.shape:
        return False
    equal = bool(np.array_equal(alone, together))  # most are, and that is soon said
    if equal or alone.dtype.kind != "f":
        return equal
    tolerance = 1e-2 if coarse or alone.dtype.itemsize == 2 else 1e-4
    scale = float(np.max(np.abs(alone[np.isfinite(alone)]), initial=0.0))
    return bool(np.allclose(alone, together, rtol=tolerance, atol=tolerance * scale, equal_nan=True))


def sample(specs: Iterable[TensorSpec], rows: int) -> dict[str, Array]:
    """Inputs to warm a model up with. Sizes left open are `rows` in the first place and 1 elsewhere."""
    feed: dict[str, Array] = {}
    at = 0
    for spec in specs:
        kind = np.dtype(spec.datatype.numpy)
        sizes = [rows if axis == 0 and size == -1 else max(1, size) for axis, size in enumerate(spec.shape)]
        count = math.prod(sizes)
        match kind.kind:
            case "f":
                feed[spec.name] = _normal(at, count).reshape(sizes).astype(kind)
            case "O":
                feed[spec.name] = np.full(sizes, "0", object)
            case _:  # small numbers: whatever is looked up by them is there
                feed[spec.name] = (_normal(at, count) > 0).reshape(sizes).astype(kind)
        at += count
    return feed


def _normal(at: int, count: int) -> Array:
    """So many random numbers: from place `at` of those that are kept, or else of their own."""
    kept = _kept_normal()
    return kept[at : at + count] if at + count <= kept.size else _made_normal(at, count)


@functools.cache
def _kept_normal() -> Array:
    return _made_normal(0, _NORMAL_KEPT)


def _made_normal(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).standard_normal(count, np.float32)

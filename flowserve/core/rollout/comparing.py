"""How far the outputs of two versions for the same request are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowserve.core.arrays import Array
from flowserve.core.models.signature import TensorSpec
from flowserve.core.rollout.evidence import Difference

_Rows = Any  # bool[rows], or one bool for all of them


def compare(
    specs: Sequence[TensorSpec],
    stable: Sequence[Array],
    candidate: Sequence[Array],
    rows: int,
    tolerance: float,
) -> tuple[float, dict[str, Difference]]:
    """Return the share of rows in which any output differs, and how each output does. `specs` are theirs.

    Floats differ that are off by more than `tolerance`, relative or absolute. Of an output with labels it is
    the best label that counts; of whole numbers, strings and truth values the value. A NaN is like another.
    """
    rows = max(rows, 1)
    differs: _Rows = np.zeros(rows, np.bool_)
    outputs: dict[str, Difference] = {}
    for spec, ours, theirs in zip(specs, stable, candidate, strict=True):
        outputs[spec.name], of = _difference(spec, ours, theirs, rows, tolerance)
        differs |= of
    return float(differs.mean()), outputs


def _difference(
    spec: TensorSpec, ours: Array, theirs: Array, rows: int, tolerance: float
) -> tuple[Difference, _Rows]:
    if ours.shape != theirs.shape or ours.dtype.kind != theirs.dtype.kind:
        return Difference(rows, rows, rows), True
    if not ours.size:
        return Difference(rows), False
    if spec.datatype.name == "BF16":
        ours, theirs = _from_bits(ours), _from_bits(theirs)
    if ours.dtype.kind != "f":
        off = _by_row(np.asarray(ours != theirs, np.bool_), rows)
        count = _count(off, rows)
        return Difference(rows, count, count), off
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf, posinf=np.inf))
        relative = np.where(same, 0.0, np.nan_to_num(apart / np.abs(a), nan=np.inf, posinf=np.inf))
        # Not `>`: beside an infinity everything is within the tolerance.
        off = _by_row(~same & ~(np.isfinite(apart) & (apart <= tolerance + tolerance * np.abs(a))), rows)
    ranked = a.ndim > 1 and a.shape[-1] > 1
    flipped = _by_row(np.nanargmax(_ranks(a), -1) != np.nanargmax(_ranks(b), -1), rows) if ranked else off
    difference = Difference(
        rows, _count(off, rows), _count(flipped, rows), _finite(apart.max()), _finite(relative.max())
    )
    return difference, flipped if ranked and spec.labels else off


def _ranks(array: Array) -> Array:
    return np.where(np.isnan(array), -np.inf, array)


def _by_row(off: Array, rows: int) -> _Rows:
    """Which rows have something in them, where the first axis is that of the rows; else whether any has."""
    if off.ndim and off.shape[0] == rows:
        return off.reshape(rows, -1).any(axis=1)
    return bool(off.any())


def _count(of: _Rows, rows: int) -> int:
    return int(np.count_nonzero(np.broadcast_to(of, rows)))


def _finite(value: Any) -> float:
    """JSON has no infinity."""
    return min(float(value), float(np.finfo(np.float64).max))


def _from_bits(array: Array) -> Array:
    return (array.astype(np.uint32) << 16).view(np.float32)

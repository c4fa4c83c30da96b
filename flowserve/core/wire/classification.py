"""The classification extension: the best classes of a probabilities output, as strings `score:index:label`.

Source: Triton's `extension_classification.md`. Where Triton ranks a whole output of a model without a batch
dimension in its config, each row along the first dimension is ranked here: published models have their batch
there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flowserve.core.arrays import Array


def best_classes(scores: Array, count: int, labels: Sequence[str]) -> Array:
    """Return the `count` highest of scores of shape [rows, ...], best first, as strings of [rows, count].

    A vector is one row and gives shape [count]. Equal scores go in order of index; NaN comes last. An index
    without a label gives `score:index`.
    """
    lead = scores.shape[:1] if scores.ndim > 1 else ()
    width = math.prod(scores.shape[len(lead) :])
    rows = scores.reshape((*(lead or (1,)), width))
    keys = np.where(np.isnan(rows), -np.inf, rows) if rows.dtype.kind == "f" else rows
    # Sorted backwards and mirrored: negating would overflow integers, and ties must stay in order of index.
    best = (width - 1 - np.argsort(keys[:, ::-1], axis=1, kind="stable")[:, ::-1])[:, :count]
    written = np.empty(best.shape, object)
    for row, column in np.ndindex(*best.shape):
        index = int(best[row, column])
        written[row, column] = _entry(rows[row, index].item(), index, labels)
    return written.reshape((*lead, best.shape[1]))


def _entry(score: float, index: int, labels: Sequence[str]) -> str:
    text = f"{score:.6f}" if isinstance(score, float) else str(score)
    return f"{text}:{index}:{labels[index]}" if index < len(labels) else f"{text}:{index}"

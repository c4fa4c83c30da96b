"""Several calls' rows as one run's, and its outputs as theirs. Rows stand along the first axis."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate

import numpy as np

from flowserve.core.arrays import Array
from flowserve.core.models.signature import Signature


def may_join(signature: Signature) -> bool:
    """Whether rows stand along the first axis of every input and output, as many as a request wants."""
    specs = (*signature.inputs, *signature.outputs)
    return bool(signature.inputs) and all(spec.shape[:1] == (-1,) for spec in specs)


def is_plain(signature: Signature) -> bool:
    """Whether requests differ in nothing but the number of rows: then every call can join every other."""
    return all(-1 not in spec.shape[1:] for spec in signature.inputs)


def join_key(feed: Mapping[str, Array], outputs: tuple[str, ...]) -> Hashable:
    """What calls must have in common to run together."""
    return outputs, tuple(sorted((name, array.shape[1:]) for name, array in feed.items()))


def joined(feeds: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The rows of all, in order."""
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def parted(outputs: Sequence[Array], rows: Sequence[int]) -> list[list[Array]] | None:
    """Each call's outputs, by the number of rows that it brought; None where other numbers came out."""
    total = sum(rows)
    if not all(array.shape[:1] == (total,) for array in outputs):
        return None
    ends = list(accumulate(rows))
    return [[array[end - count : end] for array in outputs] for end, count in zip(ends, rows, strict=True)]

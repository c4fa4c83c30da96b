"""Answers that a model has given, by what it was asked: bounded by bytes, the longest unused goes first.

A cache is one version's of one model, so that its answers never come from another version, and end with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from blake3 import blake3

from flowserve.core.wire.tensors import Array

ASKED_BYTES_MAX = 2**20
"""What is larger is not looked up: hashing it would keep the event loop from others."""

_ENTRY_BYTES = 400  # of an entry with one small array, beside the array's own
_TEXT_BYTES = 50  # of a string, beside its own


class ResponseCache:
    """Outputs by the inputs and the names of outputs that were asked for."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[bytes, list[Array]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> list[Array] | None:
        """Return the outputs that are kept; they must not be changed."""
        outputs = self._kept.get(key)
        if outputs is not None:
            self._kept.move_to_end(key)
        return outputs

    def put(self, key: bytes, outputs: Sequence[Array]) -> None:
        """Keep outputs, in place of what was not asked for the longest time."""
        size = sum([_bytes(array) for array in outputs])
        if size > self._bytes_max or key in self._kept:
            return
        # A part of a batch's outputs would keep all of them in memory.
        kept = [array if array.base is None else array.copy() for array in outputs]
        for array in kept:
            array.flags.writeable = False
        self._kept[key] = kept
        self.bytes += size
        while self.bytes > self._bytes_max:
            _, gone = self._kept.popitem(last=False)
            self.bytes -= sum([_bytes(array) for array in gone])


def content_key(feed: Mapping[str, Array], outputs: Sequence[str]) -> bytes | None:
    """Name what is asked by its content: names, datatypes, shapes and bytes. None for what is too large."""
    if sum([array.nbytes for array in feed.values()]) > ASKED_BYTES_MAX:
        return None
    content = blake3()
    asked = [(name, array.dtype.str, array.shape) for name, array in sorted(feed.items())]
    content.update(msgspec.msgpack.encode((outputs, asked)))
    for name, _, _ in asked:
        array = feed[name]
        if array.dtype.kind == "O":  # encoded, every string is told from the next
            content.update(msgspec.msgpack.encode(array.ravel().tolist()))
        else:
            content.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return content.digest()


def _bytes(array: Array) -> int:
    text = sum([len(text) + _TEXT_BYTES for text in array.ravel().tolist()]) if array.dtype.kind == "O" else 0
    return array.nbytes + text + _ENTRY_BYTES

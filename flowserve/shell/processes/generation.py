"""The generation that a server serves: one word of memory that all of its processes see."""

from __future__ import annotations

import mmap
import os

_BYTES = 8


def make() -> int:
    """Return the descriptor of a new word, which is 0; it may be passed on to other processes."""
    descriptor = os.memfd_create("generation")
    os.ftruncate(descriptor, _BYTES)
    return descriptor


def attach(descriptor: int) -> memoryview:
    """Return the word, to be read and set at index 0.

    It is aligned, and copied as a whole: the processors that this runs on have no other way to move 8 bytes.
    """
    return memoryview(mmap.mmap(descriptor, _BYTES)).cast("Q")

"""Where a model is: on the host, or on one of its GPUs. Light, since the supervisor imports it."""

from __future__ import annotations

import msgspec

GPU_THREADS = 4
"""On each GPU so many runs are waited for at once, whatever their models."""

HOST = "host"
"""The space that every model has a part of; the others are GPUs, `gpu:0` and so on."""


class Gpu(msgspec.Struct, frozen=True, omit_defaults=True):
    """A GPU by the number that CUDA has for it. `bytes` is what the models of one process may have there."""

    number: int
    name: str = ""
    uuid: str = ""
    bytes: int = 0

    @property
    def space(self) -> str:
        """Its name among the spaces that models take room in."""
        return f"gpu:{self.number}"


class Seat(msgspec.Struct, frozen=True):
    """Where a model computes, and what it has there beside what it has on the host."""

    space: str = HOST
    bytes: int = 0
    """Before it is loaded an estimate, unless it is `bounded`."""
    bounded: bool = False
    """It was measured, or said: the runtime keeps its arena within it, but for what is `beside`."""
    beside: int = 0
    """How much of that CUDA's libraries take for the threads that run it, which is not the arena's."""
    reason: str = ""
    """Why it is on the host although GPUs were there for it."""

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.space != HOST

    @property
    def number(self) -> int:
        """The GPU's number."""
        return int(self.space.partition(":")[2])

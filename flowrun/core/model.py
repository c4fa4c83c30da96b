"""What the scheduler reasons about: the host, where a task runs, what came out."""

from __future__ import annotations

import builtins
from typing import Any, Literal

import msgspec

from flowc.plan.host import Capacity as Capacity
from flowc.plan.host import Gpu as Gpu
from flowc.plan.model import FailureKind

TaskState = Literal["pending", "ready", "running", "succeeded", "failed", "blocked", "skipped", "cancelled"]
RunStatus = Literal["running", "succeeded", "failed", "cancelled"]
Kind = Literal[FailureKind, "lost", "preempted", "taken", "damaged"]  # the latter are not an operator's own


class Placement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an attempt holds while it runs. `gpus` are indices; `gpu_memory_mb` is held on each of them.

    `host` is a number; a host alone is 0. `parts` are what a gang holds on further hosts.
    """

    cpus: float
    memory_mb: int = 0
    gpus: tuple[int, ...] = ()
    gpu_memory_mb: int = 0
    uses: tuple[tuple[str, int], ...] = ()
    host: int = 0
    parts: tuple[Placement, ...] = ()


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why something does not fit: the dimension, how much is needed, how much the nearest host has."""

    dimension: str
    need: float
    have: float
    host: int = 0

    def __str__(self) -> str:
        unit = " MB" if self.dimension.endswith("memory") else ""
        return f"{self.dimension}: needs {self.need:g}{unit}, has {self.have:g}{unit}"


class Artifact(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stored value: the hash of its manifest, and its size with all its parts.

    `data` is the manifest itself if it is small: what it does not name needs no file.
    """

    hash: str
    bytes: int
    data: builtins.bytes = b""

    @property
    def source(self) -> str | builtins.bytes:
        """What the value is read from: the hash of its manifest, or the manifest itself."""
        return self.data or self.hash


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The attempt that computed something."""

    run: str
    node: str
    attempt: int = 1

    def __str__(self) -> str:
        return f"{self.run}/{self.node}"


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an attempt failed: a code, a sentence, the line in the operator if known, a way out.

    `damaged` is the hash of an artifact that it could not read.
    `wanted_mb` is how much memory it asked for in vain at last, beside what it had, if it tells.
    """

    code: str
    message: str
    at: str = ""
    hint: str = ""
    wanted_mb: int = 0
    damaged: str = ""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an attempt used: CPU time and memory as the kernel accounted them, and its process's own time.

    `peak_mb` is of all its processes at a time, `gpu_peak_mb` of all its GPUs together.
    `wall_ms` is from the process's order to its report (0: not known); what else passed between start and end
    went into getting it started. `imports` are the milliseconds that loading each module for it took before
    that, while nothing else could be started.
    """

    cpu_ms: int = 0
    peak_mb: int = 0
    wall_ms: int = 0
    imports: dict[str, int] = {}
    gpu_peak_mb: int = 0


Inputs = dict[str, Any]

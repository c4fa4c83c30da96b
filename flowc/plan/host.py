"""A host as a file describes it, and whether it could run a node at all.

cpus = 64
memory_mb = 1048576
[[gpus]]                # any number of such groups
count = 8
name = "H100"
memory_mb = 81920
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Place, refuse
from flowc.plan.model import Resources


class GpuGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some GPUs of a kind."""

    count: int = 1
    name: str = "GPU"
    memory_mb: int = 0


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a host has in all."""

    cpus: float
    memory_mb: int
    gpus: tuple[GpuGroup, ...] = ()


def read(path: str | os.PathLike[str]) -> Host:
    """The host that a TOML file describes; `Refused` (FR111) if it makes no sense."""
    import tomllib

    try:
        host = msgspec.convert(tomllib.loads(Path(path).read_text(encoding="utf-8")), Host)
        if not 0 < host.cpus < 1e6 or host.memory_mb <= 0:
            raise ValueError("`cpus` and `memory_mb` must be above 0")
        if any(not 0 < group.count <= 1_000_000 or group.memory_mb < 0 for group in host.gpus):
            raise ValueError("a group of GPUs must count at least 1, and its memory cannot be below 0")
    except OSError as error:
        refuse("FR111", f"cannot read the device specification `{path}`: {error.strerror}")
    except ValueError as error:  # TOML's and msgspec's are ValueErrors too
        hint = "for example: cpus = 8, memory_mb = 65536, and [[gpus]] with count = 2, memory_mb = 81920"
        place = Place(os.fspath(path))
        refuse("FR111", f"the device specification is not valid: {error}", place, hint=hint)
    return host


def lacking(needs: Resources, host: Host) -> str:
    """What a host has too little of to ever run a node with some needs; empty if it could run it."""
    if needs.cpus > host.cpus:
        return f"{needs.cpus:g} CPUs, and there are {host.cpus:g}"
    if needs.memory_mb > host.memory_mb:
        return f"{needs.memory_mb} MB of memory, and there are {host.memory_mb}"
    there = sum(group.count for group in host.gpus)
    if needs.gpus > there:
        return f"{needs.gpus} GPUs, and there are {there}"
    fitting = sum(group.count for group in host.gpus if group.memory_mb >= needs.gpu_memory_mb)
    if needs.gpus > fitting:
        return f"{needs.gpus} GPUs with {needs.gpu_memory_mb} MB, and there are {fitting}"
    return ""

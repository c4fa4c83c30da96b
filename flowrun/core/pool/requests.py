"""What a node's needs ask of a host, in the units of what is free there."""

from __future__ import annotations

from typing import NamedTuple

from flowc.plan.model import Resources
from flowrun.core.pool.hosts import thousandths


class Request(NamedTuple):
    """Thousandths of CPUs, MB, GPUs: from `gpus` to `most`, with `gpu_memory_mb` of each or, if 0, whole."""

    cpus: int
    memory_mb: int
    gpus: int
    most: int
    gpu_memory_mb: int
    models: tuple[str, ...]
    linked: bool
    uses: tuple[tuple[str, int], ...]


def request_of(needs: Resources) -> Request:
    """What needs ask for."""
    return Request(
        thousandths(needs.cpus),
        needs.memory_mb,
        needs.gpus,
        max(needs.gpus, needs.gpus_max),
        needs.gpu_memory_mb,
        needs.gpu_models,
        needs.linked,
        needs.uses,
    )

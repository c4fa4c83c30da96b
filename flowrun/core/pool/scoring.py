"""How good a place is. Pure functions of what is free on a host and what is asked for."""

from __future__ import annotations

from collections.abc import Iterable

from flowrun.core.pool.hosts import Free, Kind
from flowrun.core.pool.requests import Request

Typical = tuple[tuple[Request, int], ...]  # requests that are to be expected, with their weights


def left_after(free: Free, request: Request, slots: Iterable[int]) -> Free:
    """What is free once a request has some GPUs."""
    gpus = list(free.gpus)
    share = request.gpu_memory_mb
    for slot in slots:
        gpus[slot] = gpus[slot] - share if share else -1
    return Free(free.cpus - request.cpus, free.memory_mb - request.memory_mb, tuple(gpus), free.uses)


def fragmentation(kind: Kind, free: Free, typical: Typical) -> int:
    """Free GPU memory that a typical request could make no use of, in MB times the weights' sum.

    The measure of "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient
    Descent" (Weng et al., USENIX ATC 2023).
    """
    gpus = free.gpus
    total = sum([amount for amount in gpus if amount > 0])
    if not total:
        return 0
    whole, found = kind.whole, 0
    for request, weight in typical:
        if not request.gpus:
            continue
        share = request.gpu_memory_mb
        if request.cpus > free.cpus or request.memory_mb > free.memory_mb:
            found += weight * total
            continue
        if share:
            fit = [gpus[slot] for slot in kind.allowed(request.models) if gpus[slot] >= share]
        else:
            fit = [gpus[slot] for slot in kind.allowed(request.models) if gpus[slot] == whole[slot]]
        found += weight * (total - sum(fit) if len(fit) >= request.gpus else total)
    return found


def tightness(kind: Kind, free: Free, request: Request) -> float:
    """1 less what stays unused on a host, weighed: of its CPUs and memory 0.3 each, of its GPUs 0.4."""
    cpus = (free.cpus - request.cpus) / (kind.empty.cpus or 1)
    memory = (free.memory_mb - request.memory_mb) / (kind.empty.memory_mb or 1)
    left = sum([amount for amount in free.gpus if amount > 0]) - request.gpus * request.gpu_memory_mb
    gpus = left / (sum(kind.whole) or 1)
    return 1 - (0.3 * cpus + 0.3 * memory + 0.4 * gpus)

"""How good a place is. Pure functions of what is free on a host and of what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

from flowc.plan.model import Resources
from flowrun.core.pool.hosts import HELD, Free, Kind
from flowrun.core.pool.requests import Request, request_of

_FINE = 1_000_000  # weights are whole numbers, so that sums are exact and ties are ties


class Demand(NamedTuple):
    """A typical demand for GPUs; of those who have it, thousandths of CPUs, MB and weight of each."""

    gpus: int
    gpu_memory_mb: int
    models: tuple[str, ...]
    those: tuple[tuple[int, int, int], ...]


Typical = tuple[Demand, ...]
ONE_WHOLE: Typical = (Demand(1, 0, (), ((0, 0, 1),)),)


def typical_of(requests: Mapping[Resources, int], whole_mb: int) -> Typical:
    """Requests to be expected, with how often, as typical demands. A whole GPU counts as one of `whole_mb`.

    Each weighs as often as it comes per GPU that it takes: GPU memory is kept for many small requests
    rather than for few large ones. Without any that want GPUs, the typical one wants one whole.
    """
    found: dict[tuple[int, int, tuple[str, ...]], list[tuple[int, int, int]]] = {}
    for needs, times in requests.items():
        if needs.gpus and times > 0:
            taken = needs.gpus * (needs.gpu_memory_mb or whole_mb or 1)
            request = request_of(needs)
            of = (request.gpus, request.gpu_memory_mb, request.models)
            weight = times * _FINE * (whole_mb or 1) // taken
            found.setdefault(of, []).append((request.cpus, request.memory_mb, max(weight, 1)))
    return tuple(Demand(*of, tuple(those)) for of, those in found.items()) or ONE_WHOLE


def useful(kind: Kind, free: Free, typical: Typical) -> int:
    """Free GPU memory that typical requests could make use of: for each, MB times its weight, added up.

    A request can use no GPU with less free than it needs of each, none if there are fewer than it needs, and
    no more than CPUs and memory suffice for. What is not useful is the expected fragmentation of "Beware of
    Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (Weng et al., USENIX
    ATC 2023), which has a request use all the GPUs of a host once CPUs suffice for one.
    """
    cpus, memory_mb, gpus, _ = free
    whole, sum_useful = kind.whole, 0
    for wanted, share, models, those in typical:
        slots = kind.allowed(models)
        if share:
            fit = sorted([gpus[slot] for slot in slots if gpus[slot] >= share], reverse=True)
        else:
            fit = sorted([gpus[slot] for slot in slots if gpus[slot] == whole[slot]], reverse=True)
        most = len(fit)
        if most < wanted:
            continue
        first = [0, *accumulate(fit)]  # the free memory of the emptiest
        for cpus_each, memory_each, weight in those:
            count = most
            if cpus_each * count > cpus * wanted:
                count = cpus * wanted // cpus_each
            if memory_each * count > memory_mb * wanted:
                count = memory_mb * wanted // memory_each
            if count >= wanted:
                sum_useful += weight * first[count]
    return sum_useful


def left_after(free: Free, request: Request, slots: Iterable[int]) -> Free:
    """What is free once a request has some GPUs."""
    gpus = free.gpus
    if slots:
        left, share = list(gpus), request.gpu_memory_mb
        for slot in slots:
            left[slot] = left[slot] - share if share else HELD
        gpus = tuple(left)
    return Free(free.cpus - request.cpus, free.memory_mb - request.memory_mb, gpus, free.uses)


def tightness(kind: Kind, free: Free, request: Request) -> float:
    """1 less what stays unused of a host: of its CPUs and memory 0.3 each, of its GPUs 0.4."""
    cpus = (free.cpus - request.cpus) / (kind.empty.cpus or 1)
    memory = (free.memory_mb - request.memory_mb) / (kind.empty.memory_mb or 1)
    available = len([amount for amount in free.gpus if amount > 0])
    gpus = (available - request.gpus) / (len(kind.whole) or 1)
    return 1 - (0.3 * cpus + 0.3 * memory + 0.4 * gpus)

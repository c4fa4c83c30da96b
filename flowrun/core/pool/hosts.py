"""Kinds of hosts and what is free of one, as whole numbers: the ground that matching and scoring stand on.

CPUs are counted in thousandths, so that taking and giving back is exact. A GPU's number is its free memory in
MB; `HELD` if a task has the whole of it, and less while somebody outside is known to have some of it, too.
GPUs stand in slots: those of a class, alike in link domain, model and memory, side by side. Which of them are
free does not matter then, only how many: a state in which the numbers of each class are sorted stands for all
that are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from flowc.plan.host import is_any_model
from flowrun.core.model import Capacity, Placement

HELD = -1
_MOST_CPUS = 1e12  # more is all the same: no host has them, and a plan may ask for 1e308


class Free(NamedTuple):
    """What is free on a host: thousandths of CPUs, MB, the GPUs by slot, the named resources by position."""

    cpus: int
    memory_mb: int
    gpus: tuple[int, ...]
    uses: tuple[int, ...]


class Kind:
    """Hosts that have the same, and what they have in the order of slots."""

    def __init__(self, number: int, capacity: Capacity) -> None:
        self.number = number
        self.capacity = capacity
        gpus = sorted(capacity.gpus, key=lambda gpu: (gpu.link, gpu.name, gpu.memory_mb, gpu.index))
        self.gpus = gpus
        self.indices = tuple(gpu.index for gpu in gpus)
        self.slot_of = {gpu.index: slot for slot, gpu in enumerate(gpus)}
        self.whole = tuple(gpu.memory_mb for gpu in gpus)
        self.classes = _runs([(gpu.link, gpu.name, gpu.memory_mb) for gpu in gpus])
        self.class_of = tuple(first for first, after in self.classes for _ in range(first, after))
        self.cohesion = _cohesion(self)
        self.names = tuple(name for name, _ in capacity.resources)
        amounts = tuple(amount for _, amount in capacity.resources)
        self.empty = Free(thousandths(capacity.cpus), capacity.memory_mb, self.whole, amounts)
        self._allowed: dict[tuple[str, ...], tuple[int, ...]] = {}

    def allowed(self, models: tuple[str, ...]) -> tuple[int, ...]:
        """The slots of GPUs of some models; of all, if none is named."""
        slots = self._allowed.get(models)
        if slots is None:
            slots = tuple(slot for slot, gpu in enumerate(self.gpus) if is_any_model(gpu.name, models))
            self._allowed[models] = slots
        return slots

    def sorted(self, free: Free) -> Free:
        """The state that stands for all that are like one."""
        gpus = free.gpus
        if len(self.classes) < 2:
            return free._replace(gpus=tuple(sorted(gpus))) if len(gpus) > 1 else free
        alike = [amount for first, after in self.classes for amount in sorted(gpus[first:after])]
        return free._replace(gpus=tuple(alike))

    def alike(self, like: Free, free: Free, slots: tuple[int, ...]) -> tuple[int, ...]:
        """The slots of a state that are as some slots of the sorted state that stands for it; the first."""
        if free.gpus == like.gpus:
            return slots
        chosen: list[int] = []
        for slot in slots:
            amount, at = like.gpus[slot], self.class_of[slot]
            while free.gpus[at] != amount or at in chosen:
                at += 1
            chosen.append(at)
        return tuple(chosen)

    def after(self, free: Free, placement: Placement, sign: int) -> Free:
        """What is free after a placement is taken (-1) or given back (+1)."""
        gpus = free.gpus
        if placement.gpus:
            left = list(gpus)
            share = placement.gpu_memory_mb
            for index in placement.gpus:
                slot = self.slot_of[index]
                left[slot] += sign * (share or self.whole[slot] - HELD)
            gpus = tuple(left)
        uses = free.uses
        if placement.uses and uses:
            held = dict(placement.uses)
            uses = tuple(
                amount + sign * held.get(name, 0) for name, amount in zip(self.names, uses, strict=True)
            )
        return Free(
            free.cpus + sign * thousandths(placement.cpus),
            free.memory_mb + sign * placement.memory_mb,
            gpus,
            uses,
        )


@lru_cache(maxsize=1024)  # asked several times for each decision, and nearly always the same
def thousandths(cpus: float) -> int:
    """CPUs in thousandths, rounded up; what rounding of floats leaves over is forgiven."""
    return math.ceil(cpus * 1000 - 1e-6 if cpus < _MOST_CPUS else _MOST_CPUS * 1000)


def numbered(hosts: Sequence[Capacity]) -> list[Kind]:
    """The kind of each host; those that have the same are of one."""
    kinds: dict[Capacity, Kind] = {}
    for capacity in {id(capacity): capacity for capacity in hosts}.values():
        if capacity not in kinds:
            kinds[capacity] = Kind(len(kinds), capacity)
    known = {id(capacity): kinds[capacity] for capacity in hosts}
    return [known[id(capacity)] for capacity in hosts]


def _runs(labels: list[tuple[int, str, int]]) -> tuple[tuple[int, int], ...]:
    """First and after-last position of each run of equal labels."""
    starts = [i for i, label in enumerate(labels) if i == 0 or labels[i - 1] != label]
    return tuple(zip(starts, [*starts, len(labels)][1:], strict=True))


def _cohesion(kind: Kind) -> tuple[tuple[int, ...], ...]:
    """For each way to keep the GPUs of a task together, the best first, the group of each slot.

    Of one link domain and model, of one domain, of one model, any. A GPU without links is a domain alone.
    """
    links = [gpu.link or -1 - slot for slot, gpu in enumerate(kind.gpus)]
    models = [(gpu.name, gpu.memory_mb) for gpu in kind.gpus]
    ways: list[Sequence[object]] = [[*zip(links, models, strict=True)], links, models, [0] * len(links)]
    return tuple(_numbered(way) for way in ways)


def _numbered(labels: Sequence[object]) -> tuple[int, ...]:
    numbers: dict[object, int] = {}
    return tuple(numbers.setdefault(label, len(numbers)) for label in labels)

"""Which tasks fit where. Pure functions over amounts."""

from __future__ import annotations

from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Gpu, Placement, Rejected

_DUST = 1e-9  # fractions of CPUs are added and taken away: forgive what rounding leaves


class Free:
    """What is not taken of a capacity. A GPU without declared `gpu_memory` is held whole."""

    def __init__(self, capacity: Capacity) -> None:
        self.cpus = capacity.cpus
        self.memory_mb = capacity.memory_mb
        self._gpus = capacity.gpus
        self._whole_mb = {gpu.index: gpu.memory_mb for gpu in capacity.gpus}
        self.gpu_memory_mb = dict(self._whole_mb)
        self._holders = {gpu.index: 0 for gpu in capacity.gpus}

    def place(self, needs: Resources) -> Placement | Rejected:
        """Where a task goes, or what is missing."""
        if needs.cpus > self.cpus + _DUST:
            return Rejected("cpus", needs.cpus, self.cpus)
        if needs.memory_mb > self.memory_mb:
            return Rejected("memory", needs.memory_mb, self.memory_mb)
        if not needs.gpus:
            return Placement(needs.cpus, needs.memory_mb)
        suited = [gpu for gpu in self._gpus if self._suits(gpu, needs.gpu_memory_mb)]
        if needs.gpus > len(suited):
            return Rejected("gpus", needs.gpus, len(suited))
        # Fullest first: small tasks share a GPU, and whole ones stay free for those that need them whole.
        suited.sort(key=lambda gpu: (self.gpu_memory_mb[gpu.index], gpu.index))
        most = max(needs.gpus, needs.gpus_max)
        chosen = tuple(sorted(gpu.index for gpu in suited[:most]))
        return Placement(needs.cpus, needs.memory_mb, chosen, needs.gpu_memory_mb)

    def _suits(self, gpu: Gpu, memory_mb: int) -> bool:
        if memory_mb:
            return self.gpu_memory_mb[gpu.index] >= memory_mb
        return self._holders[gpu.index] == 0

    def take(self, placement: Placement) -> None:
        """Mark as held."""
        self._add(placement, -1)

    def give_back(self, placement: Placement) -> None:
        """Mark as free again."""
        self._add(placement, +1)

    def _add(self, placement: Placement, sign: int) -> None:
        self.cpus += sign * placement.cpus
        self.memory_mb += sign * placement.memory_mb
        for index in placement.gpus:
            self.gpu_memory_mb[index] += sign * (placement.gpu_memory_mb or self._whole_mb[index])
            self._holders[index] -= sign


def can_ever_fit(needs: Resources, capacity: Capacity) -> Rejected | None:
    """Why a task could not run even on the empty host; `None` if it could."""
    if needs.gpus and needs.gpu_memory_mb and capacity.gpus:
        largest_first = sorted((gpu.memory_mb for gpu in capacity.gpus), reverse=True)
        too_small = [mb for mb in largest_first[: needs.gpus] if mb < needs.gpu_memory_mb]
        if too_small and needs.gpus <= len(capacity.gpus):
            return Rejected("gpu memory", needs.gpu_memory_mb, too_small[0])
    answer = Free(capacity).place(needs)
    return answer if isinstance(answer, Rejected) else None

"""What can never run, and the nearest thing that could."""

from __future__ import annotations

from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Rejected
from flowrun.core.pool.pool import Pool


def can_ever_fit(needs: Resources, *hosts: Capacity) -> Rejected | None:
    """Why a task could not run even if all of the hosts were empty; `None` if it could."""
    answer = Pool(hosts).place(needs)
    if not isinstance(answer, Rejected):
        return None
    capacity = hosts[answer.host]
    if needs.gpus and needs.gpu_memory_mb and capacity.gpus and answer.dimension == "gpus":
        largest_first = sorted((gpu.memory_mb for gpu in capacity.gpus), reverse=True)
        too_small = [mb for mb in largest_first[: needs.gpus] if mb < needs.gpu_memory_mb]
        if too_small and needs.gpus <= len(capacity.gpus):
            return Rejected("gpu memory", needs.gpu_memory_mb, too_small[0], answer.host)
    return answer

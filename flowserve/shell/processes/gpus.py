"""The GPUs that a server's models may compute on, and how much memory those of one process may have there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from flowc.plan import hosts_file
from flowserve.core.config import Config
from flowserve.core.models.seat import Gpu
from flowserve.shell.models.gpus import detect

_OURS = 0.9  # of what is free: CUDA and its libraries take some hundred MB a process beside what models have


def gpus_of(config: Config, environment: Mapping[str, str], note: Callable[[str], None]) -> tuple[Gpu, ...]:
    """Return those that are there, or that the configuration describes; none where no model may use one.

    Raises `Refused` FR111 and FR113 for a description that makes no sense.
    """
    models = config.per_model()
    if all(of.providers == "cpu" for of in (models.others, *models.named.values())):
        return ()
    if config.devices:
        described = hosts_file.read_one(config.devices).gpus
        found = [Gpu(gpu.index, gpu.name, bytes=gpu.memory_mb * 2**20) for gpu in described]
    else:
        found = detect(environment, note)
    said = config.gpu_memory_mb * 2**20
    return tuple(
        msgspec.structs.replace(gpu, bytes=_share(gpu.bytes, said) // config.processes) for gpu in found
    )


def _share(free: int, said: int) -> int:
    """What all models may have of a GPU; 0 where nothing is known of it, for no bound."""
    ours = int(free * _OURS)
    return min(ours, said) if ours and said else ours or said

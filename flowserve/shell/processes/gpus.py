"""The GPUs that a server's models may compute on, and how much memory those of one process may have there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from flowc.plan import hosts_file
from flowserve.core.config import Config
from flowserve.core.models.seat import Gpu
from flowserve.shell.models.gpus import detect

_OURS = 0.9  # of what is free: CUDA and its libraries take some hundred MB a process beside what models have

_LIBRARY = "capi/libonnxruntime_providers_cuda.so"


def gpus_of(config: Config, environment: Mapping[str, str], note: Callable[[str], None]) -> list[Gpu]:
    """Return those that are there, or that the configuration describes; none where no model may use one.

    Their `bytes` are what is free. Raises `Refused` FR111 and FR113 for a description that makes no sense.
    """
    models = config.per_model()
    if all(of.providers == "cpu" for of in (models.others, *models.named.values())):
        return []
    if config.devices:
        described = hosts_file.read_one(config.devices).gpus
        return [Gpu(gpu.index, gpu.name, bytes=gpu.memory_mb * 2**20) for gpu in described]
    return detect(environment, note)


def shared(gpus: Iterable[Gpu], said_mb: int, processes: int) -> tuple[Gpu, ...]:
    """The same with what the models of one process may have there; `said_mb` is what those of all may."""
    said = said_mb * 2**20
    return tuple(msgspec.structs.replace(gpu, bytes=_share(gpu.bytes, said) // processes) for gpu in gpus)


def has_cuda() -> bool:
    """Whether this onnxruntime was built with CUDA, by its files: to import it takes a second."""
    found = find_spec("onnxruntime")
    return found is not None and found.origin is not None and (Path(found.origin).parent / _LIBRARY).exists()


def _share(free: int, said: int) -> int:
    """What all models may have of a GPU; 0 where nothing is known of it, for no bound."""
    ours = int(free * _OURS)
    return min(ours, said) if ours and said else ours or said

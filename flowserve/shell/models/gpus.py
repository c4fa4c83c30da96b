"""GPUs as NVML tells of them: which there are, and how much memory this process has on one.

Models are given GPUs by CUDA's numbers, which are NVML's only in PCI bus order (CUDA_DEVICE_ORDER, which a
server's processes are started with) and without CUDA_VISIBLE_DEVICES, which leaves some out and numbers the
others anew. So each is remembered by its UUID.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from flowc.plan.host import visible_gpus
from flowserve.core.models.seat import Gpu

ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""The environment in which CUDA numbers GPUs as NVML does."""


class Held(msgspec.Struct, frozen=True):
    """Memory of a GPU in bytes: what this process has, None where the driver does not say; what is free."""

    own: int | None
    free: int


def detect(environment: Mapping[str, str], note: Callable[[str], None]) -> list[Gpu]:
    """The GPUs that CUDA shows to a process with this environment; `bytes` is what is free.

    One in MIG mode is left out, and noted: CUDA shows an instance of it under a number of its own.
    """
    nvml = _nvml()
    if nvml is None:
        return []
    found: list[Gpu] = []
    with contextlib.suppress(nvml.NVMLError):
        for index in range(nvml.nvmlDeviceGetCount()):
            with contextlib.suppress(nvml.NVMLError):  # lost, or not ours to see: the others still count
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                name, uuid = _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle))
                free = int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
                if _is_divided(nvml, handle):
                    note(f"GPU {index} ({name}) is in MIG mode, and left out")
                    continue
                found.append(Gpu(index, name, uuid, free))
    names = [(gpu.number, gpu.uuid) for gpu in found]
    shown = visible_gpus(names, environment.get("CUDA_VISIBLE_DEVICES"))
    return [msgspec.structs.replace(found[at], number=number) for number, at in enumerate(shown)]


def held(gpu: Gpu) -> Held | None:
    """How much memory of a GPU this process has, and how much is free; None without NVML.

    In a container the driver may know processes by other numbers, and does not say how much is ours then.
    """
    nvml = _nvml()
    if nvml is None or not gpu.uuid:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
        free = int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
    except nvml.NVMLError:
        return None
    own: int | None = None
    with contextlib.suppress(nvml.NVMLError):  # it may not tell of processes
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
            if process.pid == os.getpid() and process.usedGpuMemory:
                own = (own or 0) + int(process.usedGpuMemory)
    return Held(own, free)


def grown(before: Held | None, after: Held | None) -> int | None:
    """How much more memory was taken between two looks; None where that cannot be said."""
    if before is None or after is None:
        return None
    if before.own is not None and after.own is not None:
        return max(0, after.own - before.own)
    return max(0, before.free - after.free)


@cache
def _nvml() -> Any:
    """NVML's bindings, opened to be asked; None where there is no driver."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")  # what the bindings load; a look at it saves importing them
    except OSError:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _is_divided(nvml: Any, handle: Any) -> bool:
    with contextlib.suppress(nvml.NVMLError, AttributeError):  # those that know no such mode are not
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    return False


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

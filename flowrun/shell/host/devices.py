"""What this host has: CPUs, memory, and GPUs through NVML."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable

import msgspec

from flowc.plan.host import visible_gpus
from flowc.plan.machine import memory_bytes, processors
from flowrun.core.model import Capacity, Gpu
from flowrun.shell.host import nvlink
from flowrun.shell.host.gpu_memory import has_driver

_MB = 1024 * 1024


def _nothing(line: str) -> None:
    """Tell nobody."""


def host(described: str, tell: Callable[[str], None] = _nothing) -> Capacity:
    """The host that is described, or else this one; with the resources that are named, if only those are."""
    if not described:
        return detect(tell)
    from flowc.plan import hosts_file  # seldom needed, and not to be loaded before the first node starts

    return hosts_file.read_one(described, lambda: detect(tell))


def is_pretended(described: str, capacity: Capacity) -> bool:
    """Whether a host that was described has another memory or other GPUs than this one."""
    if not described:
        return False
    here = detect()
    return (capacity.memory_mb, capacity.gpus) != (here.memory_mb, here.gpus)


def detect(tell: Callable[[str], None] = _nothing) -> Capacity:
    """The CPUs and memory that this process may use, and the GPUs that it may see. `tell` is for notes."""
    return Capacity(processors(), memory_bytes() // _MB, detect_gpus(tell))


def detect_gpus(tell: Callable[[str], None] = _nothing) -> tuple[Gpu, ...]:
    """The GPUs that NVML knows, as far as CUDA_VISIBLE_DEVICES shows them. None without a driver.

    Indices are NVML's, in PCI bus order; workers are given GPUs by CUDA_DEVICE_ORDER=PCI_BUS_ID to match. A
    GPU in MIG mode is left out, and told of: CUDA cannot use it whole, and its instances have no such index.
    """
    if not has_driver():
        return ()
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    found = []
    ends: list[set[str]] = []
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            with contextlib.suppress(pynvml.NVMLError):  # lost, or not ours to see: the others still count
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                name, uuid = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetUUID(handle)
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
                if nvlink.is_divided(pynvml, handle):
                    tell(f"GPU {index} ({_text(name)}) is in MIG mode, and left out")
                    continue
                found.append((Gpu(index, _text(name), int(memory) // _MB), _text(uuid)))
                ends.append(nvlink.ends(pynvml, handle))
    except pynvml.NVMLError:
        return ()
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    domains = nvlink.domains(ends)
    linked = [
        (msgspec.structs.replace(gpu, link=domain), uuid)
        for (gpu, uuid), domain in zip(found, domains, strict=True)
    ]
    return visible(linked, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: list[tuple[Gpu, str]], setting: str | None) -> tuple[Gpu, ...]:
    """The GPUs, given with their UUIDs, that a value of CUDA_VISIBLE_DEVICES leaves visible."""
    shown = visible_gpus([(gpu.index, uuid) for gpu, uuid in gpus], setting)
    return tuple(gpus[place][0] for place in sorted(shown))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def describe(capacity: Capacity) -> str:
    """One line: what there is."""
    counts = Counter(gpu.name for gpu in capacity.gpus)
    gpus = ", ".join(f"{count} x {name}" for name, count in counts.items()) or "no GPU"
    return f"{capacity.cpus:g} CPUs, {capacity.memory_mb / 1024:.1f} GB, {gpus}"

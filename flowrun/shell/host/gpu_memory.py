"""How much GPU memory processes hold, as NVML tells."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any

_MB = 1024 * 1024


def has_driver() -> bool:
    """Whether there is what NVML's bindings load: they are not imported for nothing."""
    import _ctypes  # without the types of `ctypes`: a third of the time

    try:
        _ctypes.dlopen("libnvidia-ml.so.1", 0)
    except OSError:
        return False
    return True


class GpuMemory:
    """What processes hold on GPUs. NVML is loaded when somebody first asks; where there is none, it is 0."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._is_there: bool | None = None

    def held_mb(self, processes: Collection[int], gpus: Collection[int], whole: bool) -> int:
        """What processes hold on some GPUs, by NVML's index; all that is held on them, if they are theirs.

        In a container the driver may know processes by other numbers: then only who has a GPU whole can tell.
        """
        if not self._load():
            return 0
        found = used = 0
        for index in gpus:
            with contextlib.suppress(self._nvml.NVMLError):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                used += int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
                for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                    if process.pid in processes:
                        found += int(process.usedGpuMemory or 0)  # some drivers do not tell
        return (found or (used if whole else 0)) // _MB

    def _load(self) -> bool:
        if self._is_there is None:
            self._is_there = False
            if has_driver():
                import pynvml

                with contextlib.suppress(pynvml.NVMLError):
                    pynvml.nvmlInit()
                    self._nvml, self._is_there = pynvml, True
        return self._is_there

"""A driver of the test's own: GPUs with memory that processes take, as NVML's bindings tell of it."""

import ctypes
import sys
from types import ModuleType, SimpleNamespace

MB = 2**20


class Driver:
    """`gpus` are names, UUIDs and MB; `taken` is how many MB each process has on each, by UUID.

    `tells` is whether it says how much a process has, and under the number that the process knows itself by.
    """

    def __init__(self, monkeypatch, gpus, tells=True, divided=()):
        self.gpus = list(gpus)
        self.tells = tells
        self.taken = {uuid: {} for _, uuid, _ in self.gpus}
        nvml = self.nvml = ModuleType("pynvml")
        nvml.NVMLError = type("NVMLError", (Exception,), {})
        nvml.nvmlInit = lambda: None
        nvml.nvmlDeviceGetCount = lambda: len(self.gpus)
        nvml.nvmlDeviceGetHandleByIndex = lambda index: self.gpus[index]
        nvml.nvmlDeviceGetHandleByUUID = self._of
        nvml.nvmlDeviceGetName = lambda gpu: gpu[0]
        nvml.nvmlDeviceGetUUID = lambda gpu: gpu[1]
        nvml.nvmlDeviceGetMemoryInfo = self._memory
        nvml.nvmlDeviceGetMigMode = lambda gpu: (int(gpu[1] in divided), 0)
        nvml.nvmlDeviceGetComputeRunningProcesses = self._processes
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        real = ctypes.CDLL

        def library(name, *of):
            return None if name == "libnvidia-ml.so.1" else real(name, *of)

        monkeypatch.setattr(ctypes, "CDLL", library)

    def _of(self, uuid):
        for gpu in self.gpus:
            if gpu[1] == uuid:
                return gpu
        raise self.nvml.NVMLError("Not Found")

    def _memory(self, gpu):
        used = sum(self.taken[gpu[1]].values())
        return SimpleNamespace(total=gpu[2] * MB, used=used * MB, free=(gpu[2] - used) * MB)

    def _processes(self, gpu):
        foreign = 0 if self.tells else 100_000
        return [
            SimpleNamespace(pid=pid + foreign, usedGpuMemory=mb * MB if self.tells else None)
            for pid, mb in self.taken[gpu[1]].items()
        ]

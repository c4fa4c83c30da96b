import _ctypes
import sys
from types import ModuleType, SimpleNamespace

import pytest

from flowrun.shell.host.gpu_memory import GpuMemory

MB = 1024 * 1024


@pytest.fixture
def driver(monkeypatch):
    """A driver of two GPUs, by index: what processes hold, by number, in MB; what is used besides."""
    gpus = [{10: 100, 11: 50}, {11: 1000, 12: None}]
    nvml = ModuleType("pynvml")
    nvml.NVMLError = type("NVMLError", (Exception,), {})
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetHandleByIndex = lambda index: gpus[index]

    def processes(gpu):
        if gpu is None:
            raise nvml.NVMLError
        return [SimpleNamespace(pid=pid, usedGpuMemory=mb and mb * MB) for pid, mb in gpu.items()]

    nvml.nvmlDeviceGetComputeRunningProcesses = processes
    nvml.nvmlDeviceGetMemoryInfo = lambda gpu: SimpleNamespace(used=3000 * MB)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(_ctypes, "dlopen", lambda name, mode: 0)
    return gpus


@pytest.mark.parametrize(
    ("processes", "gpus", "mb"),
    [({10}, [0], 100), ({10, 11}, [0], 150), ({11}, [0, 1], 1050), ({99}, [0], 0), ({12}, [1], 0)],
)
def test_what_processes_hold(driver, processes, gpus, mb):
    assert GpuMemory().held_mb(processes, gpus, whole=False) == mb


def test_who_has_a_gpu_whole_holds_all_that_is_used_of_it(driver):
    """In a container, where the driver knows processes by other numbers."""
    assert GpuMemory().held_mb({99}, [0], whole=True) == 3000
    assert GpuMemory().held_mb({10}, [0], whole=True) == 100


def test_a_gpu_that_does_not_answer_counts_nothing(driver):
    driver[1] = None
    assert GpuMemory().held_mb({10, 11}, [0, 1], whole=False) == 150


def test_without_a_driver_it_is_nothing(monkeypatch):
    def missing(name, mode):
        raise OSError(name)

    monkeypatch.setattr(_ctypes, "dlopen", missing)
    gpus = GpuMemory()
    assert gpus.held_mb({1}, [0], whole=True) == gpus.held_mb({1}, [0], whole=False) == 0

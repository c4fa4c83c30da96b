"""What a host has: by psutil and a made-up NVML, and as files pretend it."""

import _ctypes
import sys
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from flowc.plan import machine
from flowrun.core.model import Capacity, Gpu
from flowrun.shell.host import devices

MB = 1024 * 1024
TWO = [("A100", "GPU-aaaa-1", 81920), ("T4", "GPU-abbb-2", 16384)]


def fake_nvml(monkeypatch, gpus, broken=()):
    """A driver with these GPUs: name, UUID, memory in MB. `broken` functions raise."""
    nvml = ModuleType("pynvml")
    nvml.NVMLError = type("NVMLError", (Exception,), {})
    nvml.calls = []

    def function(name, answer):
        def call(*args):
            nvml.calls.append(name)
            if name in broken:
                raise nvml.NVMLError(name)
            return answer(*args)

        setattr(nvml, name, call)

    function("nvmlInit", lambda: None)
    function("nvmlShutdown", lambda: None)
    function("nvmlDeviceGetCount", lambda: len(gpus))
    function("nvmlDeviceGetHandleByIndex", lambda index: gpus[index])
    function("nvmlDeviceGetName", lambda gpu: gpu[0])
    function("nvmlDeviceGetUUID", lambda gpu: gpu[1])
    function("nvmlDeviceGetMemoryInfo", lambda gpu: SimpleNamespace(total=gpu[2] * MB))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(_ctypes, "dlopen", lambda name, mode: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return nvml


def with_links(monkeypatch, gpus, links, divided=(), hidden=()):
    """GPUs with links: for each the bus ids that its links end at, `None` for one that is not active.

    Ends that begin with `sw` are switches; `hidden` ones are not shown.
    """
    nvml = fake_nvml(monkeypatch, gpus)

    def state(gpu, link):
        if link >= len(links[gpus.index(gpu)]):
            raise nvml.NVMLError("Invalid argument")
        return int(links[gpus.index(gpu)][link] is not None)

    def remote(gpu, link):
        end = links[gpus.index(gpu)][link]
        return SimpleNamespace(busId=b"FFFFFFFF:FF:FF.F" if end in hidden else end.encode())

    nvml.nvmlDeviceGetPciInfo = lambda gpu: SimpleNamespace(busId=f"bus{gpus.index(gpu)}")
    nvml.nvmlDeviceGetNvLinkState = state
    nvml.nvmlDeviceGetNvLinkRemotePciInfo = remote
    nvml.nvmlDeviceGetNvLinkRemoteDeviceType = lambda gpu, link: (
        2 if links[gpus.index(gpu)][link].startswith("sw") else 0
    )
    nvml.nvmlDeviceGetMigMode = lambda gpu: (int(gpus.index(gpu) in divided), 0)


class TestLinks:
    @pytest.mark.parametrize(
        ("links", "domains"),
        [
            ([[], [], [], []], [0, 0, 0, 0]),
            ([["BUS1"], ["BUS0"], ["bus3"], ["bus2"]], [1, 1, 2, 2]),  # pairs, whatever the case
            ([["bus1"], ["bus0", "bus2"], ["bus1", "bus3"], ["bus2"]], [1, 1, 1, 1]),  # a chain
            ([["sw0", "sw1"], ["sw0", "sw1"], [None], ["sw1"]], [1, 1, 0, 1]),
            ([["hidden0"], [None, "sw9"], ["sw8"], []], [0, 1, 1, 0]),  # switches not shown are one fabric
            ([["bus9"], ["bus3"], [], ["bus1"]], [0, 1, 0, 1]),
        ],
    )
    def test_gpus_between_which_there_is_a_way_are_a_domain(self, monkeypatch, links, domains):
        gpus = [("H100", f"GPU-{i}", 10) for i in range(4)]
        with_links(monkeypatch, gpus, links, hidden=("sw8", "sw9"))
        assert [gpu.link for gpu in devices.detect_gpus()] == domains

    def test_a_gpu_in_mig_mode_is_left_out_and_told_of(self, monkeypatch):
        told = []
        with_links(monkeypatch, TWO, [[], []], divided=(0,))
        assert devices.detect_gpus(told.append) == (Gpu(1, "T4", 16384),)
        assert told == ["GPU 0 (A100) is in MIG mode, and left out"]


class TestNvml:
    def test_gpus_with_their_memory(self, monkeypatch):
        nvml = fake_nvml(monkeypatch, TWO)
        assert devices.detect_gpus() == (Gpu(0, "A100", 81920), Gpu(1, "T4", 16384))
        assert nvml.calls[-1] == "nvmlShutdown"

    def test_older_bindings_give_bytes(self, monkeypatch):
        fake_nvml(monkeypatch, [(b"A100", b"GPU-aaaa-1", 10)])
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa")
        assert devices.detect_gpus() == (Gpu(0, "A100", 10),)

    def test_no_driver_is_normal_and_costs_no_import(self, monkeypatch):
        def absent(name, mode):
            raise OSError("cannot open shared object file")

        monkeypatch.setattr(_ctypes, "dlopen", absent)
        monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it would raise
        assert devices.detect_gpus() == ()

    @pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetCount"])
    def test_a_driver_that_does_not_work(self, monkeypatch, broken):
        fake_nvml(monkeypatch, TWO, broken=[broken])
        assert devices.detect_gpus() == ()

    def test_a_gpu_that_is_lost_leaves_the_others(self, monkeypatch):
        nvml = fake_nvml(monkeypatch, TWO)
        whole = nvml.nvmlDeviceGetMemoryInfo

        def lost(gpu):
            if gpu[0] == "A100":
                raise nvml.NVMLError("GPU is lost")
            return whole(gpu)

        nvml.nvmlDeviceGetMemoryInfo = lost
        assert devices.detect_gpus() == (Gpu(1, "T4", 16384),)

    def test_the_environment_hides_some(self, monkeypatch):
        fake_nvml(monkeypatch, TWO)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        assert [gpu.index for gpu in devices.detect_gpus()] == [1]


@pytest.mark.parametrize(
    ("setting", "indices"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("0,1,2", [0, 1, 2]),
        ("2, 0", [0, 2]),
        ("1", [1]),
        ("GPU-aaaa", [0]),
        ("GPU-b,GPU-aaaa", [0, 2]),
        ("GPU-a", []),  # of two: says nothing
        ("0,7,1", [0]),  # what follows one that is not there is not seen
        ("-1", []),
        ("1,-1,0", [1]),
        ("NoDevFiles", []),
        ("MIG-1234", []),
        ("0,0", [0]),
    ],
)
def test_cuda_visible_devices(setting, indices):
    gpus = [(Gpu(0), "GPU-aaaa"), (Gpu(1), "GPU-aabb"), (Gpu(2), "GPU-bbbb")]
    assert [gpu.index for gpu in devices.visible(gpus, setting)] == indices


class TestHost:
    @pytest.fixture(autouse=True)
    def _host(self, monkeypatch):
        monkeypatch.setattr(devices, "detect_gpus", lambda tell: ())

    def test_as_psutil_sees_it(self, monkeypatch, tmp_path):
        monkeypatch.setattr(machine, "_CGROUP", tmp_path)  # no limits here
        cpus, memory_mb = len(psutil.Process().cpu_affinity()), psutil.virtual_memory().total // MB
        assert devices.detect() == Capacity(cpus, memory_mb)


@pytest.mark.parametrize(
    ("gpus", "text"),
    [
        ([], "2.5 CPUs, 4.0 GB, no GPU"),
        ([Gpu(0, "A100"), Gpu(1, "A100")], "2.5 CPUs, 4.0 GB, 2 x A100"),
        ([Gpu(0, "A100"), Gpu(1, "T4"), Gpu(2, "A100")], "2.5 CPUs, 4.0 GB, 2 x A100, 1 x T4"),
    ],
)
def test_describe(gpus, text):
    assert devices.describe(Capacity(2.5, 4096, tuple(gpus))) == text

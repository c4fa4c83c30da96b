"""What a host has: by psutil and a made-up NVML, and as files pretend it."""

import ctypes
import os
import sys
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from flowc.plan.diagnostics import Refused
from flowrun.core.model import Capacity, Gpu
from flowrun.shell import devices

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
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return nvml


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
        def absent(name):
            raise OSError("cannot open shared object file")

        monkeypatch.setattr(ctypes, "CDLL", absent)
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
        monkeypatch.setattr(devices, "detect_gpus", tuple)

    def test_as_psutil_sees_it(self, monkeypatch, tmp_path):
        monkeypatch.setattr(devices, "Path", lambda path: tmp_path / "no limits here")
        cpus, memory_mb = len(psutil.Process().cpu_affinity()), psutil.virtual_memory().total // MB
        assert devices.detect() == Capacity(cpus, memory_mb)

    @pytest.mark.parametrize(
        ("limit", "memory_mb"),
        [(f"{1000 * MB}\n", 1000), (f"{9000 * MB}\n", 4000), ("max\n", 4000), (None, 4000)],
    )
    def test_cpus_by_affinity_and_memory_by_the_containers_limit(
        self, monkeypatch, tmp_path, limit, memory_mb
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5})
        monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 4000 * 256, "SC_PAGE_SIZE": 4096}.get)
        file = tmp_path / "memory.max"
        if limit:
            file.write_text(limit)
        monkeypatch.setattr(devices, "Path", lambda path: file)
        assert devices.detect() == Capacity(3, memory_mb)


class TestPretend:
    def pretend(self, tmp_path, text):
        (tmp_path / "host.toml").write_text(text)
        return devices.pretend(tmp_path / "host.toml")

    def test_a_host_without_gpus(self, tmp_path):
        assert self.pretend(tmp_path, "cpus = 2.5\nmemory_mb = 100") == Capacity(2.5, 100)

    def test_groups_of_gpus_are_numbered_through(self, tmp_path):
        text = """
            cpus = 64
            memory_mb = 1048576
            [[gpus]]
            count = 2
            name = "A100"
            memory_mb = 81920
            [[gpus]]
            memory_mb = 16384
        """
        gpus = (Gpu(0, "A100", 81920), Gpu(1, "A100", 81920), Gpu(2, "GPU", 16384))
        assert self.pretend(tmp_path, text) == Capacity(64, 1048576, gpus)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "missing required field `cpus`"),
            ("cpus = 1", "missing required field `memory_mb`"),
            ("cpus = 0\nmemory_mb = 1", "must be above 0"),
            ("cpus = -1\nmemory_mb = 1", "must be above 0"),
            ("cpus = nan\nmemory_mb = 1", "must be above 0"),
            ("cpus = inf\nmemory_mb = 1", "must be above 0"),
            ("cpus = 1\nmemory_mb = -5", "must be above 0"),
            ("cpus = 1\nmemory_mb = 1.5", "Expected `int`, got `float`"),
            ('cpus = "many"\nmemory_mb = 1', "Expected `float`, got `str`"),
            ("cpus = 1\nmemory_mb = 1\ncores = 3", "unknown field `cores`"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\ncount = 0", "count at least 1"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\ncount = -3", "count at least 1"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\ncount = 99999999999", "count at least 1"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\nmemory_mb = -1", "cannot be below 0"),
            ("cpus = ", "Invalid value"),
            ("\x00", "not valid"),
        ],
    )
    def test_what_makes_no_sense_fr111(self, tmp_path, text, why):
        with pytest.raises(Refused, match=r"\[FR111\] the device specification is not valid") as caught:
            self.pretend(tmp_path, text)
        assert why in str(caught.value)

    def test_a_file_that_is_no_text(self, tmp_path):
        (tmp_path / "host.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(Refused, match="FR111"):
            devices.pretend(tmp_path / "host.toml")

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(Refused, match=r"\[FR111\] cannot read"):
            devices.pretend(tmp_path / "host.toml")


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

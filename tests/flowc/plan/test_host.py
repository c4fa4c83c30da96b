"""Whether a host could run a node at all. What a file may say is tested where `flowrun` reads it."""

import pytest

from flowc.plan.host import GpuGroup, Host, lacking, read
from flowc.plan.model import Resources

HOST = Host(8, 1000, (GpuGroup(2, "small", 100), GpuGroup(1, "large", 500)))


@pytest.mark.parametrize(
    ("needs", "missing"),
    [
        (Resources(), ""),
        (Resources(cpus=8, memory_mb=1000, gpus=3, gpu_memory_mb=100), ""),
        (Resources(gpus=1, gpu_memory_mb=500, gpus_max=8), ""),
        (Resources(cpus=8.5), "8.5 CPUs, and there are 8"),
        (Resources(memory_mb=1001), "1001 MB of memory, and there are 1000"),
        (Resources(gpus=4), "4 GPUs, and there are 3"),
        (Resources(gpus=2, gpu_memory_mb=101), "2 GPUs with 101 MB, and there are 1"),
    ],
)
def test_what_is_missing(needs, missing):
    assert lacking(needs, HOST) == missing


def test_a_file(tmp_path):
    path = tmp_path / "host.toml"
    path.write_text("cpus = 0.5\nmemory_mb = 10\n[[gpus]]\ncount = 3\n")
    assert read(path) == Host(0.5, 10, (GpuGroup(3),))

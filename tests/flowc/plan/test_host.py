"""Whether a host could run a node at all, and what could run on it instead."""

import msgspec
import pytest

from flowc.plan.host import Capacity, Gpu, is_model, lack, lacking, nearest, nearest_host, visible_gpus
from flowc.plan.model import Resources

SMALL, LARGE = ("A100 40GB", 100), ("NVIDIA H100 80GB HBM3", 500)
GPUS = tuple(Gpu(i, *kind, link) for i, (kind, link) in enumerate([(SMALL, 1), (SMALL, 1), (LARGE, 0)]))
HOST = Capacity(8, 1000, GPUS, (("licence", 2),))
H100, A100 = ("H100",), ("A100",)


@pytest.mark.parametrize(
    "needs",
    [
        Resources(),
        Resources(cpus=8, memory_mb=1000, gpus=3, gpu_memory_mb=100),
        Resources(gpus=1, gpu_memory_mb=500, gpus_max=8),
        Resources(gpus=1, gpu_models=H100),
        Resources(gpus=3, gpu_models=("A100", "H100")),
        Resources(gpus=2, linked=True),
        Resources(gpus=1, gpu_memory_mb=500, linked=True),
        Resources(uses=(("licence", 2),)),
    ],
)
def test_what_fits(needs):
    assert lack(needs, HOST) is None
    assert lacking(needs, HOST) == nearest(needs, HOST) == ""
    assert nearest_host(needs, [Capacity(1, 1), HOST]) is None or needs == Resources()


@pytest.mark.parametrize(
    ("needs", "missing", "instead"),
    [
        (Resources(cpus=8.5), "8.5 CPUs, and there are 8", "cpus=8"),
        (Resources(memory_mb=1001), "1001 MB of memory, and there are 1000", 'memory="1000MB"'),
        (Resources(gpus=4), "4 GPUs, and there are 3", "gpus=3"),
        (Resources(gpus=4, gpus_max=8), "4 GPUs, and there are 3", "gpus=3"),
        (Resources(gpus=2, gpu_memory_mb=101), "2 GPUs with 101 MB, and there are 1", "gpus=1"),
        (Resources(gpus=1, gpu_memory_mb=501), "1 GPU with 501 MB, and there are 0", 'gpu_memory="500MB"'),
        (
            Resources(gpus=2, gpu_models=H100),
            "2 GPUs of H100, and there are 1 (the host has 2 x A100 40GB, 1 x NVIDIA H100 80GB HBM3)",
            "gpus=1",
        ),
        (
            Resources(gpus=1, gpu_models=("T4",)),
            "1 GPU of T4, and there are 0 (the host has 2 x A100 40GB, 1 x NVIDIA H100 80GB HBM3)",
            'gpu="A100 40GB"',
        ),
        (
            Resources(gpus=2, gpu_models=A100, gpu_memory_mb=101),
            "2 GPUs of A100 with 101 MB, and there are 0",
            'gpu_memory="100MB"',
        ),
        (Resources(gpus=3, linked=True), "3 GPUs that are linked, and there are 2 together", "gpus=2"),
        (Resources(uses=(("licence", 3),)), "3 of `licence`, and there are 2", 'uses={"licence": 2}'),
        (Resources(uses=(("seat", 1),)), "1 of `seat`, and there are 0", "uses={}"),
        (Resources(9, 2000, 4), "9 CPUs, and there are 8", 'cpus=8, memory="1000MB", gpus=3'),
    ],
)
def test_what_is_missing_and_the_nearest_that_fits(needs, missing, instead):
    assert lacking(needs, HOST) == missing
    assert nearest(needs, HOST) == instead
    assert nearest_host(needs, [HOST]) == 0


def test_of_several_hosts_the_nearest():
    bare = Capacity(8, 1000)
    wanted = Resources(gpus=2, gpu_memory_mb=400)
    assert nearest_host(wanted, [bare, bare, HOST, bare]) == 2
    assert nearest_host(msgspec.structs.replace(wanted, gpus=1), [bare, HOST]) is None
    assert nearest_host(Resources(cpus=20), [Capacity(4, 1), Capacity(16, 1), Capacity(16, 1)]) == 1


@pytest.mark.parametrize(
    ("name", "model", "same"),
    [
        ("NVIDIA H100 80GB HBM3", "H100", True),
        ("NVIDIA H100 80GB HBM3", "h100-80gb", True),
        ("NVIDIA H100 80GB HBM3", "H10", False),
        ("NVIDIA A100-SXM4-80GB", "A10", False),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB", False),
        ("NVIDIA GeForce RTX 4090", "RTX 4090", True),
        ("V100M16", "V100M32", False),
    ],
)
def test_a_model_is_words_in_a_row(name, model, same):
    assert is_model(name, model) is same


@pytest.mark.parametrize(
    ("setting", "places"),
    [(None, [0, 1, 2]), ("2, 0", [2, 0]), ("GPU-b,1", [2, 1]), ("", []), ("1,9,0", [1]), ("GPU-a", [])],
)
def test_gpus_are_visible_in_the_order_in_which_cuda_numbers_them(setting, places):
    assert visible_gpus([(0, "GPU-aa"), (1, "GPU-ab"), (2, "GPU-b")], setting) == places

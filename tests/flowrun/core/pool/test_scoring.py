"""What is left of use to typical requests, by hand."""

import pytest

from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Gpu, Placement
from flowrun.core.pool.hosts import Kind, thousandths
from flowrun.core.pool.requests import request_of
from flowrun.core.pool.scoring import ONE_WHOLE, Demand, tightness, typical_of, useful

HOST = Kind(0, Capacity(8, 100, tuple(Gpu(i, "T4", 16) for i in range(3))))


def free(cpus=8, memory=100, gpus=(16, 16, 16)):
    return HOST.empty._replace(cpus=cpus * 1000, memory_mb=memory, gpus=gpus)


@pytest.mark.parametrize(
    ("state", "demand", "mb"),
    [
        (free(), Demand(1, 0, (), ((0, 0, 1),)), 48),
        (free(), Demand(1, 0, (), ((0, 0, 3),)), 144),  # by weight
        (free(gpus=(-1, 10, 16)), Demand(1, 0, (), ((0, 0, 1),)), 16),  # whole ones only
        (free(gpus=(-1, 10, 16)), Demand(1, 8, (), ((0, 0, 1),)), 26),
        (free(gpus=(-1, 10, 16)), Demand(1, 11, (), ((0, 0, 1),)), 16),
        (free(gpus=(-1, 10, 16)), Demand(2, 0, (), ((0, 0, 1),)), 0),  # fewer than it needs
        (free(cpus=5), Demand(1, 0, (), ((2000, 0, 1),)), 32),  # CPUs for two
        (free(cpus=5), Demand(2, 0, (), ((4000, 0, 1),)), 32),  # the same for each GPU
        (free(cpus=1), Demand(1, 0, (), ((2000, 0, 1),)), 0),
        (free(memory=40), Demand(1, 4, (), ((0, 40, 1),)), 16),
        (free(), Demand(1, 0, ("H100",), ((0, 0, 1),)), 0),  # of no such model
        (free(cpus=5), Demand(1, 0, (), ((2000, 0, 1), (0, 0, 1))), 80),
    ],
)
def test_useful(state, demand, mb):
    assert useful(HOST, state, (demand,)) == mb


def test_a_request_weighs_as_often_as_it_comes_per_gpu():
    found = typical_of({Resources(gpus=2): 6, Resources(gpus=1, gpu_memory_mb=4): 1, Resources(): 9}, 16)
    assert {(of.gpus, of.gpu_memory_mb): of.those[0][2] for of in found} == {(2, 0): 3e6, (1, 4): 4e6}
    assert typical_of({Resources(): 9}, 16) == ONE_WHOLE


def test_tightness_is_the_weighed_share_that_is_left():
    request = request_of(Resources(4, 50, 1))
    assert tightness(HOST, HOST.empty, request) == pytest.approx(1 - (0.3 / 2 + 0.3 / 2 + 0.4 * 2 / 3))


@pytest.mark.parametrize(
    ("cpus", "whole"), [(0, 0), (1, 1000), (0.1 + 0.2, 300), (3.152, 3152), (0.0001, 1), (1e9, 10**12)]
)
def test_cpus_are_counted_in_thousandths(cpus, whole):
    assert thousandths(cpus) == whole


def test_of_gpus_that_are_alike_it_does_not_matter_which():
    gpus = tuple(Gpu(i, name, 16) for i, name in enumerate(["T4", "A2", "T4"]))
    kind = Kind(0, Capacity(1, 1, gpus))
    one, other = (kind.after(kind.empty, Placement(0, 0, (gpu,), 4), -1) for gpu in (0, 2))
    assert one != other
    assert kind.sorted(one) == kind.sorted(other)
    assert kind.sorted(one) != kind.sorted(kind.after(kind.empty, Placement(0, 0, (1,), 4), -1))

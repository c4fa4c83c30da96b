"""Requests that are larger than a host: on several at once, all or nothing."""

import random

import pytest

from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Gpu, Placement, Rejected
from flowrun.core.pool import Pool, can_ever_fit


def host(gpus=8, cpus=64, memory=800, link=0):
    return Capacity(cpus, memory, tuple(Gpu(i, "H100", 80, link) for i in range(gpus)))


def shape(placement):
    """Host and number of GPUs of each part."""
    return [(part.host, len(part.gpus)) for part in (placement, *placement.parts)]


def test_it_takes_whole_hosts_with_cpus_and_memory_in_proportion():
    placed = Pool([host()] * 3).place(Resources(96, 1200, 16, hosts_max=2))
    assert shape(placed) == [(0, 8), (1, 8)]
    assert [(part.cpus, part.memory_mb) for part in (placed, *placed.parts)] == [(48, 600), (48, 600)]


def test_the_rest_goes_where_it_is_tightest():
    pool = Pool([host(), host(4), host(), host(6)])
    assert shape(pool.place(Resources(0, 0, 12, hosts_max=4))) == [(0, 8), (1, 4)]
    assert shape(pool.place(Resources(0, 0, 16, hosts_max=4))) == [(0, 8), (2, 8)]
    assert shape(pool.place(Resources(0, 0, 21, hosts_max=4))) == [(0, 8), (2, 8), (3, 5)]


def test_where_the_fewest_gpus_are_left_that_nobody_can_use():
    pool = Pool([host(), host(4, cpus=4), host(8)])
    pool.take(Placement(0, 0, (2, 3, 4, 5, 6, 7), host=2))
    assert shape(pool.place(Resources(20, 0, 10, hosts_max=2))) == [(0, 8), (2, 2)]


def test_a_gpu_of_which_a_little_is_left_could_be_used():
    pool = Pool([host(), host(4), host(4, cpus=32)])
    pool.take(Placement(0, 0, (2, 3), 79, host=1))
    pool.take(Placement(0, 0, (2, 3), 80, host=2))
    assert shape(pool.place(Resources(0, 0, 10, hosts_max=2))) == [(0, 8), (2, 2)]


def test_what_fits_a_host_is_not_spread():
    assert Pool([host(), host()]).place(Resources(0, 0, 8, hosts_max=2)).parts == ()


def test_what_needs_no_gpus_is_not_spread():
    assert Pool([host(), host()]).place(Resources(65, hosts_max=2)) == Rejected("cpus", 65, 64)


def test_only_over_as_many_hosts_as_it_allows():
    pool = Pool([host()] * 4)
    assert pool.place(Resources(0, 0, 24)) == Rejected("gpus", 24, 8)
    assert pool.place(Resources(0, 0, 24, hosts_max=2)) == Rejected("gpus", 24, 16)
    assert can_ever_fit(Resources(0, 0, 33, hosts_max=9), *[host()] * 4) == Rejected("gpus", 33, 32)
    assert can_ever_fit(Resources(0, 0, 32, hosts_max=4), *[host()] * 4) is None


def test_hosts_with_too_few_cpus_have_less_room():
    pool = Pool([host(cpus=4), host()])
    assert shape(pool.place(Resources(10, 0, 10, hosts_max=2))) == [(1, 8), (0, 2)]
    assert pool.place(Resources(26, 0, 13, hosts_max=2)) == Rejected("gpus", 13, 10)


def test_hosts_on_which_more_is_held_than_there_is_have_none():
    """For a moment, as others were quicker to take memory."""
    pool = Pool([host(), host(), host(6)])
    pool.take(Placement(0, 600, host=0))
    pool.take(Placement(0, 300, host=0))
    assert shape(pool.place(Resources(0, 0, 14, hosts_max=2))) == [(1, 8), (2, 6)]
    assert pool.place(Resources(0, 0, 15, hosts_max=3)) == Rejected("gpus", 15, 14)


def test_named_resources_are_held_on_each_host_but_shared_ones_once():
    hosts = [Capacity(8, 8, host().gpus, (("disk", 1),))] * 2
    pool = Pool(hosts, shared={"licence": 1})
    placed = pool.place(Resources(0, 0, 16, uses=(("disk", 1), ("licence", 1)), hosts_max=2))
    pool.take(placed)
    assert pool.shared == {"licence": 0}
    assert [pool.left(number).resources for number in (0, 1)] == [(("disk", 0),)] * 2
    pool.give_back(placed)
    assert pool.shared == {"licence": 1}
    assert [pool.left(number) for number in (0, 1)] == hosts


@pytest.mark.parametrize("seed", range(20))
def test_gangs_hold_what_they_asked_for_and_give_it_back(seed):
    source = random.Random(seed)
    hosts = [host(source.choice([2, 4, 8]), link=source.choice([0, 1])) for _ in range(8)]
    pool, held = Pool(hosts), []
    for _ in range(150):
        gpus = source.choice([1, 2, 6, 12, 20])
        needs = Resources(
            gpus * 2, gpus * 10, gpus, source.choice([0, 0, 40]), hosts_max=source.choice([1, 4])
        )
        placed = pool.place(needs)
        if isinstance(placed, Placement):
            parts = (placed, *placed.parts)
            assert sum(len(part.gpus) for part in parts) == gpus
            assert sum(part.cpus for part in parts) == pytest.approx(needs.cpus)
            assert len({part.host for part in parts}) == len(parts) <= needs.hosts_max
            pool.take(placed)
            held.append(placed)
        elif held:
            pool.give_back(held.pop(source.randrange(len(held))))
        left = [pool.left(number) for number in range(8)]
        assert all(capacity.cpus >= 0 and capacity.memory_mb >= 0 for capacity in left)
    for placed in held:
        pool.give_back(placed)
    assert [pool.left(number) for number in range(8)] == hosts


def test_on_each_host_the_fullest_gpus_that_do():
    pool = Pool([Capacity(4, 0, (Gpu(0, "A100", 80), Gpu(1, "H100", 80)))] * 2)
    for number in (0, 1):
        pool.take(Placement(0, 0, (1,), 40, host=number))
    gang = pool.place(Resources(cpus=0, gpus=3, gpu_memory_mb=40, hosts_max=2))
    assert sorted(part.gpus for part in (gang, *gang.parts)) == [(0, 1), (1,)]

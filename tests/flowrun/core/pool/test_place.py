"""Packing: what fits where, and why something does not."""

import pytest
from graphs import host

from flowc.plan.model import Resources
from flowrun.core.model import Placement, Rejected
from flowrun.core.pool import Pool, can_ever_fit


def needs(cpus=0, memory=0, gpus=0, gpu_memory=0):
    return Resources(cpus, memory, gpus, gpu_memory)


def gpu_memory(pool):
    return [gpu.memory_mb for gpu in pool.left().gpus]


class TestCpusAndMemory:
    def test_a_task_is_placed_with_what_it_needs(self):
        assert Pool([host(cpus=2, memory=100)]).place(needs(1.5, 60)) == Placement(1.5, 60)

    def test_exactly_all_of_it_fits(self):
        assert Pool([host(cpus=2, memory=100)]).place(needs(2, 100)) == Placement(2, 100)

    def test_nothing_at_all_fits_a_full_host(self):
        pool = Pool([host(cpus=1, memory=10)])
        pool.take(Placement(1, 10))
        assert pool.place(needs(0)) == Placement(0)

    @pytest.mark.parametrize(
        ("wanted", "answer"),
        [
            (needs(cpus=1.5), Rejected("cpus", 1.5, 1)),
            (needs(memory=41), Rejected("memory", 41, 40)),
            (needs(cpus=3, memory=41), Rejected("cpus", 3, 1)),
        ],
    )
    def test_what_is_held_is_not_there(self, wanted, answer):
        pool = Pool([host(cpus=2, memory=100)])
        pool.take(Placement(1, 60))
        assert pool.place(wanted) == answer

    def test_give_back_restores(self):
        pool = Pool([host(cpus=2, memory=100)])
        held = pool.place(needs(2, 100))
        pool.take(held)
        pool.give_back(held)
        left = pool.left()
        assert (left.cpus, left.memory_mb) == (2, 100)

    def test_rounding_of_fractions_is_forgiven(self):
        pool = Pool([host(cpus=2)])
        for _ in range(2):
            pool.take(Placement(0.1))
        assert pool.left().cpus == 1.8
        assert pool.place(needs(1.8)) == Placement(1.8)
        assert isinstance(pool.place(needs(1.81)), Rejected)


class TestGpus:
    def test_without_declared_memory_a_gpu_is_held_whole(self):
        pool = Pool([host(gpus=[16000, 16000])])
        pool.take(pool.place(needs(gpus=1)))
        assert pool.place(needs(gpus=1)) == Placement(0, 0, (1,))
        assert pool.place(needs(gpus=2)) == Rejected("gpus", 2, 1)

    def test_a_whole_one_is_not_shared_afterwards(self):
        pool = Pool([host(gpus=[16000])])
        pool.take(pool.place(needs(gpus=1)))
        assert pool.place(needs(gpus=1, gpu_memory=1)) == Rejected("gpus", 1, 0)

    def test_a_shared_one_is_not_given_whole(self):
        pool = Pool([host(gpus=[16000])])
        pool.take(pool.place(needs(gpus=1, gpu_memory=1)))
        assert pool.place(needs(gpus=1)) == Rejected("gpus", 1, 0)

    def test_a_gpu_is_shared_up_to_its_memory(self):
        pool = Pool([host(gpus=[16000])])
        for _ in range(2):
            pool.take(pool.place(needs(gpus=1, gpu_memory=8000)))
        assert gpu_memory(pool) == [0]
        assert pool.place(needs(gpus=1, gpu_memory=1)) == Rejected("gpus", 1, 0)

    def test_sharing_fills_the_fullest_first(self):
        pool = Pool([host(gpus=[16000, 16000, 16000])])
        pool.take(Placement(0, 0, (1,), 8000))
        assert pool.place(needs(gpus=1, gpu_memory=8000)).gpus == (1,)
        assert pool.place(needs(gpus=1, gpu_memory=8001)).gpus == (0,)

    def test_whole_ones_take_the_smallest_that_does(self):
        assert Pool([host(gpus=[16000, 8000, 24000])]).place(needs(gpus=1)).gpus == (1,)

    def test_several_are_named_in_order(self):
        assert Pool([host(gpus=[16000, 12000, 8000])]).place(needs(gpus=2)).gpus == (1, 2)

    def test_memory_is_held_on_each(self):
        pool = Pool([host(gpus=[10, 20, 30])])
        pool.take(pool.place(needs(gpus=2, gpu_memory=15)))
        assert gpu_memory(pool) == [10, 5, 15]

    def test_give_back_restores_shared_and_whole(self):
        pool = Pool([host(gpus=[10, 20])])
        shared, whole = Placement(0, 0, (0,), 4), Placement(0, 0, (1,))
        for held in (shared, whole):
            pool.take(held)
        for held in (shared, whole):
            pool.give_back(held)
        assert gpu_memory(pool) == [10, 20]
        assert pool.place(needs(gpus=2)).gpus == (0, 1)

    def test_gpus_keep_the_numbers_of_the_host(self):
        capacity = host(gpus=[10, 20, 30])
        visible = type(capacity)(2, 100, capacity.gpus[1:])
        assert Pool([visible]).place(needs(gpus=2)).gpus == (1, 2)

    def test_one_of_unknown_memory_is_still_held_whole(self):
        pool = Pool([host(gpus=[0])])
        held = pool.place(needs(gpus=1))
        pool.take(held)
        assert pool.place(needs(gpus=1)) == Rejected("gpus", 1, 0)
        pool.give_back(held)
        assert pool.place(needs(gpus=1)) == held


class TestCanEverFit:
    HOST = host(cpus=4, memory=1000, gpus=[24000, 10000, 5000])

    @pytest.mark.parametrize(
        "wanted", [needs(4, 1000, 3), needs(gpus=1, gpu_memory=24000), needs(gpus=2, gpu_memory=10000)]
    )
    def test_on_the_empty_host_it_does(self, wanted):
        assert can_ever_fit(wanted, self.HOST) is None

    @pytest.mark.parametrize(
        ("wanted", "sentence"),
        [
            (needs(cpus=4.5), "cpus: needs 4.5, has 4"),
            (needs(memory=1001), "memory: needs 1001 MB, has 1000 MB"),
            (needs(gpus=4), "gpus: needs 4, has 3"),
            (needs(gpus=1, gpu_memory=24001), "gpu memory: needs 24001 MB, has 24000 MB"),
            # The second largest is what is too small, not the largest.
            (needs(gpus=2, gpu_memory=20000), "gpu memory: needs 20000 MB, has 10000 MB"),
            (needs(gpus=3, gpu_memory=20000), "gpu memory: needs 20000 MB, has 10000 MB"),
            (needs(gpus=3, gpu_memory=10000), "gpu memory: needs 10000 MB, has 5000 MB"),
        ],
    )
    def test_never_and_why(self, wanted, sentence):
        assert str(can_ever_fit(wanted, self.HOST)) == sentence

    def test_a_gpu_where_there_is_none(self):
        assert str(can_ever_fit(needs(gpus=1, gpu_memory=10), host())) == "gpus: needs 1, has 0"

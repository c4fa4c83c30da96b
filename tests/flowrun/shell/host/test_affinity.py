import os
import random
import threading

import pytest

from flowrun.shell.host import affinity
from flowrun.shell.host.affinity import Cpus, Where, choose, topology

# Two caches of four cores with two threads each: core 0 is CPUs 0 and 8, core 1 is 1 and 9, ...
TWO_CACHES = {cpu: Where((cpu % 8) // 4 * 4, cpu % 8) for cpu in range(16)}
PLAIN = {cpu: Where(0, cpu) for cpu in range(8)}


class TestChoosing:
    @pytest.mark.parametrize(
        ("wanted", "taken", "chosen"),
        [
            (1, [], (0,)),
            (2, [], (0, 1)),
            (4, [], (0, 1, 2, 3)),
            (6, [], (0, 1, 2, 3, 8, 9)),  # second threads last, rather than across caches
            (8, [0], (4, 5, 6, 7, 12, 13, 14, 15)),
            (2, [0, 1, 2, 3, 8], (9, 10)),  # the second cache stays whole for who wants more
            (1, [0], (1,)),  # not the second thread of a core that is at work
            (1, [0, 1, 2], (3,)),
            (9, [], (0, 1, 2, 3, 4, 8, 9, 10, 11)),
            (17, [], ()),
            (0, [], ()),
        ],
    )
    def test_near_each_other_and_on_idle_cores(self, wanted, taken, chosen):
        assert choose(wanted, {*TWO_CACHES} - {*taken}, TWO_CACHES) == chosen

    def test_what_is_chosen_is_free_and_as_much_as_wanted(self):
        rng = random.Random(1)
        for _ in range(500):
            free = set(rng.sample(range(16), rng.randrange(17)))
            wanted = rng.randrange(1, 17)
            found = choose(wanted, free, TWO_CACHES)
            assert set(found) <= free
            assert len(set(found)) == len(found) == (wanted if wanted <= len(free) else 0)


def cpus(capacity=8.0, **of):
    return Cpus(capacity, range(8), lambda ids: {cpu: PLAIN[cpu] for cpu in ids}, **of)


class TestTaking:
    def test_whole_ones_are_their_own(self):
        held = cpus()
        assert held.take("a", 2) == (0, 1)
        assert held.take("b", 1) == (2,)
        held.give_back("a")
        assert held.take("c", 3.0) == (0, 1, 3)

    def test_fractions_share(self):
        held = cpus()
        assert held.take("a", 0.5) == held.take("b", 0.5) == (0,)
        assert held.take("c", 1) == (1,)
        assert held.take("d", 0.5) == (0, 2)
        held.give_back("a")
        held.give_back("b")
        assert held.take("e", 1) == (0,)
        assert held.take("f", 0.25) == (2,)

    def test_all_can_be_taken_in_any_order(self):
        """Requests that fit in sum always find CPUs of their own."""
        rng = random.Random(2)
        for _ in range(200):
            held, inside, load = cpus(), {}, 0
            for step in range(60):
                wanted = rng.choice([1, 2, 3, 0.5, 0.25, 1.5])
                if load + wanted <= 8:
                    inside[step] = wanted
                    load += wanted
                    got = held.take(step, wanted)
                    assert len(got) >= wanted
                elif inside:
                    gone = rng.choice(list(inside))
                    load -= inside.pop(gone)
                    held.give_back(gone)

    def test_on_a_host_that_pretends_the_kernel_chooses(self):
        assert cpus(capacity=9).take("a", 1) == ()
        assert cpus(capacity=7.5).take("a", 1) == (0,)

    def test_who_asks_for_nothing_may_run_anywhere(self):
        assert cpus().take("a", 0) == ()

    def test_where_others_are_already_the_rest_is_ours(self):
        held = cpus(reserve=lambda cpu: cpu >= 5)
        assert held.take("a", 2) == (5, 6)
        assert held.take("b", 2) == ()  # there are not enough: the kernel may put it where it likes
        assert held.take("c", 1) == (7,)
        held.give_back("b")
        held.give_back("nobody")

    def test_the_host_is_looked_at_when_it_is_needed(self):
        def never(ids):
            raise AssertionError

        Cpus(8, range(8), never)
        assert Cpus(99, range(8), never).take("a", 1) == ()


class TestTopology:
    def test_as_the_kernel_tells(self, tmp_path):
        for cpu, core, cache in ((0, "0,2", "0-3"), (1, "1,3", "0-3"), (4, "4-5", "4-5")):
            for name, text in (("topology/core_cpus_list", core), ("cache/index3/shared_cpu_list", cache)):
                path = tmp_path / f"cpu{cpu}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text + "\n")
        assert topology(range(6), tmp_path) == {
            0: Where(0, 0),
            1: Where(0, 1),
            2: Where(0, 0),
            3: Where(0, 1),
            4: Where(4, 4),
            5: Where(4, 4),
        }

    def test_without_a_word_from_the_kernel_each_is_alone(self, tmp_path):
        assert topology([3, 5], tmp_path) == {3: Where(3, 3), 5: Where(5, 5)}

    def test_of_this_machine(self):
        ours = os.sched_getaffinity(0)
        assert topology(ours).keys() >= ours


def test_all_threads_of_a_process_are_held():
    before = os.sched_getaffinity(0)
    done, seen = threading.Event(), []
    thread = threading.Thread(target=lambda: (done.wait(), seen.append(os.sched_getaffinity(0))))
    thread.start()
    try:
        affinity.run_on((min(before),), before)
        done.set()
        thread.join()
        assert os.sched_getaffinity(0) == seen[0] == {min(before)}
    finally:
        affinity.run_on((), before)
    assert os.sched_getaffinity(0) == before

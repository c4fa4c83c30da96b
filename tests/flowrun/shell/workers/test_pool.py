"""Attempts go into a pool of real workers, and what came of them comes out."""

import os
import sys
import time

import psutil
import pytest

from flowrun.shell.workers.descendants import descendants
from flowrun.shell.workers.messages import Spawn


class TestResults:
    def test_a_value(self, bench):
        ended = bench.run("add", a=2, b=3)
        assert bench.value(ended) == 5
        assert (ended.node, ended.attempt) == ("node", 1)

    def test_arguments_from_artifacts_with_paths(self, bench):
        stored = bench.store.put({"parts": [10, 20]})
        trees = {"a": {"artifact": stored.source, "at": ["parts", 1]}, "b": {"value": 1}}
        bench.pool.spawn(Spawn("node", 1, "ops:add", "c0de", trees, 1, None))
        assert bench.value(*bench.ends()) == 21

    @pytest.mark.parametrize("isolation", ["warm", "fork"])
    def test_many_at_once(self, bench, isolation):
        for n in range(30):
            bench.spawn("add", node=f"n{n}", isolation=isolation, a=n)
        results = {ended.node: bench.value(ended) for ended in bench.ends(30)}
        assert results == {f"n{n}": n + 1 for n in range(30)}

    def test_an_order_larger_than_a_socket_takes(self, bench):
        assert bench.value(bench.run("add", a="x" * 3_000_000, b="y")) == "x" * 3_000_000 + "y"

    def test_an_operator_may_close_its_output(self, bench):
        assert bench.value(bench.run("shuts_up")) == 7
        assert bench.value(bench.run("shuts_up", node="next")) == 7


class TestDevices:
    def test_a_host_without_gpus_leaves_the_setting_alone(self, bench):
        found = bench.value(bench.run("environment"))
        assert found == {
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "OMP_NUM_THREADS": "1",
        }

    @pytest.mark.parametrize(("gpus", "setting"), [((), ""), ((2,), "2"), ((0, 3), "0,3")])
    def test_a_worker_sees_what_it_holds(self, bench, gpus, setting):
        found = bench.value(bench.run("environment", gpus=gpus))
        assert found["CUDA_VISIBLE_DEVICES"] == setting

    def test_a_gpu_is_free_only_when_the_process_is_gone(self, bench):
        """A process that ends slowly: what it started has to be ended first."""
        for n in range(5):
            ended = bench.run("pid", node=f"n{n}", gpus=(0,))
            assert not psutil.pid_exists(bench.value(ended))


class TestIsolation:
    def pids(self, bench, count=4, **settings):
        return {bench.value(bench.run("pid", node=f"n{n}", **settings)) for n in range(count)}

    def test_warm_workers_take_one_node_after_the_other(self, bench):
        assert len(self.pids(bench)) == 1

    def test_by_the_number_of_threads_that_their_libraries_have_set_up(self, bench):
        (one,), (two,) = self.pids(bench, cpus=1), self.pids(bench, cpus=2)
        assert one != two
        assert self.pids(bench, cpus=1) == {one}

    @pytest.mark.parametrize("settings", [{"isolation": "fork"}, {"gpus": (0,)}])
    def test_others_take_one_only(self, bench, settings):
        assert len(self.pids(bench, **settings)) == 4

    def test_a_fresh_interpreter_has_loaded_nothing(self, bench):
        forked = bench.value(bench.run("looks", at="len(sys.modules)", isolation="fork"))
        found = bench.value(bench.run("looks", at="(len(sys.modules), os.getcwd())", isolation="fresh"))
        assert int(forked) > 0
        assert str(bench.folder / "work") in found
        assert len(self.pids(bench, 2, isolation="fresh")) == 2

    def test_not_more_are_idle_than_there_are_cpus(self, bench):
        for n in range(12):
            bench.spawn("changes", node=f"n{n}", what="time.sleep(0.05)")
        bench.ends(12)
        bench.run("add", a=1)
        kept = os.cpu_count() + 1  # and perhaps one that was forked ahead
        deadline = time.monotonic() + 10
        while len(descendants(bench.pool.zygote)) > kept and time.monotonic() < deadline:
            bench._readiness.wait(20)
        assert len(descendants(bench.pool.zygote)) <= kept


def test_the_tests_process_has_not_imported_the_operators(bench):
    bench.run("add", a=1)
    assert "ops" not in sys.modules

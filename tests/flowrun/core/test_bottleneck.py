"""What the time of a run went into."""

import graphs
import pytest
from predicting import played

from flowrun.core.bottleneck import findings


def found(text, times=None, **options):
    return findings(played(text, times, **options).timeline)


def test_the_chain_that_decides_the_end():
    result = found("a\nb < a\nc < a\nd < b c", {"b": 300, "c": 20}, on=graphs.host(cpus=4))
    assert result.chain == ("a", "b", "d")
    assert result.parts == {"running": 500}
    assert (result.makespan_ms, result.longest_path_ms, result.bound_ms) == (500, 500, 500)


def test_the_parts_of_the_chain_sum_up_to_the_makespan():
    text = "\n".join(f"n[{i}] cpus=1" for i in range(7)) + "\nlast < n[5]"
    result = found(text, on=graphs.host(cpus=2), start_ms=10, fork_ms=3)
    assert sum(result.parts.values()) == result.makespan_ms
    assert set(result.parts) == {"running", "starting", "cpus"}


def test_what_nodes_wait_for():
    host = graphs.host(cpus=2, memory=100, gpus=[10])
    assert found("a gpus=1\nb gpus=1", on=host).held_back == {"gpus": 100}
    both = found("a gpus=1\nb gpus=1", on=graphs.host(cpus=1, gpus=[10]))
    assert (both.held_back, both.parts) == ({"gpus": 100, "cpus": 100}, {"running": 100, "gpus": 100})
    assert found("a memory=60\nb memory=60", on=host).held_back == {"memory": 100}
    assert found("a\nb\nc", on=host).held_back == {"cpus": 100}


def test_work_over_capacity_is_a_bound():
    result = found("\n".join(f"n[{i}] cpus=2" for i in range(5)), on=graphs.host(cpus=4, memory=100))
    assert result.work_ms == {"cpus": 250, "memory": 0}
    assert result.bound_ms == 250
    assert result.makespan_ms == 300
    assert result.use["cpus"] == pytest.approx(1000 / (4 * 300))


def test_gpus_that_are_shared():
    result = found("a gpus=1 gpu_memory=5\nb gpus=1 gpu_memory=5", on=graphs.host(cpus=2, gpus=[10, 10]))
    assert result.gpu_use == (1.0, 0.0)
    assert result.use["gpus"] == 0.5


def test_through_loops_and_branches():
    text = "a\nm control=map < a\nb control=branch < a\nc when=b\nz < m c"
    result = found(text, {"m": 500}, assume={"m": 2}, on=graphs.host(cpus=9))
    assert result.chain == ("a", "m[0]", "z")
    assert result.longest_path_ms == 700


def test_nothing_ran():
    result = found("")
    assert (result.makespan_ms, result.chain, result.bound_ms) == (0, (), 0)

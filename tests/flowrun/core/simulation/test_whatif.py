"""Other hosts."""

import graphs
from predicting import played

from flowrun.core.simulation.whatif import least, sweep, with_amount

WIDE = "\n".join(f"n[{i}] cpus=1" for i in range(12))
GPUS = "\n".join(f"n[{i}] cpus=2 gpus=1 memory=10" for i in range(12))
HOUR = 3_600_000


def play(times=None):
    return lambda plan, capacity: played(plan, times, on=capacity).timeline


def test_amounts():
    host = graphs.host(cpus=2, gpus=[10, 20])
    assert with_amount(host, "cpus", 7).cpus == 7
    assert with_amount(host, "memory", 7).memory_mb == 7
    gpus = with_amount(host, "gpus", 3).gpus
    assert [(gpu.index, gpu.memory_mb) for gpu in gpus] == [(0, 10), (1, 20), (2, 10)]
    assert len(with_amount(graphs.host(), "gpus", 2).gpus) == 2


def test_a_sweep_tells_where_more_stops_paying():
    found = sweep(graphs.plan(WIDE), graphs.host(), "cpus", [12, 1, 4, 16], play())
    times = [(point.amount, point.findings.makespan_ms) for point in found.points]
    assert times == [(1, 1200), (4, 300), (12, 100), (16, 100)]
    assert found.enough.amount == 12


def test_a_host_that_could_not_run_it_is_told():
    found = sweep(graphs.plan("a gpus=2"), graphs.host(gpus=[1]), "gpus", [1, 2], play())
    assert [point.refusal for point in found.points] == ["`a` can never run: gpus: needs 2, has 1", ""]
    assert found.enough is None


def deadline(text, host, ms, times=None):
    found = least(graphs.plan(text), host, ms, play(times))
    return [(reach.amounts, reach.makespan_ms) for reach in found.reaches]


def test_the_least_that_is_in_time():
    assert deadline(WIDE, graphs.host(cpus=1), 300) == [({"cpus": 4}, 300)]
    assert deadline(WIDE, graphs.host(cpus=1), 299) == [({"cpus": 6}, 200)]
    assert deadline(WIDE, graphs.host(cpus=1), HOUR) == [({"cpus": 1}, 1200)]


def test_one_dimension_alone_if_that_is_enough():
    host = graphs.host(cpus=12, gpus=[1])
    assert deadline(GPUS, host, 200) == [({"gpus": 6}, 200)]


def test_more_of_all_if_no_dimension_alone_is_enough():
    host = graphs.host(cpus=2, memory=20, gpus=[1])
    assert deadline(GPUS, host, 300) == [({"gpus": 4, "cpus": 8, "memory": 40}, 300)]


def test_no_number_is_enough():
    found = least(graphs.plan("a\nb < a"), graphs.host(), 150, play())
    assert (found.reaches, found.unlimited.makespan_ms, found.unlimited.chain) == ((), 200, ("a", "b"))

"""What operators took, from the changes of runs."""

import graphs

from flowc.plan.history import Module, Record, Runner
from flowrun.core.changes import Exited, Resolved, Start
from flowrun.core.history import Call, Loop, calls, loops, modules, runner, summarise
from flowrun.core.model import Artifact, Failure, Placement, Usage


def start(node, at_ms, attempt=1):
    return Start(at_ms, node, attempt, Placement(1), "key")


def done(node, at_ms, attempt=1, peak_mb=0):
    return Exited(at_ms, node, attempt, Artifact("hash", 1), usage=Usage(5, peak_mb))


def test_attempts_that_succeeded_count():
    plan = graphs.plan("load\nfit[a] < load\nfit[b] < load")
    failed = Exited(1200, "fit[a]", 1, failure=Failure("FR201", "no"))
    changes = [start("load", 0), done("load", 100, peak_mb=7), start("fit[a]", 150), start("fit[b]", 200)]
    changes += [failed, done("fit[b]", 500), start("fit[a]", 2000, 2), done("fit[a]", 2001, 2)]
    assert calls(plan, changes) == [
        Call("flows:load", "c0de", 100, 7),
        Call("flows:fit", "c0de", 300, 0),
        Call("flows:fit", "c0de", 1, 0),
    ]


def test_the_calls_of_a_loop_count_for_its_operator():
    plan = graphs.plan("each op=ops:fit")
    assert calls(plan, [start("each[3]", 0), done("each[3]", 4)]) == [Call("ops:fit", "c0de", 4, 0)]


def test_a_clock_that_is_set_back():
    assert calls(graphs.plan("load"), [start("load", 50), done("load", 20)])[0].wall_ms == 0


def test_records():
    times = [5, 1, 2, 3, 4, 6, 10, 9, 8, 7]
    measured = [Call("ops:b", "c0", ms, ms) for ms in times] + [
        Call("ops:a", "c1", 4, 0),
        Call("ops:b", "", 3, 1),
    ]
    assert summarise(measured) == [
        Record("ops:a", "c1", 1, 4, 4, 0),
        Record("ops:b", "", 1, 3, 3, 1),
        Record("ops:b", "c0", 10, 5, 9, 10),
    ]
    assert summarise([]) == []


def test_gpu_memory():
    used = Usage(gpu_peak_mb=700)
    exited = Exited(9, "load", 1, Artifact("h", 1), usage=used)
    measured = calls(graphs.plan("load"), [start("load", 0), exited])
    assert [record.gpu_peak_mb for record in summarise([*measured, *measured])] == [700]


def test_own_times_imports_and_what_the_runner_adds():
    plan = graphs.plan("load\nfit < load")
    first = Exited(900, "load", 1, Artifact("h", 1), usage=Usage(5, 7, 100, {"torch": 700}))
    second = Exited(1000, "fit", 1, Artifact("h", 1), usage=Usage(5, 7, 60))
    measured = calls(plan, [start("load", 0), first, start("fit", 900), second])
    assert [call.start_ms for call in measured] == [100, 40]
    assert summarise(measured) == [
        Record("flows:fit", "c0de", 1, 100, 100, 7, 60, 60),
        Record("flows:load", "c0de", 1, 900, 900, 7, 100, 100),
    ]
    assert modules(measured) == [Module("torch", 1, 700)]
    assert runner(measured) == Runner(1, 40)  # loading may have begun before `load` was wanted
    assert runner(measured[:1]) == Runner(1, 100)
    # Of three that are wanted at once, one follows the other.
    threes = [start(f"fit[{i}]", 0) for i in range(3)]
    threes += [Exited(10 + 4 * i, f"fit[{i}]", 1, Artifact("h", 1), usage=Usage(wall_ms=1)) for i in range(3)]
    together = calls(graphs.plan("fit[0]\nfit[1]\nfit[2]"), threes)
    assert [(call.start_ms, call.queued) for call in together] == [(9, False), (4, True), (4, True)]
    assert runner(together) == Runner(3, 9, 4)
    assert runner([Call("ops:a", "c1", 4, 0)]) is None  # the log of an older version


def test_how_many_items_loops_had():
    plan = graphs.plan("a\nm control=map op=ops:fit < a\nb control=branch < a")
    changes = [Resolved(1, "m", ("x", "y")), Resolved(2, "b", truth=True)]
    assert loops(plan, changes) == [Loop("ops:fit", "c0de", 2)]
    (record,) = summarise([Call("ops:fit", "c0de", 4, 0)], loops(plan, changes))
    assert record.items == 2

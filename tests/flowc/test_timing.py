"""Times of passes, and the time limit. No test here waits for more than a fraction of a second."""

import signal
import time

import pytest

from flowc.compiler import Options, compiled
from flowc.plan.diagnostics import Refused
from flowc.source import load
from flowc.timing import Stopwatch, time_limit

ENDLESS = """
from ops import load, workflow

@workflow
def main():
    i = 0
    while True:
        {line}
        i += 1
"""


def test_laps():
    ticks = iter([0.0, 1.5, 2.0, 2.5])
    watch = Stopwatch(lambda: next(ticks))
    with watch.lap("trace"):
        assert watch.current == "trace"
    with watch.lap("check"):
        pass
    assert watch.laps == {"trace": 1.5, "check": 0.5}
    assert watch.table() == ("trace    1500.0 ms   75 %\ncheck     500.0 ms   25 %\nsum      2000.0 ms")


def test_the_passes_in_order(project):
    project.write("flow.py", "from ops import *\n@workflow\ndef main():\n    return load()\n")
    watch = Stopwatch(lambda: 0.0)
    compiled(load("flow.py:main").workflow, Options(), watch)
    assert list(watch.laps) == ["trace", "check", "simplify", "estimate", "levels"]


def refused_after(seconds, lap, work):
    """The refusal of some work that does not end."""
    watch = Stopwatch(time.perf_counter)

    def limited():
        with time_limit(seconds, watch):
            work(watch)

    with pytest.raises(Refused) as refusal:
        limited()
    (found,) = refusal.value.diagnostics
    assert found.code == "FC212"
    assert found.message.endswith(f"it was in the pass `{lap}`")
    return found


def refused_tracing():
    source = load("flow.py:main")  # outside of the limit: a busy machine may take long to import
    return refused_after(0.2, "trace", lambda watch: compiled(source.workflow, Options(), watch))


def test_an_endless_loop_that_makes_nodes(project):
    project.write("flow.py", ENDLESS.format(line='load(f"{i}")'))
    found = refused_tracing()
    assert found.labels[0].place.file == "flow.py"
    assert found.labels[0].place.line in (6, 7, 8)
    assert any("nodes of `load`, flow.py:7:9" in note for note in found.notes)


@pytest.mark.parametrize("caught", ["Exception", "BaseException"])
def test_an_author_who_catches_everything(project, monkeypatch, caught):
    monkeypatch.setattr("flowc.timing._SECOND_ALARM_S", 0.05)
    guarded = f"try:\n            load(str(i))\n        except {caught}:\n            return"
    project.write("flow.py", ENDLESS.format(line=guarded))
    refused_tracing()


def test_a_module_that_does_not_stop_importing(project):
    project.write("flow.py", "from ops import *\nwhile True:\n    pass\n")

    def importing(watch):
        with watch.lap("import"):
            load("flow.py:main")

    found = refused_after(0.2, "import", importing)
    assert str(found.labels[0].place) in ("flow.py:2", "flow.py:3")


def test_what_ends_in_time_is_left_alone():
    before = signal.getsignal(signal.SIGALRM)
    watch = Stopwatch(time.perf_counter)
    with time_limit(60, watch):
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    with time_limit(0, watch):
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_other_refusals_pass(project):
    with pytest.raises(Refused, match="FC002"), time_limit(60, Stopwatch(time.perf_counter)):
        load("nothing.py:main")
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0

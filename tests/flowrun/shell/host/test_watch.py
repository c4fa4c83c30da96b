import os
from types import SimpleNamespace

import pytest
from graphs import Run, host

from flowrun.core.changes import Exceeded
from flowrun.core.model import Usage
from flowrun.shell.host import memory
from flowrun.shell.host.watch import LOOK_MS, Attempt, Watch

MB = 1024


@pytest.fixture
def held(monkeypatch):
    """KB that processes hold, by number."""
    amounts = {}
    monkeypatch.setattr(memory, "held_kb", lambda pid: amounts.get(pid, 0))
    monkeypatch.setattr(memory, "share_kb", lambda pid: amounts.get(pid, 0))
    return amounts


class Bench:
    """A watch, and a run of a graph whose processes it looks at: 7, and its descendants."""

    def __init__(self, text, gpus=None, tree=(7,), **of):
        self.run = Run(text, on=host(memory=10_000, gpus=[8000]))
        self.task = self.run["a"]
        self.clock = 100.0
        self.took_s = 0.0
        self.watch = Watch(lambda pid: tree, gpus, self._time)
        self.of = of

    def _time(self):
        self.clock += self.took_s
        return self.clock

    def look(self, at, **of):
        return list(self.watch.look([Attempt("main-1", self.task, 7, **{**self.of, **of})], at))

    def usage(self):
        return self.watch.usage(("main-1", "a", 1), Usage(cpu_ms=5, peak_mb=3))


class TestMemory:
    def test_what_is_over_its_request_by_more_than_a_tenth_and_64_mb(self, held):
        bench = Bench("a memory=1000")
        held[7] = 1164 * MB
        assert bench.look(300) == []
        held[7] = 1165 * MB
        assert bench.look(600) == [("main-1", Exceeded(600, "a", 1, "memory", 1165))]

    def test_what_it_was_born_with_is_not_its_own(self, held):
        bench = Bench("a memory=1000", base_kb=500 * MB)
        held[7] = 1500 * MB
        assert bench.look(300) == []
        assert bench.usage().peak_mb == 1000

    def test_all_its_processes_count(self, held):
        bench = Bench("a memory=1000", tree=(7, 8))
        held |= {7: 700 * MB, 8: 700 * MB}
        ((_, exceeded),) = bench.look(300)
        assert (exceeded.reason, exceeded.used) == ("memory", 1400)

    def test_without_a_request_there_is_no_limit_but_it_is_measured(self, held):
        bench = Bench("a")
        for amount in (100, 9000, 50):
            held[7] = amount * MB
            assert bench.look(300) == []
        assert bench.usage() == Usage(cpu_ms=5, peak_mb=9000)
        assert bench.usage() == Usage(cpu_ms=5, peak_mb=3)  # it was told, and is forgotten

    def test_after_more_was_asked_for_there_is_more(self, held):
        bench = Bench("a memory=1000")
        bench.run.fails("a", "FR213")
        held[7] = 2000 * MB
        assert bench.look(300) == []

    def test_what_is_about_to_end_is_let_alone(self, held):
        bench = Bench("a memory=1000")
        held[7] = 5000 * MB
        bench.run.cancel()
        assert bench.look(300) == []

    def test_what_has_only_begun_or_has_no_process_yet_is_not_looked_at(self, held):
        bench = Bench("a memory=10")
        held[7] = 5000 * MB
        assert bench.look(LOOK_MS - 1) == []
        assert list(bench.watch.look([Attempt("main-1", bench.task, 0)], 300)) == []


class TestGpuMemory:
    def test_the_most_that_was_seen_is_told(self, held):
        amounts = iter([100, 700, 200])
        gpus = SimpleNamespace(held_mb=lambda processes, of, whole: next(amounts))
        bench = Bench("a gpus=1", gpus)
        for at in (300, 600, 900):
            bench.look(at)
        assert bench.usage().gpu_peak_mb == 700


class TestSignsOfLife:
    @pytest.fixture
    def beat(self, tmp_path):
        return tmp_path / "beat"

    def test_silence_for_too_long(self, held):
        bench = Bench("a heartbeat=1000")
        assert bench.look(1000) == []
        assert bench.look(1001) == [("main-1", Exceeded(1001, "a", 1, "hang", 1001))]

    def test_output_is_one(self, held):
        bench = Bench("a heartbeat=1000")
        assert bench.look(1900, heard_ms=900) == []
        assert bench.look(1901, heard_ms=900) != []

    def test_a_beat_is_one_whatever_its_clock_says(self, held, beat):
        bench = Bench("a heartbeat=1000", beat=str(beat))
        assert bench.look(900) == []
        for at, time in ((1700, 10**18), (2600, 5)):
            beat.touch()
            os.utime(beat, ns=(time, time))
            assert bench.look(at) == []
        assert bench.look(3600) == []
        assert bench.look(3601) != []

    def test_one_that_was_there_before_is_none(self, held, beat):
        beat.touch()
        bench = Bench("a heartbeat=1000", beat=str(beat))
        assert bench.look(900) == []
        assert bench.look(1001) != []

    def test_without_a_heartbeat_silence_is_no_fault(self, held):
        assert Bench("a").look(10**9) == []


class TestPace:
    def test_a_few_times_a_second(self, held):
        bench = Bench("a")
        assert bench.watch.is_due()
        bench.look(300)
        bench.clock += 0.249
        assert not bench.watch.is_due()
        bench.clock += 0.002
        assert bench.watch.is_due()

    def test_less_often_where_a_look_takes_long(self, held):
        bench = Bench("a")
        bench.took_s = 0.1
        bench.look(300)
        bench.took_s = 0
        bench.clock += 4
        assert not bench.watch.is_due()
        bench.clock += 10
        assert bench.watch.is_due()

import os
import subprocess
import sys

import pytest

from flowrun.shell.host import memory
from flowrun.shell.host.memory import Kills, Meter, held_kb, limit_mb, share_kb

MB = 1024
# Takes so many MB, and forks a child that has them too; then it waits for its input to end.
TAKER = """
import os, sys
held = bytearray(int(sys.argv[1]) << 20)
for i in range(0, len(held), 4096):
    held[i] = 1
child = os.fork() if sys.argv[2:] else 1
print(child, flush=True) if child else None
sys.stdin.read()
"""


@pytest.fixture
def taker():
    """Processes that hold memory, by their numbers: (parent,) or (parent, child)."""
    started = []

    def start(mb, *fork):
        process = subprocess.Popen(
            [sys.executable, "-c", TAKER, str(mb), *fork], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        child = int(process.stdout.readline())
        return (process.pid, child) if fork else (process.pid,)

    yield start
    for process in started:
        process.stdin.close()
        process.wait()
        process.stdout.close()


class TestWhatProcessesHold:
    def test_what_they_took(self, taker):
        (pid,) = taker(40)
        assert 40 * MB < held_kb(pid) < 70 * MB
        assert 40 * MB < share_kb(pid) < 70 * MB

    def test_files_that_are_mapped_do_not_count(self, tmp_path):
        path = tmp_path / "big"
        path.write_bytes(b"x" * (30 << 20))
        import mmap

        before = held_kb(os.getpid())
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert sum(mapped[i] for i in range(0, len(mapped), 4096)) > 0
            assert held_kb(os.getpid()) - before < 10 * MB

    def test_who_is_gone_holds_nothing(self):
        assert held_kb(2**22 + 1) == share_kb(2**22 + 1) == 0


class TestMeter:
    def test_of_one_process_without_what_it_was_born_with(self, taker):
        (pid,) = taker(40)
        meter = Meter(base_kb=held_kb(pid) - 30 * MB, limit_kb=0)
        assert abs(meter.look([pid]) - 30 * MB) < MB
        assert meter.peak_kb == meter.look([pid])

    def test_what_two_share_counts_once(self, taker):
        both = taker(40, "fork")
        assert 40 * MB < Meter(0, 0).look(both) < 75 * MB < sum(map(held_kb, both))

    def test_it_looks_closely_when_somebody_came_or_the_limit_is_near(self, monkeypatch):
        held, close = {1: 100, 2: 100}, []
        monkeypatch.setattr(memory, "held_kb", held.__getitem__)
        monkeypatch.setattr(memory, "share_kb", lambda pid: close.append(pid) or 60)
        now = [0.0]

        def clock():
            now[0] += 0.01
            return now[0]

        meter = Meter(0, 150, clock)
        assert (meter.look([1]), close) == (100, [])
        assert (meter.look([1, 2]), close) == (120, [1, 2])
        held[2] = 110
        assert (meter.look([1, 2]), close) == (130, [1, 2])  # as much more as the sum is
        held[2] = 140
        assert (meter.look([1, 2]), len(close)) == (120, 4)  # seems to be over its limit, and is not
        assert meter.peak_kb == 130
        now[0] += 10
        assert (meter.look([1, 2]), len(close)) == (120, 6)  # it has been a while


@pytest.mark.parametrize(("declared", "limit"), [(0, 0), (100, 174), (10_000, 11_064)])
def test_a_limit_leaves_room_for_what_nobody_counts(declared, limit):
    assert limit_mb(declared) == limit


class TestKills:
    def test_each_move_of_the_counter_is_told_once(self, tmp_path):
        counter = tmp_path / "memory.events"
        counter.write_text("low 0\noom 3\noom_kill 3\noom_group_kill 0\n")
        kills = Kills([counter])
        assert kills.moved()  # before anybody looked
        assert not kills.moved()
        counter.write_text("low 0\noom 4\noom_kill 5\n")
        assert kills.moved()
        assert not kills.moved()

    def test_without_a_counter_nothing_is_told(self, tmp_path):
        assert not Kills([tmp_path / "none"]).moved()

    def test_this_machine_has_one(self):
        kills = Kills()
        kills.moved()
        assert not kills.moved()

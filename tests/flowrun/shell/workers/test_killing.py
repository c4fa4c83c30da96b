"""Real workers are ended with all that operators started, and at the end nothing is left."""

import os
import signal

import psutil
import pytest
from bench import Bench, is_gone

from flowrun.shell.workers.descendants import descendants
from flowrun.shell.workers.forkserver import fork_zygote, start_zygote


class TestKilling:
    def test_gently(self, bench):
        bench.spawn("hangs", pids=bench.pids)
        pid = bench.pid()
        bench.pool.kill("", "node", 1, force=False)
        (ended,) = bench.ends()
        assert "SIGTERM" in ended.failure.message
        assert is_gone(pid)

    def test_at_once_after_the_start(self, bench):
        """A signal that comes before the worker has settled is not lost."""
        for n in range(20):
            bench.spawn("hangs", node=f"n{n}", pids=bench.pids)
            bench.pool.kill("", f"n{n}", 1, force=False)
        assert all("SIGTERM" in ended.failure.message for ended in bench.ends(20))

    @pytest.mark.parametrize("op", ["has_child", "lets_escape"])
    @pytest.mark.parametrize("force", [False, True])
    def test_all_that_it_started(self, bench, op, force):
        bench.spawn(op, pids=bench.pids, hangs=True)
        child = bench.pid()
        bench.pool.kill("", "node", 1, force)
        bench.ends()
        assert is_gone(child)

    @pytest.mark.parametrize("op", ["has_child", "lets_escape"])
    @pytest.mark.parametrize("isolation", ["warm", "fork", "fresh"])
    def test_what_an_operator_leaves_behind(self, bench, op, isolation):
        ended = bench.run(op, pids=bench.pids, hangs=False, isolation=isolation)
        assert bench.value(ended) == 7
        assert not psutil.pid_exists(bench.pid())

    def test_who_has_ended_already(self, bench):
        bench.run("add", a=1)
        bench.pool.kill("", "node", 1, force=True)
        assert bench.value(bench.run("add", node="next", a=1)) == 2

    def test_one_attempt_not_the_other(self, bench):
        bench.spawn("hangs", attempt=1, pids=bench.pids)
        bench.pool.kill("", "node", 2, force=True)
        bench.pool.kill("", "other", 1, force=True)
        assert bench.value(bench.run("add", node="next", a=1)) == 2
        bench.pool.kill("", "node", 1, force=True)
        assert bench.ends()[0].node == "node"

    def test_a_late_signal_hits_nobody_else(self, bench):
        """It is on its way when the attempt ends: the worker gets no other."""
        for n in range(30):
            bench.spawn("add", node=f"n{n}", a=n)
            bench.pool.kill("", f"n{n}", 1, force=False)
            bench.ends()
            assert bench.value(bench.run("add", node="next", a=n)) == n + 1

    def test_of_an_idle_worker_costs_nothing(self, bench):
        """An order that its process had not read when it died is lost through no fault of the node."""
        for _ in range(10):
            pid = bench.value(bench.run("pid"))
            os.kill(pid, signal.SIGKILL)
            ended = bench.run("add", a=1)
            assert ended.failure is None or ended.failure.code == "FR207"


class TestTheEnd:
    @pytest.mark.parametrize("start", [fork_zygote, start_zygote])
    def test_nothing_is_left(self, tmp_path, start):
        bench = Bench(tmp_path, start=start)
        bench.spawn("has_child", node="a", pids=bench.pids, hangs=True)
        bench.spawn("lets_escape", node="b", imports=("json",), pids=bench.pids, hangs=True)
        children = [bench.pid(), bench.pid()]
        family = descendants(bench.pool.zygote)
        assert len(family) >= 5  # two workers, their children, and a zygote
        bench.close()
        assert not any(map(psutil.pid_exists, [bench.pool.zygote, *children, *family]))
        assert os.listdir(tmp_path / "work/0") == []

    def test_one_that_was_never_needed_is_not_waited_for(self, tmp_path):
        """A run that is refused does not wait until torch has been imported."""
        (tmp_path / "slow.py").write_text("import signal\nsignal.pause()")
        bench = Bench(tmp_path, ["slow:op"])
        bench.close()
        assert is_gone(bench.pool.zygote)

    def test_modules_that_do_not_import_are_no_matter_until_they_are_used(self, tmp_path):
        (tmp_path / "broken.py").write_text(
            "import os\nos.write(1, b'importing')\nraise RuntimeError('not today')"
        )
        bench = Bench(tmp_path, ["broken:op", "absent:op", "ops:add"])
        assert bench.value(bench.run("add", a=1)) == 2
        bench.close()
        assert "importing" in (tmp_path / "zygote.log").read_text()

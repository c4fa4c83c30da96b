"""Zygotes as real processes: what they import meanwhile, and what becomes of workers when they die."""

import os
import signal

import psutil
import pytest
from bench import Bench, is_gone


class TestImports:
    SLOW = """
import ops, sys
@ops.Operator
def loaded(): return "heavy" in sys.modules
"""

    @pytest.fixture
    def bench(self, tmp_path):
        (tmp_path / "slow.py").write_text(self.SLOW)
        os.mkfifo(tmp_path / "go")
        (tmp_path / "heavy.py").write_text(f"open({str(tmp_path / 'go')!r}).read()")
        bench = Bench(tmp_path, ["ops:add", "slow:loaded"])
        yield bench
        bench.close()

    def test_nobody_else_waits_for_them(self, bench):
        bench.spawn("slow:loaded", node="slow", imports=("heavy",))
        assert [bench.value(bench.run("add", node=f"n{n}", a=n)) for n in range(3)] == [1, 2, 3]
        (bench.folder / "go").write_text("")
        (ended,) = bench.ends()
        assert (ended.node, bench.value(ended)) == ("slow", True)
        assert list(ended.usage.imports) == ["heavy"]

    def test_they_begin_when_they_can_be_foreseen(self, bench):
        bench.run("add", a=1)
        bench.pool.foresee(("heavy",))
        (bench.folder / "go").write_text("")  # waits for somebody to read
        ended = bench.run("slow:loaded", imports=("heavy",))
        assert bench.value(ended) is True
        again = bench.run("slow:loaded", imports=("heavy",))
        assert (bench.value(again), again.usage.imports) == (True, {})

    def test_who_has_more_than_is_needed_will_do(self, bench):
        (bench.folder / "light.py").write_text("")
        one = bench.value(bench.run("looks", at="os.getpid()", imports=("light",)))
        assert bench.value(bench.run("looks", at="os.getpid()")) == one

    def test_one_that_dies_of_them_takes_nobody_with_it(self, bench):
        (bench.folder / "deadly.py").write_text("import os; os._exit(3)")
        bench.spawn("hangs", node="other", pids=bench.pids)
        bench.pid()
        ended = bench.run("slow:loaded", imports=("deadly",))
        assert ended.failure.code == "FR207"
        bench.pool.kill("", "other", 1, force=True)
        assert bench.ends()[0].node == "other"


class TestZygote:
    def test_when_it_is_killed_what_ran_is_lost_and_all_goes_on(self, bench):
        bench.spawn("hangs", node="a", pids=bench.pids)
        bench.spawn("hangs", node="b", pids=bench.pids)
        workers = [bench.pid(), bench.pid()]
        before = bench.pool.zygote
        os.kill(before, signal.SIGKILL)
        ended = bench.ends(2)
        assert sorted((e.node, e.failure.code) for e in ended) == [("a", "FR207"), ("b", "FR207")]
        assert not any(map(psutil.pid_exists, workers))
        assert bench.pool.zygote != before
        assert bench.value(bench.run("add", node="a", attempt=2, a=1)) == 2

    @pytest.mark.parametrize("op", ["has_child", "lets_escape"])
    def test_when_it_is_killed_what_operators_started_ends_too(self, bench, op):
        bench.spawn(op, pids=bench.pids, hangs=True)
        child = bench.pid()
        os.kill(bench.pool.zygote, signal.SIGKILL)
        bench.ends()
        assert not psutil.pid_exists(child)

    def test_one_for_some_imports_is_killed(self, clean_bench):
        bench = clean_bench
        bench.spawn("lets_escape", node="a", imports=("json",), pids=bench.pids, hangs=True)
        child = bench.pid()
        bench.spawn("hangs", node="b", pids=bench.pids)
        bench.pid()
        worker = psutil.Process(child).parent()  # which has adopted it
        assert worker.parent().ppid() == bench.pool.zygote
        worker.parent().kill()
        (ended,) = bench.ends()
        assert (ended.node, ended.failure.code) == ("a", "FR207")
        assert not psutil.pid_exists(child)
        assert bench.value(bench.run("add", node="c", imports=("json",), a=1)) == 2

    def test_when_it_is_killed_before_it_hears_of_a_node(self, bench):
        os.kill(bench.pool.zygote, signal.SIGSTOP)
        bench.spawn("add", isolation="fork", a=1)
        os.kill(bench.pool.zygote, signal.SIGKILL)
        (ended,) = bench.ends()
        assert ended.failure.code == "FR207"

    def test_a_spawn_after_its_death_is_lost_not_forgotten(self, bench):
        os.kill(bench.pool.zygote, signal.SIGKILL)
        assert is_gone(bench.pool.zygote)
        bench.spawn("add", a=1)
        (ended,) = bench.ends()
        assert ended.failure.code == "FR207"

    def test_the_children_of_others_are_none_of_its_business(self, bench):
        with psutil.Popen(["sleep", "600"]) as other:
            bench.run("add", a=1)
            os.kill(bench.pool.zygote, signal.SIGKILL)
            bench.spawn("add", a=1)
            bench.ends()
            assert other.is_running()
            other.kill()

"""How attempts of real workers fail, and what is told of it."""

import os
import signal

import pytest

from flowrun.shell.workers import pool
from flowrun.shell.workers.messages import Spawn


class TestFailures:
    @pytest.mark.parametrize(
        ("op", "args", "code", "message"),
        [
            ("dies", {"by": signal.SIGUSR1}, "FR202", "its process was killed by SIGUSR1"),
            ("dies", {"by": signal.SIGKILL}, "FR202", "killed by SIGKILL (the kernel does that when memory"),
            ("exits", {"status": 0}, "FR202", "its process exited with status 0 without a result"),
            ("exits", {"status": 3}, "FR202", "its process exited with status 3 without a result"),
            ("gives_up", {}, "FR201", "SystemExit: enough"),
            ("raises", {"text": "x" * 100_000}, "FR201", "ValueError: xxx"),
            ("raises", {"text": "\U0001f600" * 10_000}, "FR201", "ValueError: \U0001f600"),
            ("changes", {"what": "raise ValueError('\\udcff')"}, "FR201", r"ValueError: \udcff"),
            ("add", {"a": "text"}, "FR201", "TypeError"),
            ("missing", {}, "FR206", "`ops:missing` cannot be loaded"),
            ("wait_for_ever", {}, "FR206", "`ops:wait_for_ever` is not an operator"),
        ],
    )
    @pytest.mark.parametrize("isolation", ["warm", "fork"])
    def test_say_why(self, bench, op, args, code, message, isolation):
        ended = bench.run(op, isolation=isolation, **args)
        assert ended.artifact is None
        assert ended.failure.code == code
        assert message in ended.failure.message

    def test_a_changed_operator_is_not_run(self, bench):
        bench.pool.spawn(Spawn("node", 1, "ops:add", "other", {"a": {"value": 1}}, 1, None))
        (ended,) = bench.ends()
        assert (ended.failure.code, "changed" in ended.failure.message) == ("FR206", True)

    def test_even_without_the_folder_that_it_was_in(self, bench):
        for node in ("one", "two"):
            ended = bench.run("loses_its_folder", node=node)
            assert (ended.failure.code, ended.failure.message) == ("FR201", "ValueError: lost")

    def test_a_damaged_argument(self, bench):
        stored = bench.store.put(list(range(5000)))
        bench.store.path(stored.hash).unlink()
        trees = {"a": {"artifact": stored.source, "at": []}}
        bench.pool.spawn(Spawn("node", 1, "ops:add", "c0de", trees, 1, None))
        (ended,) = bench.ends()
        assert (ended.failure.code, ended.failure.damaged) == ("FR306", stored.hash)


class Groups:
    """A control group as a folder that pretends."""

    def __init__(self, folder):
        self.folder = folder
        self.made, self.removed = [], []

    def make(self):
        group = self.folder / f"group{len(self.made)}"
        group.mkdir()
        self.made.append(str(group))
        return str(group)

    def remove(self, group):
        self.removed.append(group)

    def rest(self):
        pass


class TestHeldToItsMemory:
    """By a control group, where one can be had."""

    @pytest.fixture
    def groups(self, tmp_path, monkeypatch):
        groups = Groups(tmp_path)
        monkeypatch.setattr(pool, "_groups", groups)
        return groups

    def test_a_worker_joins_before_its_operator_runs(self, bench, groups):
        group = f"{groups.folder}/group0"
        look = f"open('{group}/cgroup.procs').read(), int(open('{group}/memory.max').read()) >> 20"
        joined, limit_mb = eval(bench.value(bench.run("looks", at=look, memory_mb=1000)))
        assert joined == "0"  # whoever writes this
        assert limit_mb >= 1164  # and what the process held before

    def test_then_it_is_as_it_was_for_who_has_no_limit(self, bench, groups):
        assert bench.run("add", a=1, memory_mb=100).failure is None
        look = f"open('{groups.folder}/group0/memory.max').read()"
        assert bench.value(bench.run("looks", at=look)) == repr("max")
        assert len(groups.made) == 1

    def test_who_has_no_limit_has_no_group(self, bench, groups):
        bench.run("add", a=1)
        assert groups.made == []

    def test_one_that_the_kernel_kills_there_ran_out_of_memory(self, bench, groups):
        tell = "open('{0}/memory.events', 'w').write('oom 1\\noom_kill 2\\n');"
        tell += "open('{0}/memory.peak', 'w').write(str(5000 << 20)); os.kill(os.getpid(), 9)"
        ended = bench.run("changes", what=tell.format(f"{groups.folder}/group0"), memory_mb=100)
        assert ended.failure.code == "FR213"
        assert ended.failure.message.endswith("memory ran out; it had asked for 100 MB")
        assert ended.usage.peak_mb == 5000
        assert groups.removed == groups.made

    def test_one_that_somebody_else_kills_did_not(self, bench, groups):
        ended = bench.run("dies", by=signal.SIGKILL, memory_mb=100)
        assert ended.failure.code == "FR202"

    def test_all_are_removed_at_the_end(self, bench, groups):
        bench.run("add", a=1, memory_mb=100)
        bench.pool.close()
        bench.pool.wait()
        assert groups.removed == groups.made

    def test_where_there_is_none_the_node_runs_all_the_same(self, bench, groups):
        groups.make = lambda: ""
        assert bench.value(bench.run("add", a=1, memory_mb=100)) == 2

    def test_nor_where_the_kernel_refuses(self, bench, groups):
        groups.make = lambda: os.fspath(groups.folder / "missing")
        assert bench.value(bench.run("add", a=1, memory_mb=100)) == 2

"""How attempts of real workers fail, and what is told of it."""

import signal

import pytest

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

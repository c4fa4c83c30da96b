"""What is done before a run: the zygote hears of operators, and logs get their names."""

import subprocess
import sys

from graphs import plan

from flowrun.core.state import State
from flowrun.shell.log.home import Home
from flowrun.shell.preparing import log_path, operators


class TestLogs:
    def names(self, tmp_path, *ids):
        state = State(plan("\n".join(ids)), {})
        return [log_path(Home(tmp_path), "main-1", task.node.id, 2).name for task in state.tasks]

    def test_are_named_after_node_and_attempt(self, tmp_path):
        assert self.names(tmp_path, "tree", "prep/clean", "fit[2024-01]#2") == [
            "tree.2.log",
            "prep%clean.2.log",
            "fit[2024-01]#2.2.log",
        ]

    def test_have_different_names(self, tmp_path):
        ids = ["a[x/y]", "a[x:y]", "a[x%y]", "a[x*y]", "a[ä]", "a[ö]", f"a[{'x' * 300}]", f"a[{'x' * 301}]"]
        names = self.names(tmp_path, *ids)
        assert len({name.lower() for name in names}) == len(ids)

    def test_have_names_that_a_file_system_takes(self, tmp_path):
        ids = ["..", "a[日本" + "語" * 200 + "]", "a[\t]".replace("\t", "\u2028"), "a[x]" * 100]
        for name in self.names(tmp_path, *ids):
            assert len(name.encode()) <= 200
            assert name.isascii()
            assert "/" not in name
            (tmp_path / name).touch()


def test_operators_in_order_of_first_use():
    assert list(operators(plan("b op=m:f\na op=m:g\nc op=m:f"))) == ["m:f", "m:g"]


def test_a_zygote_does_not_wait_for_what_executes():
    """It is told what to import before the scheduler and the run log are loaded."""
    late = ("sqlite3", "flowrun.core.scheduler.scheduler", "flowrun.shell.loop", "flowrun.shell.conducting")
    code = f"import sys, flowrun.shell.launch; print([name for name in {late} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"

"""Crashes, Ctrl-C, failures: what was done stays done, and a resumed run gives what it would have given."""

import json
import os
import pty
import signal
import sqlite3
import subprocess

import psutil
import pytest
from project import BIN, Project, is_gone

from flowc.plan import codec

# Three chains of two, and one that joins them. `middle` of the second waits until there is a file `open`.
FLOW = """
import numpy as np
from flowc import Array

@operator
def load(n: int) -> Array:
    note("load")
    return np.arange(n)

@operator
def middle(data: Array, k: int) -> Array:
    note(f"middle{k}")
    if k == 1 and not (project() / "open").exists():
        tell("middle1 waits")
        signal.pause()
    return data + k + 1

@operator
def last(data: Array, k: int) -> float:
    note(f"last{k}")
    return float(data.sum())

@operator
def join(sums: list[float]) -> float:
    note("join")
    return sum(sums)

@workflow
def main(n: int = 100) -> float:
    data = load(n)
    sums = []
    for k in range(3):
        scaled = middle(data, k)
        sums.append(last(scaled, k))
    return join(sums)
"""
ALL = ["load", "middle0", "middle1", "middle2", "last0", "last1", "last2", "join"]


def undisturbed(project, *words):
    """The artifacts of a run in which nothing goes wrong."""
    (project.folder / "open").touch()
    project.execute("--state", "other", *words)
    (project.folder / "open").unlink()
    (project.folder / "ran").unlink()
    return {
        node["node"]: node["artifact"]["hash"] for node in project.json("show", "--state", "other")["nodes"]
    }


def names(project, nodes):
    """What the operators of nodes call themselves in `ran`."""
    plan = codec.read(project.folder / project.plan)
    ops = {site.site: site.op.partition(":")[2] for site in plan.sites}
    found = {node.id: f"{ops[node.site]}{node.args.get('k', '')}" for node in plan.nodes}
    return [found[node] for node in nodes]


class TestKill9:
    @pytest.mark.parametrize("done", [0, 1, 2, 4])
    def test_resume_completes_and_repeats_nothing_that_was_done(self, project, done):
        expected = undisturbed(project)
        run = project.start()
        run.until("main-1:")
        for _ in range(done):
            run.until("done")
        workers = psutil.Process(run.process.pid).children(recursive=True)
        run.process.kill()
        run.end()
        assert all(is_gone(worker.pid) for worker in workers)
        assert project.json("runs")[0]["status"] == "interrupted"
        if done:  # else it may have been killed before anything was recorded
            assert "running" not in project.flowrun("show", "main-1").stdout

        finished = names(project, run.done())
        assert len(finished) == done
        (project.folder / "open").touch()
        project.execute("--resume", "main-1")
        ran = project.ran()
        assert sorted(ran) == sorted(ALL)
        assert {name: ran[name] for name in finished} == dict.fromkeys(finished, 1)
        assert project.artifacts("main-1") == expected
        assert [row["status"] for row in project.json("runs")] == ["succeeded"]

    def test_again_and_again(self, project):
        expected = undisturbed(project)
        finished, words = [], []
        for _ in range(3):
            run = project.start(*words)
            run.until("start")
            if not finished:
                run.until("done")
            run.process.kill()
            run.end()
            finished += names(project, run.done())
            words = ["--resume", "main-1"]
        (project.folder / "open").touch()
        project.execute(*words)
        assert [project.ran()[name] for name in finished] == [1] * len(finished)
        assert project.artifacts("main-1") == expected

    def test_a_plan_that_the_log_has_lost_is_told(self, project):
        run = project.start()
        run.until("done")
        run.process.kill()
        run.end()
        with sqlite3.connect(project.folder / ".flow/runs.db") as log:
            log.execute("DELETE FROM plans")
        assert "error[FR305]" in project.execute("--resume", "main-1", status=1).stderr

    def test_of_the_zygote_costs_only_what_ran(self, project):
        run = project.start()
        assert project.told() == "middle1 waits"
        (zygote,) = psutil.Process(run.process.pid).children()
        (project.folder / "open").touch()
        zygote.kill()
        run.until("retry")
        status, out, _ = run.end()
        assert status == 0, out
        ran = project.ran()
        assert sorted(ran) == sorted(ALL)
        assert [ran[name] for name in names(project, run.done())] == [1] * len(run.done())
        assert project.processes() == []


class TestCtrlC:
    def test_ends_the_run_which_can_be_resumed(self, project):
        expected = undisturbed(project)
        run = project.start()
        for _ in range(5):  # all that does not wait for `middle1`
            run.until("done")
        run.signal(signal.SIGINT)
        status, _, err = run.end()
        assert status == 130
        assert "flowrun execute plans/main.plan.jsonl --resume main-1" in err
        assert "Traceback" not in err
        assert project.processes() == []
        assert project.json("runs")[0]["status"] == "cancelled"

        (project.folder / "open").touch()
        project.execute("--resume", "main-1")
        assert project.artifacts("main-1") == expected
        assert project.ran() == dict.fromkeys(ALL, 1) | {"middle1": 2}

    def test_a_second_one_does_not_wait_for_those_who_do_not_listen(self, tmp_path):
        project = Project(
            tmp_path,
            """
@operator
def deaf() -> int:
    signal.signal(signal.SIGTERM, lambda *_: tell("asked"))
    tell("ready")
    while True:
        signal.pause()

@workflow
def main() -> int:
    a = deaf()
    return a
""",
        )
        run = project.start()
        assert project.told() == "ready"
        run.signal(signal.SIGINT)
        assert project.told() == "asked"
        run.signal(signal.SIGINT)
        assert run.end()[0] == 130
        assert project.processes() == []

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_other_signals_do_the_same(self, project, number):
        run = project.start()
        run.until("done")
        run.signal(number)
        assert run.end()[0] == 130
        assert project.processes() == []
        assert project.json("runs")[0]["status"] == "cancelled"

    def test_so_does_a_terminal_that_goes_away(self, project):
        pid, terminal = pty.fork()
        if not pid:
            os.environ["TERM"] = "xterm-256color"
            os.chdir(project.folder)
            words = ["flowrun", "execute", project.plan, "--on-end", f"cat > {project.folder / 'ended'}"]
            os.execv(BIN / "flowrun", words)
        seen = b""
        while b"done" not in seen:
            seen += os.read(terminal, 65536)
        os.close(terminal)
        os.waitpid(pid, 0)
        assert project.processes() == []
        assert project.json("runs")[0]["status"] == "cancelled"
        assert json.loads((project.folder / "ended").read_text())["status"] == "cancelled"


def test_an_end_that_nobody_reads_of_is_told_to_who_wants_to_know(tmp_path):
    """As with `flowrun execute ... 2>&1 | head -1`."""
    project = Project(
        tmp_path,
        """
@operator
def fail() -> int:
    return 1 // 0

@workflow
def main() -> int:
    a = fail()
    return a
""",
    )
    reader, writer = os.pipe()
    os.close(reader)
    words = [BIN / "flowrun", "execute", project.plan, "--on-end", f"cat > {tmp_path / 'ended'}"]
    done = subprocess.run(words, cwd=tmp_path, stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert json.loads((tmp_path / "ended").read_text())["failed"][0]["node"] == "a"


class TestMending:
    BROKEN = FLOW.replace('    note(f"last{k}")\n', '    note(f"last{k}")\n    assert k != 2, "not two"\n')

    @pytest.fixture
    def failed(self, tmp_path):
        project = Project(tmp_path, self.BROKEN)
        (tmp_path / "open").touch()
        failed = project.execute(status=1)
        assert "error[FR201]" in failed.stderr
        assert "AssertionError: not two" in failed.stderr
        assert "flows.py:" in failed.stderr
        assert "join" not in project.ran()
        (tmp_path / "ran").unlink()
        return project

    def test_only_what_failed_or_changed_runs_again(self, failed):
        failed.write(FLOW)
        failed.compile()
        failed.execute("--resume", "main-1")
        assert failed.ran() == {"last0": 1, "last1": 1, "last2": 1, "join": 1}

    def test_without_a_change_only_what_failed(self, failed):
        failed.execute("--resume", "main-1", status=1)
        assert failed.ran() == {"last2": 1}

    def test_another_input(self, failed):
        failed.write(FLOW)
        failed.compile()
        failed.execute("--resume", "main-1", "-i", "n=7")
        assert failed.ran() == dict.fromkeys(ALL, 1)
        assert failed.json("show", "main-1")["inputs"] == {"n": 7}

    def test_what_is_done_survives_a_run_that_was_resumed_with_a_failure(self, failed):
        failed.execute("--resume", "main-1", status=1)
        failed.write(FLOW)
        failed.compile()
        failed.execute("--resume", "main-1")
        assert failed.ran()["load"] == 0
        assert failed.json("show", "main-1")["result"] == 4950 * 3 + 600

    def test_an_artifact_that_was_damaged_is_computed_again(self, failed):
        for path in (failed.folder / ".flow/artifacts").glob("??/*"):
            path.chmod(0o644)
            path.write_bytes(b"nonsense")
        failed.write(FLOW)
        failed.compile()
        failed.execute("--resume", "main-1")
        assert failed.ran() == dict.fromkeys(ALL, 1)


class TestTwoAtOnce:
    def test_the_second_resume_is_refused_and_hurts_nobody(self, project):
        run = project.start()
        run.until("done")
        second = project.execute("--resume", "main-1", status=1)
        assert "error[FR303]" in second.stderr
        assert project.json("runs")[0]["status"] == "running"
        run.process.kill()
        run.end()
        (project.folder / "open").touch()
        project.execute("--resume", "main-1")

    def test_two_runs_of_one_plan_do_not_mind_each_other(self, project):
        (project.folder / "open").touch()
        one, two = project.start("-i", "n=5"), project.start("-i", "n=6")
        assert [run.end()[0] for run in (one, two)] == [0, 0]
        assert sorted(row["run"] for row in project.json("runs")) == ["main-1", "main-2"]
        assert sorted(project.json("show", run)["result"] for run in ("main-1", "main-2")) == [60, 81]


def test_nothing_is_left_running_after_a_kill_not_even_what_operators_started(tmp_path):
    project = Project(
        tmp_path,
        """
@operator
def parent() -> int:
    child = subprocess.Popen(["sleep", "600"])
    tell(child.pid)
    signal.pause()

@workflow
def main() -> int:
    a = parent()
    return a
""",
    )
    run = project.start()
    child = int(project.told())
    run.process.kill()
    run.end()
    assert is_gone(child)
    assert all(is_gone(process.pid) for process in project.processes())


def test_a_time_limit(tmp_path):
    project = Project(
        tmp_path,
        """
@operator(timeout="0.2 s")
def slow() -> int:
    signal.pause()

@workflow
def main() -> int:
    a = slow()
    return a
""",
    )
    failed = project.execute(status=1)
    assert "error[FR203]" in failed.stderr
    assert "it took longer than its time limit of 0.2 s" in failed.stderr
    assert os.listdir(tmp_path / ".flow/runs") == ["main-1"]

"""The daemon and its run log: another process writes to it, or it cannot be written for a while."""

import contextlib
import sqlite3
import time
from pathlib import Path

import pytest
from project import Project, end_all, follow, is_gone

from flowrun.core.changes import Logged, Start
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog

# Each run waits at its `gate` until there is a file of that name.
FLOW = """
from flowc import log_note

@operator(cpus=0.5)
def gate(name: str) -> int:
    note(f"gate-{name}")
    tell(f"{os.getpid()}")
    said = False
    while not (project() / name).exists():
        signal.sigtimedwait([signal.SIGUSR1], 0.02)
        if not said and (project() / f"{name}.say").exists():
            said = True
            log_note("waiting")
    return 1

@operator(cpus=0.5)
def after(n: int, name: str) -> int:
    note(f"after-{name}")
    return n + 1

@workflow
def main(name: str) -> int:
    return after(gate(name), name)
"""


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path, FLOW)
    yield project
    end_all(project)


def submit(project, name, *words, **rest):
    return project.submit("-i", f"name={name}", *words, **rest)


def interfere(project, run):
    """Another process writes to a run, lock or no lock."""
    log = RunLog(Home(Path(project.folder) / ".flow"), writable=True)
    while not any(isinstance(change, Start) for change in log.changes(run)):
        time.sleep(0.01)
    log.append(run, log.length(run), [Logged(1, "gate", 1, notes=("it was me",))])
    log.close()


class TestConflict:
    def test_ends_that_run_only_and_it_can_be_gone_on_with(self, project):
        daemon = project.daemon()
        submit(project, "one")
        first = int(project.told())
        submit(project, "two")
        project.told()
        interfere(project, "main-1")
        (project.folder / "one.say").touch()
        daemon.until("main-1:", "set", "aside,")
        assert is_gone(first)
        (project.folder / "two").touch()
        assert follow(project, "main-2") == "succeeded"
        assert [row["status"] for row in project.json("runs")] == ["interrupted", "succeeded"]
        assert project.ran() == {"gate-one": 1, "gate-two": 1, "after-two": 1}
        (project.folder / "one").touch()
        submit(project, "one", "--resume", "main-1", "--wait")
        assert project.ran() == {"gate-one": 2, "gate-two": 1, "after-one": 1, "after-two": 1}
        daemon.process.terminate()
        status, _, err = daemon.end()
        assert status == 0
        assert "error[FR168]: another process has written to the log of `main-1` meanwhile" in err

    def test_under_execute_is_said_as_well(self, project):
        run = project.start("-i", "name=one")
        project.told()
        interfere(project, "main-1")
        (project.folder / "one.say").touch()
        status, _, err = run.end()
        assert status == 1
        assert err.startswith("error[FR168]: another process has written to the log of `main-1` meanwhile\n")
        assert project.processes() == []
        (project.folder / "one").touch()
        project.execute("-i", "name=one", "--resume", "main-1")


@contextlib.contextmanager
def locked(project):
    """Another process has the database."""
    with contextlib.closing(sqlite3.connect(project.folder / ".flow/runs.db", isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


class TestOutage:
    def test_pauses_all_and_everything_goes_on_after_it(self, project):
        daemon = project.daemon()
        for name in ("one", "two", "three"):
            submit(project, name)
            project.told()
        with locked(project):
            (project.folder / "one").touch()
            warning = daemon.process.stderr.readline()
            assert warning.startswith("warning[FR310]: the run log cannot be written: database is locked")
            (project.folder / "two").touch()
            while not (waiting := project.json("queue")["waiting"]):
                time.sleep(0.02)
            assert (waiting[0]["task"], waiting[0]["waits_for"]) == (
                "main-2/after",
                "nothing starts until the run log can be written again",
            )
            refused = submit(project, "four", status=1).stderr
            assert "error[FR310]: the run log cannot be written: database is locked\n" in refused
            assert "it executes what it has, and takes no more until it can" in refused
            said = project.flowrun("cancel", "main-3").stdout
            assert said == (
                "main-3: 1 node is asked to end; again: at once; "
                "that is written when the run log can be (database is locked)\n"
            )
        assert daemon.process.stderr.readline().startswith("note: the run log can be written again, after")
        assert [follow(project, f"main-{n}") for n in (1, 2, 3)] == ["succeeded", "succeeded", "cancelled"]
        (project.folder / "four").touch()
        submit(project, "four", "--wait")
        ran = project.ran()
        assert [ran[f"after-{name}"] for name in ("one", "two", "three", "four")] == [1, 1, 0, 1]

    def test_before_anything_was_to_be_written_refuses_what_is_submitted(self, project):
        project.daemon()
        with locked(project):
            refused = submit(project, "one", status=1).stderr
            assert "error[FR310]: the run log cannot be written: database is locked\n" in refused
            assert project.json("queue")["count"] == 0
        (project.folder / "one").touch()
        submit(project, "one", "--wait")
        assert [row["status"] for row in project.json("runs")] == ["succeeded"]

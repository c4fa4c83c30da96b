"""The daemon and its run log: another process writes to it, or it cannot be written for a while."""

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

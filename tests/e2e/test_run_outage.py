"""The run log cannot be written for a while: nothing starts, what runs goes on, and nothing is lost."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time

import pytest
from project import Project

FLOW = """
@operator(cpus=0.5)
def step(k: int, before: list[int]) -> int:
    note(f"step{k}")
    tell(f"step{k}")
    if k < 3:
        open(project() / f"go{k}", "w").close()
    return k

@workflow
def main() -> int:
    one = step(1, [])
    two = step(2, [one])
    three = step(3, [two])
    return three
"""


@pytest.fixture
def project(project):
    """`go1` and `go2` are pipes: the first two nodes wait each for somebody to open theirs."""
    for k in (1, 2):
        os.mkfifo(project.folder / f"go{k}")
    return project


def begun(project):
    """A run whose first node waits."""
    run = project.start()
    run.until("start")
    assert project.told() == "step1"
    return run


@contextlib.contextmanager
def locked(project):
    """Another process has the database, from the first node on."""
    with sqlite3.connect(project.folder / ".flow/runs.db", isolation_level=None) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


def go(project, k):
    (project.folder / f"go{k}").read_bytes()  # from when a node opens it to when it closes it


def warned(run):
    """Waits until it says that it cannot write."""
    line = run.process.stderr.readline()
    told = "warning[FR310]: the run log cannot be written: database is locked; nothing starts"
    assert line.startswith(told)


def test_a_locked_log_pauses_the_run(project):
    run = begun(project)
    with locked(project):
        go(project, 1)
        warned(run)
        go(project, 2)
        time.sleep(0.5)
        started = project.ran()
        assert project.json("runs")[0]["status"] == "running"  # others can read it meanwhile
    assert run.process.stderr.readline().startswith("note: the run log can be written again, after")
    status, out, err = run.end()
    assert (status, err) == (0, ""), out
    assert started == {"step1": 1, "step2": 1}
    assert project.ran() == {"step1": 1, "step2": 1, "step3": 1}


def test_ctrl_c_meanwhile_ends_the_run_and_is_written_when_it_can_be(project):
    run = begun(project)
    with locked(project):
        run.signal(signal.SIGINT)
        warned(run)
    status, _, err = run.end()
    assert status == 130
    assert "--resume main-1" in err
    assert project.json("runs")[0]["status"] == "cancelled"


def test_a_second_ctrl_c_does_not_wait_and_says_what_is_not_written(project):
    run = begun(project)
    with locked(project):
        go(project, 1)
        warned(run)
        run.signal(signal.SIGINT)
        assert run.process.stderr.readline().startswith("note: the run ends when")
        run.signal(signal.SIGINT)
        status, _, err = run.end()
    assert status == 1
    assert "error[FR310]: the run log cannot be written: database is locked\n  --> .flow/runs.db\n" in err
    assert "not written: 1 result, of `main-1/one`; a resumed run makes them again" in err
    assert project.processes() == []
    assert project.json("runs")[0]["status"] == "interrupted"
    again = project.start("--resume", "main-1")
    go(project, 1)
    go(project, 2)
    assert again.end()[0] == 0
    assert project.json("show", "main-1")["result"] == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk(tmp_path):
    """The state folder is on a disk of its own. What was not stored fails; resumed, the run completes."""
    (tmp_path / "go1").touch()
    project = Project(tmp_path, FLOW.replace("k < 3", "k == 1"))
    state = tmp_path / ".flow"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", state], check=True)
    try:
        project.execute()
        os.remove(tmp_path / "go1")
        os.mkfifo(tmp_path / "go1")
        run = project.start("--no-cache")
        run.until("start")
        with contextlib.suppress(OSError), open(state / "filler", "wb", buffering=0) as filler:
            while filler.write(bytes(100)):
                pass
        go(project, 1)
        line = run.process.stderr.readline()
        while "FR310" not in line and line:
            line = run.process.stderr.readline()
        assert "disk is full" in line
        (state / "filler").unlink()
        run.end()
        (tmp_path / "go1").unlink()
        (tmp_path / "go1").touch()
        project.execute("--resume", "main-2")
        assert project.artifacts("main-2") == project.artifacts("main-1")
    finally:
        subprocess.run(["umount", "-l", state], check=True)

"""The index of artifacts: as the log is now, whoever may write it."""

import os
import sqlite3

import pytest

from flowrun.core.changes import Exited, Reuse, Woke
from flowrun.core.model import Artifact, Origin
from flowrun.shell.log.home import Home
from flowrun.shell.log.made import Made
from flowrun.shell.log.runlog import RunLog

A, B = Artifact("a1" * 32, 3), Artifact("b2" * 32, 3)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "state")


@pytest.fixture
def log(home):
    return RunLog(home, writable=True)


def test_it_grows_with_the_log(home, log):
    run, reader = log.create("main", "p", 1), RunLog(home)
    assert reader.made_by("a") == []
    log.append(run, 0, [Woke(1), Exited(2, "load", 1, A)])
    assert reader.made_by("a1a1a1") == [(A.hash, run, "load", 1)]
    other = log.create("main", "p", 2)
    log.append(other, 0, [Reuse(2, "data", A, Origin(run, "load"))])
    log.append(run, 2, [Exited(3, "fit", 1, B)])
    assert reader.made_by("a1") == [(A.hash, other, "data", 0), (A.hash, run, "load", 1)]
    assert reader.made_by("b") == [(B.hash, run, "fit", 2)]
    assert reader.made_by("c") == []


def test_where_it_cannot_be_kept_it_is_made_for_the_moment(home, log):
    run = log.create("main", "p", 1)
    log.append(run, 0, [Exited(2, "load", 1, A)])
    log.close()
    db = sqlite3.connect(f"file:{home.folder}/runs.db?mode=ro", uri=True, isolation_level=None)
    assert Made(db).by("a1") == [(A.hash, run, "load", 0)]
    db.close()
    assert os.listdir(home.folder)


def test_of_a_damaged_run_it_has_nothing(home, log):
    runs = [log.create("main", "p", n) for n in range(2)]
    for run in runs:
        log.append(run, 0, [Exited(2, "load", 1, A)])
    with sqlite3.connect(home.folder / "runs.db") as db:
        db.execute("UPDATE changes SET sum = sum + 1 WHERE run = 'main-1'")
    assert RunLog(home).made_by("a") == [(A.hash, "main-2", "load", 0)]

"""The thread that writes the run log: in order, whole, and never ahead of what it says."""

import contextlib
import multiprocessing
import os
import random
import select
import signal
import sqlite3
import subprocess
import threading

import pytest
from graphs import host

from flowrun.core.changes import Finish, Opened, Woke
from flowrun.shell.log import writer as writers
from flowrun.shell.log.database import Batch, connect
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.log.writer import Writer


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "state")


@pytest.fixture
def log(home):
    return RunLog(home, writable=True)


@pytest.fixture
def writer(log):
    writer = log.writer()
    yield writer
    writer.close()


def wait_until(writer, condition):
    while not condition():
        assert select.select([writer.woken], [], [], 20)[0], "nothing comes"
        writer.heard()


def wait_for(writer, durable):
    wait_until(writer, lambda: writer.durable >= durable or writer.failure)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "run log"]


def test_what_is_durable_is_told_and_can_be_read(log, writer):
    run = log.create("main", "p", 1)
    writer.put([Batch(run, 0, [Woke(1), Woke(2)])])
    wait_for(writer, 1)
    assert log.changes(run) == [Woke(1), Woke(2)]
    assert (writer.handed, writer.durable) == (1, 1)


def test_batches_are_written_in_order_many_at_once(home, log, writer):
    one, two = log.create("main", "p", 1), log.create("main", "p", 1)
    for n in range(300):
        writer.put([Batch(one, n, [Woke(n)]), Batch(two, 2 * n, [Woke(n), Woke(n)])])
    wait_for(writer, 300)
    assert log.changes(one) == [Woke(n) for n in range(300)]
    assert log.changes(two, 597) == [Woke(298), Woke(299), Woke(299)]
    with sqlite3.connect(home.folder / "runs.db") as db:
        (rows,) = db.execute("SELECT count(*) FROM changes").fetchone()
    assert rows < 600


class TestDispute:
    """Another process has written to a run."""

    def test_others_are_written_all_the_same(self, log, writer):
        one, two = log.create("main", "p", 1), log.create("main", "p", 1)
        log.append(two, 0, [Woke(1)])
        writer.put([Batch(one, 0, [Woke(1)]), Batch(two, 0, [Finish(2, "failed")])])
        writer.put([Batch(two, 1, [Woke(3)]), Batch(one, 1, [Woke(2)])])
        wait_for(writer, 2)
        assert (list(writer.disputes), writer.failure) == ([two], None)
        assert log.changes(one) == [Woke(1), Woke(2)]
        assert (log.changes(two), log.find(two).ended_ms) == ([Woke(1)], 0)

    def test_is_told_once_and_nothing_of_the_run_is_written_any_more(self, log, writer):
        run = log.create("main", "p", 1)
        log.append(run, 0, [Woke(1), Woke(1)])
        for n in range(5):  # the third would fit by its position
            writer.put([Batch(run, n, [Woke(9)])])
            wait_for(writer, n + 1)
        assert (list(writer.disputes), log.changes(run)) == ([run], [Woke(1), Woke(1)])

    def test_who_opens_the_run_again_has_read_what_is_there(self, log, writer):
        run = log.create("main", "p", 1)
        log.append(run, 0, [Woke(1)])
        opened = Opened(2, "p", {}, host())
        writer.put([Batch(run, 0, [opened])])
        writer.put([Batch(run, 1, [opened])])
        wait_for(writer, 2)
        assert (list(writer.disputes), log.changes(run)) == ([run], [Woke(1), opened])


def test_it_writes_what_was_put_before_it_stops(log, writer):
    run = log.create("main", "p", 1)
    for n in range(50):
        writer.put([Batch(run, n, [Woke(n)])])
    writer.stop()
    assert (writer.durable, len(log.changes(run))) == (50, 50)
    assert not threads()
    writer.put([Batch(run, 50, [Woke(50)])])
    writer.stop()
    assert log.length(run) == 51


def seen_in_a_fork(writer):
    """How many threads a forked process has, some of them of libraries, and what is durable by then."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, bytes([len(os.listdir("/proc/self/task")), writer.durable]))
        os._exit(0)
    os.waitpid(child, 0)
    return tuple(os.read(reading, 2))


def test_there_is_no_thread_while_the_process_forks(log, writer):
    """What a thread holds at that moment would be held in the child for ever."""
    run = log.create("main", "p", 1)
    without, _ = seen_in_a_fork(writer)
    writer.put([Batch(run, 0, [Woke(1)])])
    assert seen_in_a_fork(writer) == (without, 1)
    writer.put([Batch(run, 1, [Woke(2)])])
    wait_for(writer, 2)
    assert log.changes(run) == [Woke(1), Woke(2)]


@pytest.mark.parametrize("seed", range(5))
def test_a_kill_leaves_a_beginning_that_has_all_that_was_told(home, log, seed):
    run = log.create("main", "p", 1)
    told, says = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(home, run, says))
    child.start()
    heard = 0
    for _ in range(random.Random(seed).randrange(1, 20)):
        heard = told.recv()
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    found = log.changes(run)
    assert len(found) >= 3 * heard
    assert found == [Woke(n // 3) for n in range(len(found))]
    assert len(found) % 3 == 0
    assert log.append(run, len(found), [Woke(0)]) == len(found) + 1


def _write_for_ever(home, run, says):
    writer = RunLog(home, writable=True).writer()
    n = 0
    while True:
        writer.put([Batch(run, 3 * n, [Woke(n)] * 3)])
        n += 1
        if n % 7 == 0:
            wait_for(writer, n - 3)
            says.send(writer.durable)


class Failing:
    """A connection that fails when it is told to: before it has done what it was to do, or after."""

    def __init__(self, db, faults):
        self.db = db
        self.faults = faults  # by the first word of a statement: (before or after, code)

    def execute(self, statement, *values, method="execute"):
        when, code = self.faults.get(statement.split()[0], ("", 0))
        if when == "before":
            raise failure(code)
        done = getattr(self.db, method)(statement, *values)
        if when == "after":
            raise failure(code)
        return done

    def executemany(self, statement, rows):
        return self.execute(statement, rows, method="executemany")

    def close(self):
        self.db.close()


def failure(code):
    error = sqlite3.OperationalError(f"fault {code}")
    error.sqlite_errorcode = code
    return error


@pytest.fixture
def patience(monkeypatch):
    """Little of it."""
    monkeypatch.setattr(writers, "_TIMEOUT_S", 0.01)
    monkeypatch.setattr(writers, "_LONG_S", 0.05)
    monkeypatch.setattr(writers, "_PAUSES_S", (0.001, 0.01))


@pytest.fixture
def failing(home, patience):
    """A writer whose connections fail with these faults, which may be changed."""
    made = []

    def make(faults):
        path = home.folder / "runs.db"
        made.append(Writer(path, lambda path, timeout_s: Failing(connect(path, timeout_s), faults)))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


class TestOutage:
    def test_of_a_database_that_another_process_has(self, home, log, patience):
        run, writer = log.create("main", "p", 1), log.writer()
        with sqlite3.connect(home.folder / "runs.db", isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            for n in range(3):
                writer.put([Batch(run, n, [Woke(n)])])
            wait_until(writer, lambda: writer.outage)
            assert (writer.outage, writer.durable) == ("database is locked", 0)
            assert log.changes(run) == []
            other.execute("ROLLBACK")
        wait_for(writer, 3)
        assert (writer.outage, log.changes(run)) == ("", [Woke(0), Woke(1), Woke(2)])
        writer.close()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
    def test_of_a_full_disk(self, tmp_path, patience):
        (tmp_path / "disk").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path / "disk"], check=True)
        try:
            log = RunLog(Home(tmp_path / "disk"), writable=True)
            run, writer = log.create("main", "p", 1), log.writer()
            with contextlib.suppress(OSError), open(tmp_path / "disk/filler", "wb", buffering=0) as filler:
                while filler.write(bytes(1000)):
                    pass
            for n in range(500):
                writer.put([Batch(run, 10 * n, [Woke(10 * n + k) for k in range(10)])])
            wait_until(writer, lambda: writer.outage)
            assert writer.outage == "database or disk is full"
            (tmp_path / "disk/filler").unlink()
            wait_for(writer, 500)
            assert log.changes(run) == [Woke(n) for n in range(5000)]
            writer.close()
            log.close()
        finally:
            subprocess.run(["umount", "-l", tmp_path / "disk"], check=True)

    # Full, I/O error, I/O error while it is flushed, cannot open, read only.
    @pytest.mark.parametrize("code", [13, 10, 1034, 14, 8])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("where", ["BEGIN", "INSERT", "COMMIT"])
    def test_of_the_disk_loses_nothing_and_repeats_nothing(self, log, failing, code, when, where):
        """After a commit that failed it is open whether it was one."""
        one, two = log.create("main", "p", 1), log.create("main", "p", 1)
        faults = {where: (when, code)}
        writer = failing(faults)
        for n in range(3):
            writer.put([Batch(one, n, [Woke(n)]), Batch(two, n, [Woke(n)])])
        wait_until(writer, lambda: writer.outage or writer.durable)
        assert writer.durable == 0 or (where, when) == ("COMMIT", "after")
        faults.clear()
        wait_for(writer, 3)
        assert writer.outage == ""
        assert log.changes(one) == log.changes(two) == [Woke(0), Woke(1), Woke(2)]

    def test_that_ends_before_long_is_none(self, home, log):
        run, writer = log.create("main", "p", 1), log.writer()
        with sqlite3.connect(home.folder / "runs.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            writer.put([Batch(run, 0, [Woke(0)])])
            other.execute("ROLLBACK")
        wait_for(writer, 1)
        assert writer.outage == ""
        writer.close()

    def test_that_will_not_pass_is_a_failure(self, log, failing):
        run = log.create("main", "p", 1)
        writer = failing({"INSERT": ("before", 11)})  # the database is malformed
        writer.put([Batch(run, 0, [Woke(0)])])
        wait_for(writer, 1)
        assert (writer.outage, writer.failure.sqlite_errorcode) == ("", 11)

    def test_does_not_keep_the_thread_from_ending_and_what_is_left_is_written_later(self, log, failing):
        run, faults = log.create("main", "p", 1), {"INSERT": ("before", 13)}
        writer = failing(faults)
        writer.put([Batch(run, 0, [Woke(0)])])
        wait_until(writer, lambda: writer.outage)
        writer.put([Batch(run, 1, [Woke(1)])])
        writer.stop()
        assert (writer.durable, writer.handed, threads()) == (0, 2, [])
        faults.clear()
        writer.start()
        wait_for(writer, 2)
        assert log.changes(run) == [Woke(0), Woke(1)]

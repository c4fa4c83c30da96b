"""The thread that writes the run log: in order, whole, and never ahead of what it says."""

import multiprocessing
import os
import random
import select
import signal
import sqlite3
import threading

import pytest

from flowc.plan.diagnostics import Refused
from flowrun.core.changes import Finish, Woke
from flowrun.shell.database import Conflict
from flowrun.shell.runlog import Home, RunLog, demand_written


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


def wait_for(writer, durable):
    while writer.durable < durable and writer.failure is None:
        select.select([writer.woken], [], [])
        writer.heard()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "run log"]


def test_what_is_durable_is_told_and_can_be_read(log, writer):
    run = log.create("main", "p", 1)
    writer.put([(run, 0, [Woke(1), Woke(2)])])
    wait_for(writer, 1)
    assert log.changes(run) == [Woke(1), Woke(2)]
    assert (writer.handed, writer.durable) == (1, 1)


def test_batches_are_written_in_order_many_at_once(home, log, writer):
    one, two = log.create("main", "p", 1), log.create("main", "p", 1)
    for n in range(300):
        writer.put([(one, n, [Woke(n)]), (two, 2 * n, [Woke(n), Woke(n)])])
    wait_for(writer, 300)
    assert log.changes(one) == [Woke(n) for n in range(300)]
    assert log.changes(two, 597) == [Woke(298), Woke(299), Woke(299)]
    with sqlite3.connect(home.folder / "runs.db") as db:
        (rows,) = db.execute("SELECT count(*) FROM changes").fetchone()
    assert rows < 600


def test_a_batch_is_there_whole_or_not_at_all_in_all_its_runs(log, writer):
    one, two = log.create("main", "p", 1), log.create("main", "p", 1)
    log.append(two, 0, [Woke(1)])
    writer.put([(one, 0, [Finish(1, "failed")]), (two, 0, [Woke(2)])])
    wait_for(writer, 1)
    assert isinstance(writer.failure, Conflict)
    assert (log.changes(one), log.changes(two)) == ([], [Woke(1)])
    assert log.find(one).ended_ms == 0


def test_that_another_process_wrote_is_told(home, log, writer):
    run = log.create("main", "p", 1)
    log.append(run, 0, [Woke(1)])
    writer.put([(run, 0, [Woke(1)])])
    wait_for(writer, 1)
    with pytest.raises(Refused, match=r"\[FR305\].* another process has written to the log of `main-1`"):
        demand_written(writer, home)


def test_it_writes_what_was_put_before_it_stops(log, writer):
    run = log.create("main", "p", 1)
    for n in range(50):
        writer.put([(run, n, [Woke(n)])])
    writer.stop()
    assert (writer.durable, len(log.changes(run)), threads()) == (50, 50, [])
    writer.put([(run, 50, [Woke(50)])])
    writer.stop()
    assert log.length(run) == 51


def test_there_is_no_thread_while_the_process_forks(log, writer):
    """What a thread holds at that moment would be held in the child for ever."""
    run = log.create("main", "p", 1)
    writer.put([(run, 0, [Woke(1)])])
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, bytes([len(os.listdir("/proc/self/task")), writer.durable]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 2) == bytes([1, 1])
    writer.put([(run, 1, [Woke(2)])])
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
        writer.put([(run, 3 * n, [Woke(n)] * 3)])
        n += 1
        if n % 7 == 0:
            wait_for(writer, n - 3)
            says.send(writer.durable)

"""One process executes a run, and everybody can see whether one does."""

import multiprocessing
import signal

import pytest

from flowc.plan.diagnostics import Refused
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import RunLock, is_locked
from flowrun.shell.log.runlog import RunLog


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "state")


@pytest.fixture
def log(home):
    return RunLog(home, writable=True)


class TestLock:
    def test_is_held_by_one(self, home, holder):
        with pytest.raises(Refused, match=r"\[FR303\] run `main-1` is being executed"):
            RunLock(home, "main-1")
        RunLock(home, "main-2")

    def test_tells_running_from_interrupted(self, home, log, holder):
        log.create("main", "p", 1)
        assert log.find("main-1").status == "running"
        holder.kill()
        holder.join()
        assert log.find("main-1").status == "interrupted"

    def test_is_free_after_a_kill(self, home, holder):
        holder.kill()
        holder.join()
        assert not is_locked(home, "main-1")
        RunLock(home, "main-1")

    def test_looking_does_not_take_it(self, home, holder):
        """Whoever is looking must not make another think that the run is being executed."""
        assert is_locked(home, "main-1")
        holder.kill()
        holder.join()
        asks, answers = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=_look_often, args=(home, answers))
        child.start()
        assert asks.recv() is False
        for _ in range(200):
            _take_and_leave(home)
        child.kill()
        child.join()

    def test_needs_no_right_to_write_to_look(self, home, holder):
        path = home.run_folder("main-1") / "lock"
        path.chmod(0o444)
        assert is_locked(home, "main-1")

    def test_nobody_has_one_that_was_never_made(self, home):
        assert not is_locked(home, "main-9")

    @pytest.fixture
    def holder(self, home):
        """A process that has the lock of `main-1`."""
        asks, answers = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=_hold, args=(home, answers))
        child.start()
        assert asks.recv() == "held"
        yield child
        child.kill()
        child.join()


def _hold(home, answers):
    lock = RunLock(home, "main-1")
    answers.send("held")
    signal.pause()
    del lock


def _look_often(home, answers):
    answers.send(is_locked(home, "main-1"))
    while True:
        is_locked(home, "main-1")


def _take_and_leave(home):
    """In this process: closing the file gives the lock back."""
    lock = RunLock(home, "main-1")
    lock._file.close()

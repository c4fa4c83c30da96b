"""What is removed and what is not, also beside those who store and hold things meanwhile."""

import multiprocessing
import os
import time

import numpy as np
import pytest
from graphs import host, plan

from flowc.plan.diagnostics import Refused
from flowrun.core.changes import Earlier, Exited, Finish, Logged, Opened
from flowrun.shell.keeping.retention import Retention, collect
from flowrun.shell.keeping.verify import verify
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import RunLock
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.store.files import PARTIAL

DAY_MS = 24 * 60 * 60 * 1000
TICK_MS = 20  # of a file system's clock, at most
NONE, ALL = Retention(runs=0), Retention()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "state")


@pytest.fixture
def log(home):
    log = RunLog(home, writable=True)
    yield log
    log.close()


def now():
    return time.time_ns() // 1_000_000


def begin(log, at_ms, earlier=None, **made):
    """A run that goes on, in which nodes have made arrays."""
    graph = plan("\n".join(made) or "a")
    run = log.create("main", "plans/main.plan.jsonl", at_ms)
    artifacts = {node: log.home.store.put(np.arange(n)) for node, n in made.items()}
    exits = [Exited(at_ms, node, 1, artifact) for node, artifact in artifacts.items()]
    log.append(run, 0, [Opened(at_ms, log.keep_plan(graph)[0], {}, host(), earlier or {}), *exits])
    return run, artifacts


def end(log, run, at_ms):
    log.append(run, log.length(run), [Finish(at_ms, "succeeded")])


def done(log, at_ms, **made):
    run, artifacts = begin(log, at_ms, **made)
    end(log, run, at_ms)
    return artifacts


def logs(log, at_ms, *artifacts):
    """A run whose node `a` made nothing that has a file, and logged artifacts under one name."""
    run, _ = begin(log, at_ms)
    told = [Logged(at_ms, "a", 1, artifacts={"plot": artifact}) for artifact in artifacts]
    log.append(run, log.length(run), [*told, Exited(at_ms, "a", 1, log.home.store.put(1))])
    end(log, run, at_ms)
    return run


def damage(path):
    was = path.stat()
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def is_there(log, artifact):
    return all(log.home.store.path(digest).exists() for digest in log.home.store.digests(artifact))


def later():
    """When all that is there now is older than the clock's grain."""
    return now() + 5000


class TestRetention:
    def test_without_a_word_all_runs_are_kept(self, log):
        made = done(log, 1000, a=5)
        orphan = log.home.store.put(np.arange(99))
        found = collect(log, ALL, later())
        assert (found.files, found.kept_files) == (1, 1)
        assert is_there(log, made["a"])
        assert not is_there(log, orphan)

    def test_by_number_of_each_workflow(self, log):
        first, second = done(log, 1000, a=5), done(log, 2000, a=6)
        collect(log, Retention(runs=1), later())
        assert (is_there(log, first["a"]), is_there(log, second["a"])) == (False, True)

    def test_a_run_that_was_given_up_holds_nothing_ever_after(self, log):
        made = done(log, 1000, a=5)
        collect(log, NONE, now())  # it is too new to be removed yet
        assert is_there(log, made["a"])
        collect(log, ALL, later())
        assert not is_there(log, made["a"])

    def test_by_days(self, log):
        at = later()
        first, second = done(log, at - 10 * DAY_MS, a=5), done(log, at - DAY_MS, a=6)
        collect(log, Retention(days=2), at)
        assert (is_there(log, first["a"]), is_there(log, second["a"])) == (False, True)

    def test_either_keeps(self, log):
        at = later()
        first, second = done(log, at - DAY_MS, a=5), done(log, at - DAY_MS, a=6)
        collect(log, Retention(days=2, runs=1), at)
        assert is_there(log, first["a"])
        assert is_there(log, second["a"])

    def test_what_a_kept_run_has_in_common_with_one_that_is_not_stays(self, log):
        done(log, 1000, a=5, b=7)
        second = done(log, 2000, a=5)
        assert collect(log, Retention(runs=1), later()).files == 1
        assert is_there(log, second["a"])

    def test_what_a_resumed_run_has_kept_from_before(self, log):
        made = done(log, 1000, a=5)
        earlier = {"a": Earlier(1, artifact=made["a"])}
        run = log.runs()[0].run
        again = Opened(3000, log.opened(run).plan, {}, host(), earlier)
        log.append(run, log.length(run), [again, Finish(3000, "succeeded")])
        collect(log, ALL, later())
        assert is_there(log, made["a"])

    def test_what_was_logged_stays_with_its_run(self, log):
        first, last = log.home.store.put(np.arange(5)), log.home.store.put(np.arange(6))
        run = logs(log, 1000, first, last)
        again = Opened(3000, log.opened(run).plan, {}, host(), {"a": Earlier(1)})
        log.append(run, log.length(run), [again, Finish(3000, "succeeded")])
        assert collect(log, ALL, later()).files == 1  # what was logged anew under its name
        assert (is_there(log, first), is_there(log, last)) == (False, True)
        collect(log, NONE, later())
        assert not is_there(log, last)

    def test_only_told(self, log):
        made = done(log, 1000, a=5)
        assert collect(log, NONE, later(), dry_run=True).files == 1
        assert is_there(log, made["a"])

    def test_logs_of_runs_that_are_not_kept(self, log):
        done(log, 1000, a=5)
        run = log.runs()[0].run
        (log.home.run_folder(run) / "logs").mkdir(parents=True)
        assert collect(log, NONE, later()).dropped == [run]
        assert not (log.home.run_folder(run) / "logs").exists()
        assert [row.run for row in log.runs()] == [run]

    def test_what_crashes_left(self, log):
        done(log, 1000, a=5)
        (log.home.store.folder / f"{PARTIAL}left").touch()
        array = log.home.store.empty(1000)
        assert collect(log, ALL, later()).partial == 1
        array[:] = 1
        assert is_there(log, log.home.store.put(array))

    def test_without_a_log_nothing(self, tmp_path):
        home = Home(tmp_path)
        artifact = home.store.put(np.arange(5))
        with pytest.raises(Refused, match="FR161"):
            collect(RunLog(home), NONE, later())
        assert home.store.is_sound(artifact)


class TestBesideARunThatGoesOn:
    def test_what_it_made_and_what_it_has_not_told_of_yet_stays(self, log):
        run, made = begin(log, now(), a=5)
        lock = RunLock(log.home, run)
        untold = log.home.store.put(np.arange(77))
        assert collect(log, NONE, later()).files == 0
        assert is_there(log, made["a"])
        assert is_there(log, untold)
        lock.release()

    def test_what_it_has_stored_that_was_there_before(self, log):
        old = done(log, 1000, a=5)["a"]
        time.sleep(0.2)
        at = now() - TICK_MS
        assert log.home.store.put(np.arange(5)) == old  # by a run that begins just now
        collect(log, NONE, at + 1000)
        assert is_there(log, old)

    def test_what_it_is_about_to_refer_to(self, log):
        old = done(log, 1000, a=5)["a"]
        time.sleep(0.2)
        at = now() - TICK_MS
        assert log.home.store.is_sound(old)
        collect(log, NONE, at + 1000)
        assert is_there(log, old)

    def test_races_with_those_who_put(self, log):
        """Whatever somebody stored since the moment that counts is there, though it had been there before."""
        done(log, 1000, a=5)
        context = multiprocessing.get_context("fork")
        stop, since = context.Event(), context.Value("q", 0)
        args = [(log.home.store, stop, since, seed) for seed in range(3)]
        workers = [context.Process(target=_put_and_look, args=given) for given in args]
        for worker in workers:
            worker.start()
        ends = time.monotonic() + 3
        removed = 0
        while time.monotonic() < ends:
            since.value = now() - 2 * TICK_MS
            removed += collect(log, NONE, since.value + 1000).files
        stop.set()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        assert removed > 3


def _put_and_look(store, stop, since, seed):
    """Store the same few things again and again; each is there unless all of that is too long ago."""
    random = np.random.default_rng(seed)
    while not stop.is_set():
        began = now() - TICK_MS
        artifact = store.put(np.arange(int(random.integers(1000, 1010))))
        (digest,) = store.digests(artifact)
        for _ in range(10):
            if not store.path(digest).exists() and since.value <= began:
                os._exit(1)
            time.sleep(0.002)
        time.sleep(float(random.random()) * 0.05)


class TestVerify:
    def test_what_was_given_up_is_not_missed(self, log):
        made = done(log, 1000, a=5)
        collect(log, NONE, later())
        assert not is_there(log, made["a"])
        assert verify(log).problems == []

    def test_but_what_the_run_made_when_it_went_on(self, log):
        made = done(log, 1000, a=5)
        collect(log, NONE, later())
        run = log.runs()[0].run
        again = Opened(3000, log.opened(run).plan, {}, host())
        log.append(run, log.length(run), [again, Exited(1, "a", 2, made["a"]), Finish(3000, "succeeded")])
        assert len(verify(log).problems) == 1

    def test_all_is_sound(self, log):
        done(log, 1000, a=5, b=6)
        found = verify(log)
        assert (found.files, found.runs, found.problems) == (2, 1, [])

    @pytest.mark.parametrize("how", ["flipped", "gone"])
    def test_says_whose_it_is(self, log, how):
        made = done(log, 1000, a=5, b=6)
        (digest,) = log.home.store.digests(made["b"])
        path = log.home.store.path(digest)
        if how == "gone":
            path.unlink()
        else:
            damage(path)
        (problem,) = verify(log).problems
        assert problem.code == "FR307"
        assert "node `b` of run `main-1` made it" in problem.notes

    def test_what_nobody_needs(self, log):
        done(log, 1000, a=5)
        (digest,) = log.home.store.digests(log.home.store.put(np.arange(99)))
        log.home.store.path(digest).chmod(0o644)
        log.home.store.path(digest).write_bytes(b"")
        (problem,) = verify(log).problems
        assert "no run refers to it any more" in problem.notes

    def test_what_was_logged_is_made_again_by_its_node_alone(self, log):
        artifact = log.home.store.put(np.arange(5))
        logs(log, 1000, artifact)
        (digest,) = log.home.store.digests(artifact)
        damage(log.home.store.path(digest))
        found = verify(log)
        (problem,) = found.problems
        assert "node `a` of run `main-1` logged it" in problem.notes
        assert "`flowrun retry main-1 --from a`" in problem.hint
        assert [one.made_by for one in found.damage] == [()]

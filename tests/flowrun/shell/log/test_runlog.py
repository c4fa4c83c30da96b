"""The run log: appended to by one, read by many, and whole whatever happens to the writer."""

import multiprocessing
import os
import signal
import sqlite3

import pytest
from graphs import Run, host, plan

from flowc.plan.diagnostics import Refused
from flowc.plan.history import Record
from flowrun.core.changes import (
    CancelRequested,
    Earlier,
    Exited,
    Finish,
    Logged,
    Opened,
    Point,
    Woke,
)
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure, Usage
from flowrun.core.state import State
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import RunLock
from flowrun.shell.log.runlog import RunLog

PLAN = plan("a retries=1 backoff=0\nb < a gpus=1", inputs={"n": "int"})
HOST = host(gpus=[8000])


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "state")


@pytest.fixture
def log(home):
    return RunLog(home, writable=True)


def play(log, run, *events):
    """Let the core decide about events, and log it all; the state that it has by then."""
    state = State(PLAN, {"n": 5})
    position = len(log.changes(run))
    for event in (Opened(1, log.keep_plan(PLAN)[0], {"n": 5}, HOST), *events):
        position = log.append(run, position, [event, *decide(state, event)])
    return state


class TestFacts:
    """What searches know."""

    def test_inputs_metrics_and_tags_are_at_hand(self, log):
        run = log.create("main", "p", 1)
        state = play(log, run)
        points = (Point("loss", 0.5, 0, 2), Point("loss", "nan", 1, 3), Point("f1", 0.25, -1, 3))
        log.append(run, log.length(run), [Logged(3, "a", 1, points, ("a note",))])
        log.tag(run, {"team": "ads", "best": "yes"}, 4)
        log.tag(run, {"best": ""}, 5)
        assert state.status == "running"
        assert log.facts() == {
            run: {"input": {"n": 5}, "metric": {"loss": "nan", "f1": 0.25}, "tag": {"team": "ads"}}
        }
        assert log.state_of(run).metrics["f1"] == 0.25

    def test_a_run_is_tagged_while_another_process_writes_it(self, home, log):
        run = log.create("main", "p", 1)
        assert log.append(run, 0, [Woke(1)]) == 1
        RunLog(home, writable=True).tag(run, {"team": "ads"}, 2)
        assert log.append(run, 1, [Woke(3)]) == 2


class TestRuns:
    def test_are_named_after_their_workflow_and_numbered(self, log):
        assert [log.create("iris", "p", 1), log.create("digits", "p", 2)] == ["iris-1", "digits-2"]

    def test_many_processes_may_create_some_at_once(self, home, log):
        context = multiprocessing.get_context("fork")
        gate = context.Barrier(4)
        children = [context.Process(target=_create_some, args=(home, gate)) for _ in range(4)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [row.run for row in log.runs()] == [f"x-{n + 1}" for n in range(20)]

    def test_the_latest_is_found_without_a_name(self, log):
        log.create("iris", "p", 1)
        log.create("iris", "p", 2)
        assert (log.find("").run, log.find("iris-1").run) == ("iris-2", "iris-1")

    def test_what_is_not_there(self, home, log):
        with pytest.raises(Refused, match=r"\[FR301\] there are no runs"):
            log.find("")
        log.create("iris", "p", 1)
        with pytest.raises(Refused, match=r"\[FR301\] there is no run `iris-2`"):
            log.find("iris-2")

    def test_status_follows_the_log(self, home, log):
        run = log.create("main", "p", 1)
        lock = RunLock(home, run)
        play(log, run, Exited(5, "a", 1, failure=Failure("FR201", "no")))
        assert [row.ended_ms for row in log.runs()] == [0]
        log.append(run, len(log.changes(run)), [Finish(9, "failed")])
        assert [(row.status, row.ended_ms) for row in log.runs()] == [("failed", 9)]
        play(log, run)
        del lock
        assert [(row.status, row.ended_ms) for row in log.runs()] == [("interrupted", 0)]


class TestHistory:
    def test_is_of_all_runs_and_counts_what_was_kept_once(self, log):
        assert log.history().records == []
        done = Artifact("a" * 64, 7)
        first = log.create("main", "p", 1)
        play(log, first, Exited(31, "a", 1, done, usage=Usage(1, 20)))
        second = log.create("main", "p", 1)
        play(log, second, Exited(51, "a", 1, failure=Failure("FR201", "no")), Exited(91, "a", 2, done))
        # Resumed: what is done is not done again.
        earlier = {"a": Earlier(2, 51, 91, Usage(), done)}
        opened = Opened(200, log.keep_plan(PLAN)[0], {"n": 5}, HOST, earlier)
        state, position = State(PLAN, {"n": 5}), len(log.changes(second))
        position = log.append(second, position, [opened, *decide(state, opened)])
        ended = Exited(207, "b", 1, done)
        log.append(second, position, [ended, *decide(state, ended)])
        assert log.history().records == [
            Record("flows:a", "c0de", 2, 30, 40, 20),
            Record("flows:b", "c0de", 1, 7, 7, 0),
        ]


def _create_some(home, gate):
    log = RunLog(home, writable=True)
    gate.wait()
    for _ in range(5):
        log.create("x", "p", 1)


class TestChanges:
    def test_come_back_as_they_were(self, log):
        run = log.create("main", "p", 1)
        artifact = Artifact("a" * 64, 7)
        earlier = {"a": Earlier(1, 2, 3, Usage(4, 5), artifact), "b": Earlier(2)}
        events = [
            Opened(1, "p", {"n": [1, None, {"x": 2.5}]}, HOST, earlier),
            Exited(2, "a", 1, artifact, usage=Usage(1, 2)),
            Exited(2, "a", 1, failure=Failure("FR201", "wrong äöü", "x.py:3", "a hint")),
            Woke(3),
            CancelRequested(4),
        ]
        commands = [c for e in [CancelRequested(3)] for c in decide(Run(PLAN, HOST).state, e)]
        assert log.append(run, 0, events + commands) == len(events + commands)
        assert log.changes(run) == events + commands

    def test_belong_to_their_run(self, log):
        one, two = log.create("main", "p", 1), log.create("main", "p", 1)
        log.append(one, 0, [Woke(1)])
        log.append(two, 0, [Woke(2), Woke(3)])
        assert [log.changes(one), log.changes(two)] == [[Woke(1)], [Woke(2), Woke(3)]]

    def test_a_second_writer_is_refused_whole(self, home, log):
        run = log.create("main", "p", 1)
        other = RunLog(home, writable=True)
        log.append(run, 0, [Woke(1), Woke(2)])
        with pytest.raises(Refused, match="FR168"):
            other.append(run, 0, [Woke(7)])
        with pytest.raises(Refused, match="FR168"):
            other.append(run, 1, [Woke(7), Finish(8, "failed")])
        assert log.changes(run) == [Woke(1), Woke(2)]
        assert log.find(run).ended_ms == 0
        assert other.append(run, 2, [Woke(3)]) == 3

    def test_after_a_refusal_the_log_is_usable(self, log):
        run = log.create("main", "p", 1)
        log.append(run, 0, [Woke(1)])
        with pytest.raises(Refused):
            log.append(run, 0, [Woke(1)])
        assert log.append(run, 1, [Woke(2)]) == 2

    def test_are_seen_by_readers_at_once(self, home, log):
        run = log.create("main", "p", 1)
        reader = RunLog(home)
        for n in range(3):
            log.append(run, n, [Woke(n)])
            assert reader.changes(run)[-1] == Woke(n)

    def test_survive_the_writers_sudden_end(self, home, log):
        run = log.create("main", "p", 1)
        child = multiprocessing.get_context("fork").Process(target=_append_and_die, args=(home, run))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert log.changes(run) == [Woke(1), Woke(2)]
        assert log.append(run, 2, [Woke(3)]) == 3

    def test_a_damaged_row_is_told(self, home, log):
        run = log.create("main", "p", 1)
        log.append(run, 0, [Woke(1)])
        with sqlite3.connect(home.folder / "runs.db") as db:
            db.execute("UPDATE changes SET body = replace(body, 'w', 'x')")
        with pytest.raises(Refused, match=r"\[FR311\].* what run `main-1` did, from change 0 on, is damaged"):
            log.changes(run)

    def test_a_file_that_is_no_database_is_told(self, home):
        home.folder.mkdir(parents=True)
        (home.folder / "runs.db").write_bytes(b"no database at all, though long enough" * 100)
        for use in (lambda: RunLog(home).runs(), lambda: RunLog(home, writable=True)):
            with pytest.raises(Refused, match="FR305"):
                use()

    def test_reading_makes_nothing(self, home):
        assert RunLog(home).runs() == []
        assert not home.folder.exists()


def _append_and_die(home, run):
    log = RunLog(home, writable=True)
    log.append(run, 0, [Woke(1), Woke(2)])
    log._db.execute("BEGIN IMMEDIATE")
    log._db.execute("INSERT INTO changes VALUES (?, 2, 1, 0, '{}')", (run,))
    os.kill(os.getpid(), signal.SIGKILL)


class TestState:
    def test_is_rebuilt_from_the_log(self, home, log):
        run = log.create("main", "p", 1)
        events = [
            Exited(5, "a", 1, failure=Failure("FR201", "no"), usage=Usage(1, 2)),
            Exited(6, "a", 2, Artifact("a" * 64, 3)),
            CancelRequested(7),
        ]
        live = play(log, run, *events)
        rebuilt = RunLog(home).state_of(run)
        assert rebuilt.tasks == live.tasks
        assert rebuilt.scheduler.pool.left() == live.scheduler.pool.left()
        assert (rebuilt.inputs, rebuilt.keys, rebuilt.cancelling) == (live.inputs, live.keys, 1)

    def test_counts_from_where_the_run_was_opened_last(self, home, log):
        run = log.create("main", "p", 1)
        play(log, run, Exited(5, "a", 1, failure=Failure("FR207", "lost")))
        live = play(log, run)
        assert log.state_of(run).tasks == live.tasks

    def test_there_is_none_before_it_was_opened(self, log):
        assert log.state_of(log.create("main", "p", 1)) is None


class TestFormats:
    def test_a_log_of_the_first_one_is_brought_up(self, home):
        home.folder.mkdir(parents=True)
        with sqlite3.connect(home.folder / "runs.db") as db:
            db.executescript(
                """
                CREATE TABLE runs (run TEXT PRIMARY KEY, number INTEGER UNIQUE, workflow TEXT, plan_file TEXT,
                    created_ms INTEGER, status TEXT, ended_ms INTEGER) WITHOUT ROWID;
                CREATE TABLE changes (run TEXT, position INTEGER, body BLOB, PRIMARY KEY (run, position))
                    WITHOUT ROWID;
                CREATE TABLE plans (hash TEXT PRIMARY KEY, body BLOB);
                INSERT INTO runs VALUES ('main-1', 1, 'main', 'p', 5, 'running', 0);
                INSERT INTO changes VALUES ('main-1', 0, CAST('{"change":"woke","at_ms":7}' AS BLOB)),
                    ('main-1', 1, CAST('{"change":"woke","at_ms":8}' AS BLOB));
                """
            )
        log = RunLog(home)
        assert log.changes("main-1") == [Woke(7), Woke(8)]
        assert log.changes("main-1", 1) == [Woke(8)]
        assert log.find("main-1").created_ms == 5
        assert RunLog(home, writable=True).append("main-1", 2, [Woke(9)]) == 3

"""Results of other runs, found in the log: only what is there, whole, and what was written."""

import sqlite3

import pytest
from graphs import host, plan

from flowrun.core.changes import Exited, Logged, Opened, Point, Reuse, Start, Woke
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure, Origin, Placement
from flowrun.core.reuse import Cache, Hit
from flowrun.core.state import State
from flowrun.shell.log.database import Batch
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.store.files import LARGE_BYTES

KEY = b"0123456789abcdef"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "state")


@pytest.fixture
def log(home):
    return RunLog(home, writable=True)


def write(log, changes, keys, run=""):
    """As the loop hands it over."""
    run = run or log.create("main", "p", 1)
    writer = log.writer()
    writer.put([Batch(run, log.length(run), changes, keys)])
    writer.close()
    assert writer.durable == 1
    return run


def stored(home, value):
    return home.store.put(value)


def test_the_latest_is_found_with_its_origin(home, log):
    artifact = stored(home, list(range(1000)))
    for _ in range(2):
        run = write(log, [Woke(1), Exited(2, "fit", 3, artifact)], {1: KEY})
    assert log.results().look_up(KEY) == Hit(artifact, Origin(run, "fit", 3))
    assert log.results().look_up(b"another key 6789") is None


def test_one_that_was_taken_is_of_who_computed_it(home, log):
    artifact, origin = stored(home, [1.0]), Origin("main-1", "a", 2)
    write(log, [Reuse(2, "b", artifact, origin)], {0: KEY})
    assert log.results().look_up(KEY) == Hit(artifact, origin)


def test_what_the_attempt_logged_that_computed_it_is_found_with_it(home, log):
    """Of its artifacts those that are there. What other attempts and nodes logged is not of it."""
    artifact, kept, gone = stored(home, [1.0]), stored(home, [2.0] * 999), stored(home, [3.0] * 999)
    points = [Point("loss", 1 / n, n, n) for n in range(1, 5)]
    run = write(
        log,
        [
            Start(1, "fit", 1, Placement(1), "k"),
            Logged(1, "fit", 1, (points[0],), ("first",), {"gone": gone}),
            Exited(2, "fit", 1, failure=Failure("FR301", "no")),
            Start(3, "fit", 2, Placement(1), "k"),
            Logged(4, "fit", 2, (points[1],)),
            Logged(5, "other", 2, (Point("f1", 1.0, 1, 1),)),
        ],
        {},
    )
    last = Logged(6, "fit", 2, (points[2],), ("second",), {"kept": kept, "gone": gone})
    write(log, [last, Exited(7, "fit", 2, artifact), Logged(8, "fit", 2, (points[3],))], {}, run)
    home.store.path(gone.hash).unlink()
    found = log.results().logged(Origin(run, "fit", 2))
    assert found == Logged(0, "fit", 2, tuple(points[1:3]), ("second",), {"kept": kept})
    assert log.results().logged(Origin(run, "quiet", 1)) is None
    assert log.results().logged(Origin("main-99", "fit", 2)) is None


def test_what_was_taken_is_logged_by_who_computed_it(home, log):
    """It has no attempt, and is not looked for again where it was taken."""
    run = write(log, [Logged(1, "fit", 0, (), ("of main-0",))], {})
    assert log.results().logged(Origin(run, "fit", 0)) is None
    assert log.facts() == {}


def test_it_comes_with_the_change_or_not_at_all(home, log):
    """In one transaction: an append that is refused leaves no result."""
    artifact, run = stored(home, 1), log.create("main", "p", 1)
    log.append(run, 0, [Woke(1)])
    writer = log.writer()
    writer.put([Batch(run, 0, [Exited(2, "a", 1, artifact)], {0: KEY})])
    writer.close()
    assert list(writer.disputes) == [run]
    assert log.results().look_up(KEY) is None


def test_what_is_gone_from_the_store_or_damaged_is_not_taken(home, log):
    artifact = stored(home, "x" * 5000)
    write(log, [Exited(2, "a", 1, artifact)], {0: KEY})
    results, path = log.results(), home.store.path(artifact.hash)
    assert results.look_up(KEY)
    path.chmod(0o644)
    path.write_bytes(b"nonsense")
    assert results.look_up(KEY) is None
    path.unlink()
    assert results.look_up(KEY) is None


def test_what_is_large_is_not_looked_at_yet(home, log):
    artifact = stored(home, "x" * (LARGE_BYTES + 1))
    run = write(log, [Exited(2, "a", 1, artifact)], {0: KEY})
    home.store.path(artifact.hash).unlink()
    assert log.results().look_up(KEY) == Hit(artifact, Origin(run, "a", 1), verified=False)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE results SET position = position + 1",
        "UPDATE results SET run = 'main-2'",
        "UPDATE changes SET body = replace(body, 'fit', 'fat')",
        "DELETE FROM changes",
        "UPDATE changes SET position = 7",
    ],
)
def test_what_the_log_has_damaged_is_not_taken(home, log, damage):
    other = Exited(2, "fit", 1, stored(home, 2))
    write(log, [Exited(2, "fit", 1, stored(home, 1)), other], {0: KEY})
    write(log, [other], {0: b"of another one.."})
    assert log.results().look_up(KEY)
    with sqlite3.connect(home.folder / "runs.db") as db:
        db.execute(damage)
    assert log.results().look_up(KEY) is None


def test_many_rows_are_looked_at_one_after_the_other(home, log):
    artifacts = [stored(home, n) for n in range(40)]
    run = log.create("main", "p", 1)
    for n, artifact in enumerate(artifacts):
        write(log, [Exited(n, f"n{n}", 1, artifact)], {n: bytes([n] * 16)}, run)
    results = log.results()
    for n in (*range(40), *range(40)):
        assert results.look_up(bytes([n] * 16)) == Hit(artifacts[n], Origin(run, f"n{n}", 1))


def test_a_run_takes_what_the_one_before_computed(home, log):
    found = plan("a\nb < a")
    for expected in (["start", "start"], []):
        run = log.create("main", "p", 1)
        state = State(found, {}, cache=Cache(log.results().look_up))
        events, started = [Opened(1, log.keep_plan(found)[0], {}, host())], []
        while events:
            event = events.pop(0)
            changes = [event, *decide(state, event)]
            keys = {
                log.length(run) + i: state.contents[change.node]
                for i, change in enumerate(changes)
                if isinstance(change, Exited)
            }
            write(log, changes, keys, run)
            for task in state.running.values():
                started.append("start")
                events.append(Exited(2, task.node.id, 1, Artifact(*_stored(home, task.node.id))))
        assert started == expected
        assert state.status == "succeeded"


def _stored(home, value):
    artifact = stored(home, value)
    return artifact.hash, artifact.bytes, artifact.data

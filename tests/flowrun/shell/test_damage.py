"""A log that was cut off by a power failure, or in which bits have flipped: a beginning of it, or a refusal.

Never is something believed that was not written.
"""

import contextlib
import itertools
import random
import shutil

import pytest
from graphs import host, plan

from flowc.plan.diagnostics import Refused
from flowrun.core.changes import Exited, Finish, Opened
from flowrun.core.decide import decide
from flowrun.core.model import Artifact
from flowrun.core.state import State
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog

PLAN = plan("\n".join(f"n{i} < n{i - 1}" if i % 5 else f"n{i}" for i in range(30)))


def play(log, run):
    """Execute a run's nodes one after the other. What was logged by when: a list for each length."""
    state, changes, beginnings = State(PLAN, {}), [], [[]]
    event = Opened(1, log.keep_plan(PLAN)[0], {}, host())
    while event:
        made = [event, *decide(state, event)]
        log.append(run, len(changes), made)
        changes = [*changes, *made]
        beginnings.append(changes)
        running = next(iter(state.running.values()), None)
        artifact = Artifact(f"{len(changes):064x}", 1)
        event = running and Exited(state.now_ms + 7, running.node.id, running.attempt, artifact)
    assert state.status == "succeeded"
    return beginnings


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A home with three runs, all of it still in the write-ahead log; and what each did by when."""
    home = Home(tmp_path_factory.mktemp("written"))
    log = RunLog(home, writable=True)
    log._db.execute("PRAGMA wal_autocheckpoint = 0")
    runs = {run: play(log, run) for run in [log.create("main", "p", n) for n in range(3)]}
    yield home, runs
    log.close()


@pytest.fixture
def copies(written, tmp_path):
    """New copies of what a power failure would leave, with a function that damages a file of them."""
    home, _ = written
    numbers = itertools.count()

    def copy(name, damage):
        folder = tmp_path / str(next(numbers))
        shutil.copytree(home.folder, folder)
        (folder / "runs.db-shm").unlink(missing_ok=True)  # it is memory, and does not outlive the power
        with (folder / name).open("r+b") as file:
            damage(file)
        return RunLog(Home(folder), writable=True)

    return copy


@pytest.mark.parametrize("how", ["cut", "zeroed", "a sector is missing"])
def test_a_torn_tail_leaves_a_beginning_that_can_be_gone_on_with(written, copies, how):
    home, runs = written
    size = (home.folder / "runs.db-wal").stat().st_size
    seed, lengths = random.Random(how), set()
    for _ in range(60):
        at = seed.randrange(size)

        def damage(wal, at=at):
            if how == "cut":
                wal.truncate(at)
            else:
                wal.seek(at)
                wal.write(bytes(512 if how == "a sector is missing" else size - at))

        with contextlib.closing(copies("runs.db-wal", damage)) as log:
            found = {row.run: log.changes(row.run) for row in log.runs()}
            assert list(found) == list(runs)[: len(found)]
            for run, changes in found.items():
                assert changes in runs[run]
                go_on(log, run, changes)
            lengths.add(sum(map(len, found.values())))
    assert len(lengths) > 20


def go_on(log, run, changes):
    """It is as it was then, and what follows can be written."""
    ended = any(isinstance(change, Finish) for change in changes)
    assert log.find(run).status == ("succeeded" if ended else "interrupted")
    state = log.state_of(run)
    if state is not None and not ended:
        task = next(iter(state.running.values()))
        event = Exited(state.now_ms + 1, task.node.id, task.attempt, Artifact("e" * 64, 1))
        more = [event, *decide(state, event)]
        assert log.append(run, len(changes), more) == len(changes) + len(more)
        assert log.changes(run) == [*changes, *more]


@pytest.fixture(scope="module")
def settled(written, tmp_path_factory):
    """The bytes of the database, with all of it in one file."""
    home, _ = written
    folder = tmp_path_factory.mktemp("settled")
    shutil.copytree(home.folder, folder, dirs_exist_ok=True)
    RunLog(Home(folder), writable=True).close()
    assert not (folder / "runs.db-wal").exists()
    return (folder / "runs.db").read_bytes()


def test_a_flipped_bit_is_told_and_what_it_changed_is_not_believed(written, settled, tmp_path):
    _, runs = written
    seed, told = random.Random(5), 0
    for _ in range(150):
        content = bytearray(settled)
        content[seed.randrange(len(content))] ^= 1 << seed.randrange(8)
        (tmp_path / "runs.db").write_bytes(content)
        codes = set(read_all(Home(tmp_path), runs))
        told += bool(codes)
        assert codes <= {"FR305", "FR311", "FR312"}
    assert told > 50


def read_all(home, runs):
    """Read everything that there is, and compare it; the codes of refusals."""
    try:
        log = RunLog(home)
        listed = log.runs()
    except Refused as refused:
        yield refused.diagnostics[0].code
        return
    rows = [row for row in listed if row.status != "damaged"]
    for row in rows:
        assert (row.run in runs, row.workflow, row.plan_file, row.status) == (True, "main", "p", "succeeded")
    if len(rows) < len(listed):
        yield "FR311"
    for run, beginnings in runs.items():
        if run not in [row.run for row in listed]:
            assert len(rows) < len(listed)  # the damaged one was its
            continue
        try:
            log.find(run)
            changes = log.changes(run)
            assert changes == beginnings[-1]
            assert log.plan(changes[0].plan) == PLAN
            assert log.opened(run) == changes[0]
        except Refused as refused:
            yield refused.diagnostics[0].code
    log.close()

"""What an operator logs, on its way: all of it while it is little, bounded when it is much."""

import math
import os

import pytest

from flowrun.core.model import Artifact
from flowrun.shell.workers import journal
from flowrun.shell.workers.journal import (
    BURST,
    MAX_METRICS,
    MAX_NOTE,
    MAX_NOTES,
    PER_S,
    PLENTY,
    Journal,
    stride,
)


class Clock:
    now_ms = 1000

    def __call__(self):
        return self.now_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sent():
    return []


@pytest.fixture
def log(sent, clock):
    return Journal(sent.append, lambda value: Artifact(str(value), 1), clock)


def values(sent, name="loss"):
    return [point.value for entries in sent for point in entries.points if point.name == name]


def test_what_is_logged_is_sent_at_once(log, sent):
    log.metric("loss", 0.5, None)
    log.metric("loss", 0.25, 7)
    log.note("hello")
    log.artifact("confusion", "c")
    assert [len(entries.points) for entries in sent] == [1, 1, 0, 0]
    assert (sent[1].points[0].step, sent[1].points[0].at_ms, sent[0].points[0].step) == (7, 1000, -1)
    assert (sent[2].notes, sent[3].artifacts) == (("hello",), {"confusion": Artifact("c", 1)})


def test_what_is_no_number_has_a_name(log, sent):
    for value in (math.nan, math.inf, -math.inf):
        log.metric("loss", value, None)
    assert values(sent) == ["nan", "inf", "-inf"]


def test_what_comes_too_fast_waits_and_goes_together(log, sent, clock):
    for i in range(1000):
        log.metric("loss", i, i)
    assert len(sent) == BURST
    clock.now_ms += 1000 // PER_S
    log.metric("loss", 1000, 1000)
    assert len(sent) == BURST + 1
    log.close()
    assert values(sent) == list(range(1001))
    assert max(len(entries.points) for entries in sent) == journal._AT_ONCE


def test_of_very_many_values_fewer_and_fewer_are_kept_and_the_last(log, sent):
    many = 300_000
    for i in range(many):
        log.metric("loss", i, None)
    log.close()
    kept = values(sent)
    assert kept[:PLENTY] == list(range(PLENTY))
    assert kept[-1] == many - 1
    assert kept == sorted(kept)
    assert len(kept) < PLENTY * (2 + math.log2(many / PLENTY))


def test_the_stride_doubles():
    assert [stride(count) for count in (0, PLENTY - 1, PLENTY, 2 * PLENTY, 4 * PLENTY)] == [1, 1, 2, 4, 8]


def test_too_much_is_dropped_and_told_once(log, sent, capsys):
    for i in range(MAX_METRICS + 5):
        log.metric(f"m{i}", 1, None)
    for i in range(MAX_NOTES + 5):
        log.note(f"n{i}")
    for i in range(200):
        log.artifact(f"a{i}", 1)
    log.close()
    assert len({point.name for entries in sent for point in entries.points}) == MAX_METRICS
    assert sum(len(entries.notes) for entries in sent) == MAX_NOTES
    assert sum(len(entries.artifacts) for entries in sent) == journal.MAX_ARTIFACTS
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_long_notes_are_cut_and_messages_stay_small(log, sent, clock):
    for _ in range(BURST):
        log.note("x")
    for _ in range(50):
        log.note("ä\udcff" * MAX_NOTE)
    log.close()
    notes = [note for entries in sent for note in entries.notes]
    assert max(sum(map(len, entries.notes)) for entries in sent) < 64 * 1024
    assert {len(note) for note in notes if note != "x"} == {MAX_NOTE}


def test_a_process_that_the_operator_forks_logs_nothing(log, sent):
    pid = os.fork()
    if not pid:
        log.metric("loss", 1, None)
        log.note("x")
        log.artifact("a", 1)
        os._exit(len(sent))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

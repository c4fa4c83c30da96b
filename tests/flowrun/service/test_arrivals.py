"""Submissions that take more than a moment go on in steps, a few at a time."""

import os
import select

import pytest

from flowc.plan.diagnostics import Diagnostic, Refused
from flowrun.service.arrivals import MOST, Arrivals
from flowrun.service.aside import Aside
from flowrun.service.messages import Refusal, Submitted


class Client:
    busy = False
    said = None

    def answer(self, answer):
        self.said = answer


def done(name):
    return Submitted(name, 1, "default", 3)


def steps(name, *waits, ended=None):
    try:
        yield from waits
    finally:
        if ended is not None:
            ended.append(name)
    return done(name)


class Ends:
    """A process that has come to its end, or not."""

    def __init__(self):
        self.ended, self.ending = os.pipe()


def test_what_waits_for_nothing_is_answered_at_once():
    arrivals, client = Arrivals(), Client()
    arrivals.add(client, steps("a"))
    assert (client.said, client.busy) == (done("a"), False)


def test_a_step_a_turn():
    arrivals, client = Arrivals(), Client()
    arrivals.add(client, steps("a", None, None))
    for _ in range(2):
        assert (client.said, client.busy, arrivals.due) == (None, True, True)
        arrivals.advance(set())
    assert (client.said, client.busy, arrivals.due) == (done("a"), False, False)


def test_a_process_is_waited_for():
    arrivals, client, process = Arrivals(), Client(), Ends()
    arrivals.add(client, steps("a", process))
    arrivals.advance(set())
    assert (client.said, arrivals.due, arrivals.listens()) == (None, False, {process.ended: select.POLLIN})
    arrivals.advance({process.ended})
    assert (client.said, arrivals.listens()) == (done("a"), {})


def test_few_go_on_at_a_time():
    arrivals, clients = Arrivals(), [Client() for _ in range(MOST + 2)]
    for i, client in enumerate(clients):
        arrivals.add(client, steps(str(i), None))
    arrivals.advance(set())
    assert [client.said is not None for client in clients] == [True] * MOST + [False] * 2
    assert all(client.busy for client in clients[MOST:])
    arrivals.advance(set())
    assert clients[-1].said == done(str(MOST + 1))


def test_a_refusal_is_an_answer():
    def refused():
        yield None
        raise Refused(Diagnostic("FC201", "gone"))

    arrivals, client = Arrivals(), Client()
    arrivals.add(client, refused())
    arrivals.advance(set())
    assert client.said == Refusal((Diagnostic("FC201", "gone"),))


def test_when_it_is_over_nothing_is_done():
    arrivals, clients, ended = Arrivals(), [Client() for _ in range(MOST + 1)], []
    for i, client in enumerate(clients):
        arrivals.add(client, steps(str(i), None, ended=ended))
    arrivals.close(Refusal(()))
    assert [client.said for client in clients] == [Refusal(())] * len(clients)
    assert ended == [str(i) for i in range(MOST)]  # the last one had not begun
    assert not arrivals.due


class TestAside:
    def test_bytes_there_and_back(self):
        """Encoding a file is what this module of Python's own does."""
        aside = Aside("quopri", b"caf\xe9\n")
        try:
            assert select.select([aside.ended], [], [], 30)[0]
            assert aside.result() == b"caf=E9\n"
        finally:
            aside.close()

    def test_a_process_that_dies_has_no_result(self):
        aside = Aside("no.such.module", b"")
        try:
            assert select.select([aside.ended], [], [], 30)[0]
            assert aside.result() is None
        finally:
            aside.close()

    def test_what_is_not_wanted_any_more_is_ended(self):
        aside = Aside("http.server", b"")
        aside.close()
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(aside.ended)

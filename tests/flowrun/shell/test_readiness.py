"""Waiting for many descriptors at once: who is called, and who is not any more."""

import os
import select
import socket

import pytest

from flowrun.shell.readiness import Readiness


@pytest.fixture
def readiness():
    readiness = Readiness()
    yield readiness
    readiness.close()


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def test_who_has_something_to_read_is_called(readiness, pair):
    ours, theirs = pair
    heard = []
    readiness.add(ours.fileno(), lambda: heard.append(ours.recv(100)))
    readiness.wait(0)
    assert heard == []
    theirs.send(b"one")
    assert readiness.wait(10_000) == set()  # what was called is no business of who waits
    readiness.wait(0)
    assert heard == [b"one"]


def test_what_was_not_taken_is_told_again(readiness, pair):
    ours, theirs = pair
    heard = []
    readiness.add(ours.fileno(), lambda: heard.append(ours.recv(2)))
    theirs.send(b"one")
    readiness.wait(0)
    readiness.wait(0)
    assert heard == [b"on", b"e"]


def test_room_to_write_only_while_somebody_asks(readiness, pair):
    ours, _ = pair
    called = []
    readiness.add(ours.fileno(), lambda: called.append(1))
    for out in (True, False):
        readiness.also_out(ours.fileno(), out)
        readiness.wait(0)
    assert called == [1]


def test_an_end_is_something_that_happens(readiness, pair):
    ours, theirs = pair
    heard = []
    readiness.add(ours.fileno(), lambda: heard.append(ours.recv(100)))
    theirs.close()
    readiness.wait(10_000)
    assert heard == [b""]


def test_nobody_is_called_after_remove_though_a_fork_holds_the_descriptor_open(readiness, pair):
    ours, theirs = pair
    called = []
    readiness.add(ours.fileno(), lambda: called.append(1))
    copy = os.dup(ours.fileno())
    readiness.remove(ours.fileno())
    readiness.remove(ours.fileno())  # as often as one likes
    theirs.send(b"x")
    readiness.wait(0)
    assert called == []
    os.close(copy)


def test_one_that_is_called_may_remove_another(readiness, pair):
    with socket.socketpair()[0] as gone:
        ours, theirs = pair
        called = []
        readiness.add(gone.fileno(), lambda: called.append("gone"))  # its other end is closed

        def remove():
            called.append("ours")
            readiness.remove(gone.fileno())

        readiness.add(ours.fileno(), remove)
        theirs.send(b"x")
        readiness.wait(0)
        readiness.wait(0)
        assert called[-1] == "ours"
        assert called.count("gone") <= 1


class TestListens:
    """What who waits asks for himself."""

    def test_what_is_ready_returns(self, readiness, pair):
        ours, theirs = pair
        listens = {ours.fileno(): select.POLLIN}
        assert readiness.wait(0, listens) == set()
        theirs.send(b"x")
        assert readiness.wait(0, listens) == {ours.fileno()}
        assert readiness.wait(0, {ours.fileno(): select.POLLOUT}) == {ours.fileno()}

    def test_they_change(self, readiness, pair):
        ours, theirs = pair
        theirs.send(b"x")
        ours.send(b"x")
        assert readiness.wait(0, {ours.fileno(): select.POLLIN}) == {ours.fileno()}
        assert readiness.wait(0, {theirs.fileno(): select.POLLIN}) == {theirs.fileno()}
        assert readiness.wait(0, {}) == set()

    def test_one_of_the_same_number_was_closed_meanwhile(self, readiness):
        first, _other = socket.socketpair()
        number = first.fileno()
        assert readiness.wait(0, {number: select.POLLIN}) == set()
        first.close()
        read, write = os.pipe()
        if read != number:
            os.dup2(read, number)
            os.close(read)
        assert readiness.wait(0, {}) == set()
        os.write(write, b"x")
        assert readiness.wait(0, {number: select.POLLIN}) == {number}
        os.close(number)
        os.close(write)

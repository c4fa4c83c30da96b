"""Lines from clients that say them in pieces, too long, or not at all."""

import contextlib
import os
import select
import socket

import pytest

from flowc.plan.diagnostics import Refused
from flowrun.service import sockets
from flowrun.service.messages import MAX_REQUEST, AskQueue, Refusal, Submit, decode_request, line
from flowrun.shell.log.home import Home


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "state")
    home.prepare()
    return home


class Talk:
    """A daemon's end of a socket, and clients of it."""

    def __init__(self, home):
        self.listener = sockets.listen(home)
        self.clients = sockets.Clients(self.listener)
        self._path = home.folder / "daemon.sock"
        self._home = home

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        descriptor = os.open(self._home.folder, os.O_PATH)
        client.connect(f"/proc/self/fd/{descriptor}/daemon.sock")
        os.close(descriptor)
        client.settimeout(10)
        return client

    def heard(self):
        """What clients have said by now."""
        found = []
        while True:
            poll = select.poll()
            for descriptor, events in self.clients.listens().items():
                poll.register(descriptor, events)
            ready = {descriptor for descriptor, _ in poll.poll(0)}
            if not ready:
                return found
            found += self.clients.lines(ready)


@pytest.fixture
def talk(home):
    talk = Talk(home)
    yield talk
    sockets.close(home, talk.listener)


def test_a_line_in_pieces_is_one(talk):
    one, other = talk.connect(), talk.connect()
    one.send(b'{"a"')
    other.send(b"x\ny\nz")
    assert [text for _, text in talk.heard()] == [b"x", b"y"]
    one.send(b":1}\n")
    ((client, text),) = talk.heard()
    assert text == b'{"a":1}'
    client.answer(Refusal(()))
    assert one.recv(100) == b'{"answer":"refused","diagnostics":[]}\n'


def test_while_a_client_is_busy_its_next_line_waits(talk):
    one = talk.connect()
    talk.heard()
    one.send(b"a\nb\n")
    said = talk.clients.lines(set(talk.clients.listens()))
    client, text = next(said)
    client.busy = True
    assert (text, list(said)) == (b"a", [])
    assert client.connection.fileno() not in talk.clients.listens()
    client.busy = False
    assert [text for _, text in talk.clients.lines(set())] == [b"b"]


def test_a_line_that_is_too_long_ends_the_connection(talk):
    one = talk.connect()
    one.setblocking(False)
    data, found = b"x" * (MAX_REQUEST + 100_000), []
    while data and not found:
        with contextlib.suppress(BlockingIOError):
            data = data[one.send(data) :]
        found = talk.heard()
    ((client, text),) = found
    assert len(text) > MAX_REQUEST
    assert client.gone
    assert len(talk.clients.listens()) == 1


def test_who_does_not_read_is_not_waited_for(talk):
    one = talk.connect()
    one.send(b"ask\n")
    ((client, _),) = talk.heard()
    for _ in range(50):
        client.answer(Refusal(()))
    client.outgoing += b"x" * (20 << 20)
    client.send()
    assert client.gone


def test_the_oldest_goes_when_there_are_too_many(talk):
    many = []
    for _ in range(70):
        many.append(talk.connect())
        talk.heard()
    assert len(talk.clients.listens()) == 65
    many[-1].send(b"hello\n")
    assert [text for _, text in talk.heard()] == [b"hello"]
    assert many[0].recv(1) == b""


def test_the_lock_is_one(home):
    """Of another process: a process may take its own lock again."""
    lock = sockets.hold(home)
    pid = os.fork()
    if not pid:
        try:
            sockets.hold(home)
        except Refused as refused:
            os._exit(3 if str(os.getppid()) in str(refused) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    lock.close()


def test_a_socket_of_a_dead_daemon_is_taken_over(home):
    sockets.listen(home).close()
    with pytest.raises(Refused, match="FR141"):
        sockets.ask(home, AskQueue())
    sockets.close(home, sockets.listen(home))


def test_requests_are_read_strictly():
    request = Submit("/p", ("a=1",), "vision", 1, 7)
    assert decode_request(line(request)) == request
    for wrong in (b'{"request":"submit","plan":"p","root":"/"}', b'{"request":"nothing"}', b"[]"):
        with pytest.raises(ValueError, match=r".*"):
            decode_request(wrong)

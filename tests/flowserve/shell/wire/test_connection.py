"""A connection whose requests are refused again and again, with a server and a transport that take notes."""

import asyncio

from loops import on_loop

from flowserve.core.wire.answers import Answer
from flowserve.core.wire.heads import Heads
from flowserve.core.wire.limits import Limits
from flowserve.shell.wire.connection import Connection

REQUEST = b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
TOLD = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"


class Noting:
    """Server and transport in one. `standing` is whether what was refused is refused again."""

    def __init__(self) -> None:
        self.limits = Limits(idle_s=10.0)
        self.heads = Heads()
        self.headers: set[bytes] = set()
        self.held_bytes = 0
        self.answers: dict[int, int] = {}
        self.observer = None
        self.draining = self.standing = self.over = False
        self.written: list[bytes] = []
        self.refusals = self
        self.connection = Connection(self)
        self.connection.connection_made(self)

    def again(self, received):
        return TOLD

    def admits(self, received):
        return True

    def opened(self, connection):
        return True

    def settled(self):
        pass

    def answer(self, received, connection):
        return Answer(200, b"{}")

    def get_extra_info(self, name):
        return Socket() if name == "socket" else None

    def write(self, data):
        self.written.append(data)

    def pause_reading(self):
        pass

    resume_reading = pause_reading

    def close(self):
        self.over = True

    def get_write_buffer_size(self):
        return 0


class Socket:
    family = 0


def ask(noting: Noting) -> bytes:
    noting.connection.data_received(REQUEST)
    return noting.written.pop()


@on_loop
async def test_what_is_refused_again_goes_no_further():
    noting = Noting()
    assert ask(noting).endswith(b"{}")
    noting.standing = True
    assert ask(noting) == TOLD
    noting.draining = True
    assert b"\r\nConnection: close\r\n" in ask(noting)


@on_loop
async def test_a_client_that_does_not_read_is_told_nothing_again():
    noting = Noting()
    ask(noting)
    noting.standing = True
    noting.connection.pause_writing()
    noting.connection.data_received(REQUEST)
    assert noting.written == []
    noting.connection.resume_writing()
    assert noting.written.pop().endswith(b"{}")
    assert ask(noting) == TOLD


@on_loop
async def test_who_is_refused_again_is_not_idle():
    noting = Noting()
    now = asyncio.get_running_loop().time()
    ask(noting)
    noting.standing = True
    ask(noting)
    noting.connection.check(now + 11)
    assert not noting.over
    noting.connection.check(now + 22)
    assert noting.over

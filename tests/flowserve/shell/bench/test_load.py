"""Loads on servers that are a few lines, some of which stand still."""

import asyncio
import socket
from collections import Counter

import pytest
import uvloop

from flowserve.core.wire.addresses import Tcp
from flowserve.shell.bench.links import LOST, HttpLink, connect
from flowserve.shell.bench.load import Load

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Answering(asyncio.Protocol):
    """Answers each request with what `respond` gives for its number: bytes, or None to close."""

    def __init__(self, respond):
        self.respond, self.buffer = respond, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while self.buffer.startswith(REQUEST):
            self.buffer = self.buffer[len(REQUEST) :]
            asyncio.get_running_loop().create_task(self.answer())

    async def answer(self):
        for piece in await self.respond():
            if piece is None:
                self.transport.close()
            else:
                self.transport.write(piece)
                await asyncio.sleep(0)


def loaded(respond, rate=0.0, links=2, seconds=0.4, stop=None):
    async def run():
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(lambda: Answering(respond), sock=listener)
        address = Tcp("127.0.0.1", listener.getsockname()[1])
        tasks = []

        def again(link):
            tasks.append(loop.create_task(connect(address, None, link)))

        all_links = [HttpLink(again) for _ in range(links)]
        for link in all_links:
            await connect(address, None, link)
        load = Load([REQUEST], rate)
        await load.run(all_links, seconds, stop or asyncio.Event())
        for link in all_links:
            link.close()
        await asyncio.gather(*tasks)
        server.close()
        return load

    async def bounded():
        async with asyncio.timeout(20):
            return await run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


async def at_once():
    return [ANSWER]


async def in_pieces():
    return [ANSWER[:10], ANSWER[10:-3], ANSWER[-3:]]


@pytest.mark.parametrize("respond", [at_once, in_pieces])
def test_every_link_asks_again_once_it_is_answered(respond):
    load = loaded(respond)
    assert load.latencies.count > 10
    assert load.failed == {}
    assert load.unsent == 0


def test_a_rate_is_kept():
    load = loaded(at_once, rate=100, seconds=0.5)
    assert 40 <= load.latencies.count + load.unsent <= 51
    assert load.failed == {}


def test_a_rate_goes_on_after_all_links_were_busy():
    """Nothing was due when the last answer came, so nobody but the pump can send the next."""
    load = loaded(at_once, rate=50, links=1, seconds=0.5)
    assert load.latencies.count >= 5


def test_what_was_due_while_the_server_stood_still_has_waited():
    stood = []

    async def once_still():
        if not stood:
            stood.append(True)
            await asyncio.sleep(0.3)
        return [ANSWER]

    load = loaded(once_still, rate=200, links=1, seconds=0.6)
    # The one that was on its way, and all that were due in those 0.3 s behind it: not one alone.
    slow = sum(count for bucket, count in load.latencies._counts.items() if bucket > -300)  # > 50 ms
    assert slow > 30
    assert load.latencies.longest_s >= 0.3


def test_failures_are_counted_by_status_and_lost_connections_open_again():
    answers = Counter()

    async def now_and_then():
        answers["all"] += 1
        match answers["all"] % 10:
            case 3:
                return [b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"]
            case 7:
                return [None]
        return [ANSWER]

    load = loaded(now_and_then)
    assert load.failed.keys() == {"429", LOST}
    assert load.latencies.count > sum(load.failed.values())


def test_it_can_be_stopped():
    stop = asyncio.Event()
    stop.set()
    load = loaded(at_once, seconds=60, stop=stop)
    assert load.seconds < 10

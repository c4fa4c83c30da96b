"""One HTTP/1.1 connection: takes requests as they come, and answers them in the order in which they came.

Requests of one connection are answered one after the other; those of different connections run beside each
other. What is wrong with HTTP itself is refused here, as an answer in its turn, after which the connection is
closed.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import cast

from flowserve.core.wire.answers import Answer, failure
from flowserve.core.wire.heads import Received, answer_head
from flowserve.shell.wire.connections import is_local, peer_of
from flowserve.shell.wire.host import Host
from flowserve.shell.wire.incoming import Incoming

# Up to this size, copying head and body into one packet costs less than writing twice.
_JOINED_BYTES_MAX = 64 * 2**10


class Connection(asyncio.Protocol):
    """Bytes in, bytes out. All methods run on the event loop."""

    # Each of hundreds that are refused brings its own memory into a cache that models need.
    __slots__ = (
        "_again",
        "_at_rest",
        "_ended",
        "_gone",
        "_host",
        "_incoming",
        "_limits",
        "_now",
        "_paused",
        "_peer",
        "_queue",
        "_running",
        "_transport",
        "_unsent_bytes",
        "_writable",
    )

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limits = host.limits
        self._now = asyncio.get_running_loop().time
        self._incoming = Incoming(host, self._now, self._take, self._go_on)
        self._queue: deque[Received | Answer] = deque()
        self._running: Received | None = None  # the request that the server is answering
        self._at_rest = False  # nothing is on its way: what comes begins a request, which may be answered
        self._again = False  # since it came to rest it was refused what others had been refused
        self._gone = False
        self._ended = False  # the client has closed its side
        self._writable = True
        self._unsent_bytes = 0
        self._paused = False
        self._peer: object = None

    @property
    def active(self) -> bool:
        """Whether a request is arriving, waiting or being answered."""
        incoming = self._incoming
        return bool(self._running or self._queue or (incoming.reading and not incoming.deaf))

    @property
    def local(self) -> bool:
        """Whether the client is on this host: it came by a Unix socket or over the loopback interface."""
        return is_local(self._peer)

    def close(self) -> None:
        """Close once what was written is sent."""
        self._transport.close()

    def check(self, now: float) -> None:
        """Act on a deadline that has passed."""
        incoming = self._incoming
        if now < incoming.deadline:
            return
        if self._at_rest and self._again:
            self._again = False
            incoming.deadline = now + self._limits.idle_s
            return
        unsent, self._unsent_bytes = self._unsent_bytes, self._transport.get_write_buffer_size()
        if not self._writable and self._unsent_bytes < unsent:
            incoming.deadline = now + self._limits.write_s  # the client reads, if slowly
        elif incoming.deaf or not self._writable:
            self._transport.abort()
        elif incoming.reading is not None:
            incoming.refuse("FS201", "the request must arrive in time: this one took too long", 408)
            self._advance()
        else:
            self._transport.close()

    def answered(self, answer: Answer) -> None:
        """Take the answer to the request that is running."""
        received, self._running = self._running, None
        if self._gone:
            self._host.settled()
            return
        assert received is not None
        self._send(answer, received)
        self._advance()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse when there are too many connections."""
        # uvloop's transports have the methods of asyncio's, but are not a subclass.
        self._transport = cast(asyncio.Transport, transport)
        self._peer = peer_of(transport)
        self._incoming.deadline = self._now() + self._limits.idle_s
        if not self._host.opened(self):
            message = f"the server has {self._limits.connections} connections, which is its limit"
            answer = failure(503, message)
            self._incoming.deaf = True
            self._told(answer, None)
            self._transport.write(answer_head(answer, "close") + answer.body)
            self._transport.close()  # no lingering: it would hold what there is too much of
            return
        self._at_rest = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; the answer to a running request will be dropped."""
        self._gone = True
        self._at_rest = False
        self._queue.clear()
        self._incoming.end()
        self._host.closed(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and answer the requests that are complete."""
        if self._at_rest:
            host = self._host
            received = host.heads.find(data)
            # What is refused by its head goes the usual way, which closes the connection.
            if received is not None and host.admits(received):
                if host.refusals.standing and not host.draining:
                    told = host.refusals.again(received)
                    if told is not None:
                        self._transport.write(told)
                        self._again = True
                        return
                self._at_rest = False
                self._answer(received)
                if self._running is None:
                    self._rest()
                return
            self._at_rest = False
        self._incoming.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        """Keep a half-closed connection as long as there is something to answer."""
        self._ended = True
        self._at_rest = False
        return bool(self._running or self._queue)

    def pause_writing(self) -> None:
        """The client does not read: answer no more requests until it does."""
        self._writable = self._at_rest = False
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._incoming.deadline = self._now() + self._limits.write_s

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable = True
        if not self._incoming.deaf:
            self._incoming.deadline = math.inf
            self._advance()

    # What comes in

    def _take(self, item: Received | Answer) -> None:
        self._queue.append(item)

    def _go_on(self) -> None:
        # Answers stand in order: with others due first, the client sends its body unasked after a while.
        if not (self._running or self._queue):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # Deciding what is next

    def _advance(self) -> None:
        """Answer what may be answered now, and set the deadline for what is awaited."""
        queue = self._queue
        while queue and self._running is None and self._writable and not self._gone:
            item = queue.popleft()
            if isinstance(item, Answer):
                self._send_last(item)
                return
            self._answer(item)
        if queue or self._paused:
            self._pause_reading(bool(queue))
        if not self.active and not self._gone:
            self._rest()

    def _answer(self, received: Received) -> None:
        self._running = received
        answer = self._host.answer(received, self)
        if answer is not None:
            self._running = None
            self._send(answer, received)
            return
        # It comes later; what arrived whole has not been counted yet.
        self._incoming.hold(max(0, len(received.body) - self._incoming.held_bytes))
        if self._incoming.reading is None:
            self._incoming.deadline = math.inf

    def _pause_reading(self, paused: bool) -> None:
        # One request may wait: more would be read only to be kept.
        incoming = self._incoming
        if paused == self._paused or incoming.deaf:
            return
        self._paused = paused
        if paused:
            self._transport.pause_reading()
            incoming.deadline = math.inf
        else:
            self._transport.resume_reading()
            incoming.deadline = self._now() + self._limits.head_s if incoming.reading else math.inf

    def _rest(self) -> None:
        if self._incoming.deaf or not self._writable:
            pass
        elif self._ended:
            self._transport.close()
        else:
            self._incoming.deadline = self._now() + self._limits.idle_s
            self._at_rest, self._again = True, False
        self._host.settled()

    # Writing

    def _send(self, answer: Answer, received: Received) -> None:
        if self._incoming.held_bytes:
            self._incoming.release(len(received.body))
        keep = received.keep_alive and not self._host.draining
        head = answer_head(
            answer, "" if keep and not received.http_1_0 else "keep-alive" if keep else "close"
        )
        body = b"" if received.method == "HEAD" else answer.body
        if len(body) <= _JOINED_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines([head, body])
        self._told(answer, received)
        if not keep:
            self._stop()
            self._transport.close()

    def _told(self, answer: Answer, received: Received | None) -> None:
        answers = self._host.answers
        answers[answer.status] = answers.get(answer.status, 0) + 1
        if (observer := self._host.observer) is not None:
            observer.answered(received, answer, self._peer)

    def _send_last(self, answer: Answer) -> None:
        """Send, and close once the client has read it: a reset while it still sends would lose the answer."""
        self._stop()
        self._transport.write(answer_head(answer, "close") + answer.body)
        self._told(answer, None)
        if self._ended or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._incoming.deadline = self._now() + self._limits.linger_s
        self._host.settled()

    def _stop(self) -> None:
        self._queue.clear()
        self._at_rest = False
        self._incoming.deaf = True
        self._incoming.release()

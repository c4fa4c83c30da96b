"""One HTTP/1.1 connection: reads requests within bounds, and answers them in the order in which they came.

Requests of one connection are answered one after the other; those of different connections run beside each
other. What is wrong with HTTP itself is refused here, as an answer in its turn, after which the connection is
closed.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Protocol, cast

import httptools
import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.wire.answers import Answer, failure, refusal
from flowserve.core.wire.coding import REQUEST_CODINGS
from flowserve.core.wire.tokens import REFUSED
from flowserve.shell.wire.connections import is_local, peer_of
from flowserve.shell.wire.limits import Limits


class Received(msgspec.Struct):
    """A request, complete or still on its way."""

    method: str = ""
    target: bytes = b""
    body: bytes = b""
    header_bytes: bytes | None = None
    """The value of `Inference-Header-Content-Length`."""
    coding: str = ""
    accept_coding: str = ""
    authorization: bytes = b""
    routing: dict[bytes, bytes] | None = None
    """What rollouts want to see, by name in lower case."""
    keep_alive: bool = True
    http_1_0: bool = False
    expects_continue: bool = False
    length: int | None = 0
    """Of the body; None when it is chunked."""


class Host(Protocol):
    """What a connection needs of its server."""

    limits: Limits

    @property
    def draining(self) -> bool:
        """Whether the server is about to end."""

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; false when there are too many."""

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""

    def admits(self, received: Received) -> bool:
        """Whether a request may be asked, by its head."""

    headers: set[bytes]
    """Those of a request to keep in `routing`, in lower case."""

    def settled(self) -> None:
        """Hear that a connection has nothing to do any more."""

    def answer(self, received: Received, connection: Connection) -> Answer | None:
        """Answer now, or return None and call `connection.answered` later."""


_LINE = {
    status: f"HTTP/1.1 {status} {reason}\r\n".encode()
    for status, reason in {
        200: "OK",
        400: "Bad Request",
        401: "Unauthorized",
        404: "Not Found",
        408: "Request Timeout",
        413: "Content Too Large",
        415: "Unsupported Media Type",
        429: "Too Many Requests",
        500: "Internal Server Error",
        503: "Service Unavailable",
        504: "Gateway Timeout",
    }.items()
}
# Up to this size, copying head and body into one packet costs less than writing twice.
_JOINED_BYTES_MAX = 64 * 2**10


class Connection(asyncio.Protocol):
    """Bytes in, bytes out. All methods run on the event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limits = host.limits
        self._headers = host.headers
        self._now = asyncio.get_running_loop().time
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Received | Answer] = deque()
        self._running: Received | None = None  # the request that the server is answering
        self._reading: Received | None = None  # the request that is arriving
        self._upgrading: Received | None = None  # it offers to upgrade, and its body is still to be read
        self._chunks: list[bytes] = []
        self._head_done = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._withheld_bytes = 0  # by the parser: pieces of a header, a trailer or a chunk's size
        self._deaf = False  # what still arrives is dropped
        self._gone = False
        self._ended = False  # the client has closed its side
        self._writable = True
        self._unsent_bytes = 0
        self._paused = False
        self._deadline = math.inf
        self._peer: object = None

    @property
    def active(self) -> bool:
        """Whether a request is arriving, waiting or being answered."""
        return bool(self._running or self._queue or (self._reading and not self._deaf))

    @property
    def local(self) -> bool:
        """Whether the client is on this host: it came by a Unix socket or over the loopback interface."""
        return is_local(self._peer)

    def close(self) -> None:
        """Close once what was written is sent."""
        self._transport.close()

    def check(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if now < self._deadline:
            return
        unsent, self._unsent_bytes = self._unsent_bytes, self._transport.get_write_buffer_size()
        if not self._writable and self._unsent_bytes < unsent:
            self._deadline = now + self._limits.write_s  # the client reads, if slowly
        elif self._deaf or not self._writable:
            self._transport.abort()
        elif self._reading is not None:
            self._refuse("FS201", "the request must arrive in time: this one took too long", 408)
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
        self._deadline = self._now() + self._limits.idle_s
        if not self._host.opened(self):
            message = f"the server has {self._limits.connections} connections, which is its limit"
            answer = failure(503, message)
            self._deaf = True
            self._transport.write(_head(answer, "close") + answer.body)
            self._transport.close()  # no lingering: it would hold what there is too much of

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; the answer to a running request will be dropped."""
        self._gone = self._deaf = True
        self._queue.clear()
        self._reading = None
        self._chunks.clear()
        self._host.closed(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and answer the requests that are complete."""
        reading, body_bytes = self._reading, self._body_bytes
        while data and not self._deaf:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # An offer to upgrade may be ignored (RFC 9110, 7.8): what follows is HTTP/1.1 as before. But
                # the parser skips the body, which Java's client sends along: a plain head makes it read it.
                self._parser = httptools.HttpRequestParser(self)
                data = _head_before_body(self._upgrading) + data[upgrade.args[0] :]
            except httptools.HttpParserCallbackError:
                raise  # our bug
            except httptools.HttpParserError as error:
                self._refuse("FS201", f"the request must be HTTP/1.1: {error}", 400)
        if reading is not None and self._reading is reading and self._body_bytes == body_bytes:
            self._withheld_bytes += len(data)
            self._check_head()
        self._advance()

    def eof_received(self) -> bool:
        """Keep a half-closed connection as long as there is something to answer."""
        self._ended = True
        return bool(self._running or self._queue)

    def pause_writing(self) -> None:
        """The client does not read: answer no more requests until it does."""
        self._writable = False
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._deadline = self._now() + self._limits.write_s

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable = True
        if not self._deaf:
            self._deadline = math.inf
            self._advance()

    # httptools.HttpRequestParser

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._deaf:
            return
        self._reading = Received()
        self._head_done = False
        self._head_bytes = self._body_bytes = self._withheld_bytes = 0
        self._deadline = self._now() + self._limits.head_s

    def on_url(self, url: bytes) -> None:
        """The request target, or a piece of it."""
        if self._reading is not None:
            self._reading.target += url
            self._head_bytes += len(url)
            self._check_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; after the body it is a trailer, which means nothing here."""
        received = self._reading
        if received is None or self._deaf or self._head_done:
            return
        self._head_bytes += len(name) + len(value)
        self._check_head()
        match name.lower():
            case b"content-length":
                # The parser has checked it, unless it is absurdly long.
                received.length = int(value) if value.isdigit() and len(value) < 19 else 10**19
            case b"transfer-encoding":
                received.length = None
            case b"content-encoding":
                received.coding = value.decode("latin-1").strip().lower()
            case b"accept-encoding":
                received.accept_coding = value.decode("latin-1")
            case b"inference-header-content-length":
                received.header_bytes = value
            case b"authorization":
                received.authorization = value
            case b"expect":
                received.expects_continue = value.strip().lower() == b"100-continue"
            case other if self._headers and other in self._headers:
                received.routing = {**(received.routing or {}), other: value}

    def on_headers_complete(self) -> None:
        """The head is complete: refuse a body that would not be taken before it comes."""
        received = self._reading
        if received is None or self._deaf:
            return
        self._head_done = True
        self._withheld_bytes = 0
        if self._upgrading is not None:
            received, self._reading, self._upgrading = self._upgrading, self._upgrading, None
        else:
            received.method = self._parser.get_method().decode("latin-1")
            received.http_1_0 = self._parser.get_http_version() == "1.0"
            received.keep_alive = self._parser.should_keep_alive()
            if self._parser.should_upgrade() and received.length != 0:
                self._upgrading = received
                return
        if not self._host.admits(received):
            self._refuse_all(refusal(REFUSED))
            return
        length = self._limits.body_bytes if received.length is None else received.length
        if length > self._limits.body_bytes:
            self._refuse_body()
        elif received.coding not in REQUEST_CODINGS:
            self._refuse("FS201", "`Content-Encoding` must be gzip or deflate", 415)
        elif length:
            self._deadline += self._limits.body_s + length / self._limits.body_bytes_per_s
            # Answers stand in order: with others due first, the client sends its body unasked after a while.
            if received.expects_continue and not (self._running or self._queue):
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._reading is None or self._deaf:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse_body()
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        received = self._reading
        if received is None or self._deaf or self._upgrading is not None:
            return
        received.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._forget_reading()
        self._queue.append(received)

    # Deciding what is next

    def _advance(self) -> None:
        """Answer what may be answered now, and set the deadline for what is awaited."""
        while self._queue and self._running is None and self._writable and not self._gone:
            item = self._queue.popleft()
            if isinstance(item, Answer):
                self._send_last(item)
                return
            self._running = item
            answer = self._host.answer(item, self)
            if answer is not None:
                self._running = None
                self._send(answer, item)
        if not self._deaf and bool(self._queue) != self._paused:
            self._pause_reading(bool(self._queue))
        if not self.active and not self._gone:
            self._rest()

    def _pause_reading(self, paused: bool) -> None:
        # One request may wait: more would be read only to be kept.
        self._paused = paused
        if paused:
            self._transport.pause_reading()
            self._deadline = math.inf
        else:
            self._transport.resume_reading()
            self._deadline = self._now() + self._limits.head_s if self._reading else math.inf

    def _rest(self) -> None:
        if self._deaf or not self._writable:
            pass
        elif self._ended:
            self._transport.close()
        else:
            self._deadline = self._now() + self._limits.idle_s
        self._host.settled()

    def _check_head(self) -> None:
        if max(self._head_bytes, self._withheld_bytes) > self._limits.head_bytes:
            self._refuse("FS208", f"the head must be at most {self._limits.head_bytes} bytes")

    def _refuse_body(self) -> None:
        self._refuse("FS208", f"the body must be at most {self._limits.body_bytes} bytes")

    def _refuse(self, code: str, message: str, status: int | None = None) -> None:
        """Queue a refusal of what is arriving. What the client sends after it has no meaning any more."""
        self._refuse_all(refusal(Refused(Diagnostic(code, message)), status))

    def _refuse_all(self, answer: Answer) -> None:
        if not self._deaf:
            self._forget_reading()
            self._deaf = True
            self._queue.append(answer)

    def _forget_reading(self) -> None:
        self._reading = None
        self._chunks = []
        self._deadline = math.inf

    # Writing

    def _send(self, answer: Answer, received: Received) -> None:
        keep = received.keep_alive and not self._host.draining
        head = _head(answer, "" if keep and not received.http_1_0 else "keep-alive" if keep else "close")
        body = b"" if received.method == "HEAD" else answer.body
        if len(body) <= _JOINED_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines([head, body])
        if not keep:
            self._deaf = True
            self._queue.clear()
            self._transport.close()

    def _send_last(self, answer: Answer) -> None:
        """Send, and close once the client has read it: a reset while it still sends would lose the answer."""
        self._deaf = True
        self._queue.clear()
        self._transport.write(_head(answer, "close") + answer.body)
        if self._ended or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        if self._paused:
            self._pause_reading(False)
        self._deadline = self._now() + self._limits.linger_s
        self._host.settled()


def _head_before_body(received: Received | None) -> bytes:
    if received is None:
        return b""
    length = "Transfer-Encoding: chunked" if received.length is None else f"Content-Length: {received.length}"
    return f"POST / HTTP/1.1\r\n{length}\r\n\r\n".encode()


def _head(answer: Answer, connection: str) -> bytes:
    lines = f"Content-Length: {len(answer.body)}\r\n"
    if answer.header_bytes is not None:
        lines += "Content-Type: application/octet-stream\r\n"
        lines += f"Inference-Header-Content-Length: {answer.header_bytes}\r\n"
    elif answer.body:
        lines += f"Content-Type: {answer.content_type}\r\n"
    if answer.encoding:
        lines += f"Content-Encoding: {answer.encoding}\r\n"
    if answer.status == 401:
        lines += "WWW-Authenticate: Bearer\r\n"
    if answer.retry_after_s:
        lines += f"Retry-After: {answer.retry_after_s}\r\n"
    if connection:
        lines += f"Connection: {connection}\r\n"
    return _LINE[answer.status] + lines.encode() + b"\r\n"

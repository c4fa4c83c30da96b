"""Reads the requests of one HTTP/1.1 connection, within bounds. What is wrong with HTTP itself ends it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import httptools

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.engine.calls import Overloaded
from flowserve.core.wire.answers import Answer, refusal
from flowserve.core.wire.coding import REQUEST_CODINGS
from flowserve.core.wire.heads import Heads, Received
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.tokens import REFUSED

_KEPT = frozenset((b"accept", b"x-request-id", b"traceparent", b"tracestate"))


class Host(Protocol):
    """What reading needs of the server."""

    limits: Limits
    heads: Heads
    headers: set[bytes]
    """Those of a request to keep in `others`, in lower case."""
    held_bytes: int
    """Of bodies, by all connections together."""

    def admits(self, received: Received) -> bool:
        """Whether a request may be asked, by its head."""


class Incoming:
    """Bytes in; requests out, and at most one refusal, which is the last that comes."""

    __slots__ = (
        "_begun",
        "_body_bytes",
        "_chunks",
        "_go_on",
        "_head_bytes",
        "_head_done",
        "_host",
        "_last",
        "_limits",
        "_now",
        "_parser",
        "_take",
        "_upgrading",
        "_withheld_bytes",
        "deadline",
        "deaf",
        "held_bytes",
        "reading",
    )

    def __init__(
        self,
        host: Host,
        now: Callable[[], float],
        take: Callable[[Received | Answer], None],
        go_on: Callable[[], None],
    ) -> None:
        """`take` hears of what has come, `go_on` that a client waits to be told to send its body."""
        self._host = host
        self._limits = host.limits
        self._now = now
        self._take = take
        self._go_on = go_on
        self._parser = httptools.HttpRequestParser(self)
        self.reading: Received | None = None
        """The request that is arriving."""
        self.deaf = False
        """What still arrives is dropped."""
        self.held_bytes = 0
        """Of the host's, by this connection."""
        self.deadline = math.inf
        """By when the client must have done what is awaited of it: to send, or to read."""
        self._upgrading: Received | None = None  # it offers to upgrade, and its body is still to be read
        self._chunks: list[bytes] = []
        self._last: Received | None = None
        self._begun = 0
        self._head_done = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._withheld_bytes = 0  # by the parser: pieces of a header, a trailer or a chunk's size

    def feed(self, data: bytes) -> None:
        """Parse what came."""
        reading, body_bytes, whole = self.reading, self._body_bytes, data
        self._begun = 0
        while data and not self.deaf:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # An offer to upgrade may be ignored (RFC 9110, 7.8): what follows is HTTP/1.1 as before. But
                # the parser skips the body, which Java's client sends along: a plain head makes it read it.
                self._parser = httptools.HttpRequestParser(self)
                data = _head_before_body(self._upgrading) + data[upgrade.args[0] :]
                self._begun = 2  # whatever it was, it is not to be learned
            except httptools.HttpParserCallbackError:
                raise  # our bug
            except httptools.HttpParserError as error:
                self.refuse("FS201", f"the request must be HTTP/1.1: {error}", 400)
        if self.deaf:
            return
        if reading is not None and self.reading is reading and self._body_bytes == body_bytes:
            self._withheld_bytes += len(data)
            self._check_head()
        if reading is None and self.reading is None and self._begun == 1 and self._last is not None:
            self._host.heads.learn(whole, self._last)
        self._last = None

    def refuse(self, code: str, message: str, status: int | None = None) -> None:
        """Refuse what is arriving. What the client sends after it has no meaning any more."""
        self._refuse_all(refusal(Refused(Diagnostic(code, message)), status))

    def end(self) -> None:
        """Forget everything: the connection is gone."""
        self.deaf = True
        self.reading = None
        self._chunks.clear()
        self.release()

    def hold(self, count: int) -> None:
        """Count bytes that are kept."""
        self.held_bytes += count
        self._host.held_bytes += count

    def release(self, count: int | None = None) -> None:
        """Count bytes that are kept no longer; all of the connection's, unless told."""
        count = self.held_bytes if count is None else min(count, self.held_bytes)
        self.held_bytes -= count
        self._host.held_bytes -= count

    # httptools.HttpRequestParser

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._begun += 1
        if self.deaf:
            return
        self.reading = Received()
        self._head_done = False
        self._head_bytes = self._body_bytes = self._withheld_bytes = 0
        self.deadline = self._now() + self._limits.head_s

    def on_url(self, url: bytes) -> None:
        """The request target, or a piece of it."""
        if self.reading is not None:
            self.reading.target += url
            self._head_bytes += len(url)
            self._check_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; after the body it is a trailer, which means nothing here."""
        received = self.reading
        if received is None or self.deaf or self._head_done:
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
            case other if other in _KEPT or other in self._host.headers:
                if received.others is None:
                    received.others = {}
                received.others[other] = value

    def on_headers_complete(self) -> None:
        """The head is complete: refuse a body that would not be taken before it comes."""
        received = self.reading
        if received is None or self.deaf:
            return
        self._head_done = True
        self._withheld_bytes = 0
        if self._upgrading is not None:
            received, self.reading, self._upgrading = self._upgrading, self._upgrading, None
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
            self.refuse("FS201", "`Content-Encoding` must be gzip or deflate", 415)
        elif received.length and self._host.held_bytes + length > self._limits.held_bytes:
            self._refuse_more()
        elif length:
            self.deadline += self._limits.body_s + length / self._limits.body_bytes_per_s
            if received.expects_continue:
                self._go_on()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.reading is None or self.deaf:
            return
        self._body_bytes += len(body)
        self.hold(len(body))
        if self._body_bytes > self._limits.body_bytes:
            self._refuse_body()
        elif self._host.held_bytes > self._limits.held_bytes:
            self._refuse_more()
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        received = self.reading
        if received is None or self.deaf or self._upgrading is not None:
            return
        received.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._last = received
        self._forget()
        self._take(received)

    def _check_head(self) -> None:
        if max(self._head_bytes, self._withheld_bytes) > self._limits.head_bytes:
            self.refuse("FS208", f"the head must be at most {self._limits.head_bytes} bytes")

    def _refuse_body(self) -> None:
        self.refuse("FS208", f"the body must be at most {self._limits.body_bytes} bytes")

    def _refuse_more(self) -> None:
        message = f"requests hold all of the {self._limits.held_bytes} bytes that they may: try again in 1 s"
        self._refuse_all(refusal(Overloaded(Diagnostic("FS240", message), 1)))

    def _refuse_all(self, answer: Answer) -> None:
        if not self.deaf:
            self.release(self._body_bytes if self.reading is not None else 0)
            self._forget()
            self.deaf = True
            self._take(answer)

    def _forget(self) -> None:
        self.reading = None
        self._chunks = []
        self.deadline = math.inf


def _head_before_body(received: Received | None) -> bytes:
    if received is None:
        return b""
    length = "Transfer-Encoding: chunked" if received.length is None else f"Content-Length: {received.length}"
    return f"POST / HTTP/1.1\r\n{length}\r\n\r\n".encode()

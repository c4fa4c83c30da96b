"""The heads of HTTP/1.1 messages: those of requests that were read before, and those of answers."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import msgspec

from flowserve.core.wire.answers import Answer

_KEPT_MAX = 1024
_KEPT_BYTES_MAX = 1024
_END = b"\r\n\r\n"

_LINE = {
    status: f"HTTP/1.1 {status} {reason}\r\n".encode()
    for status, reason in {
        200: "OK",
        400: "Bad Request",
        401: "Unauthorized",
        404: "Not Found",
        405: "Method Not Allowed",
        408: "Request Timeout",
        413: "Content Too Large",
        415: "Unsupported Media Type",
        429: "Too Many Requests",
        500: "Internal Server Error",
        503: "Service Unavailable",
        504: "Gateway Timeout",
    }.items()
}


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
    others: dict[bytes, bytes] | None = None
    """Headers that observers and rollouts want to see, by name in lower case."""
    keep_alive: bool = True
    http_1_0: bool = False
    expects_continue: bool = False
    length: int | None = 0
    """Of the body; None when it is chunked."""
    began_s: float = 0.0
    """When the server began to answer it, on the clock of `perf_counter`."""
    ran: Any = None
    """What the observer is told of a request that went to a model."""


class Heads:
    """Heads of requests that the parser has read, by their bytes: clients send the same ones again and again.

    Only whole requests are found here, at a point where the parser stands between two of them. There it would
    read the same bytes as it did before, so nothing is let through that it would not let through.
    """

    def __init__(self, headers: Set[bytes] = frozenset()) -> None:
        """`headers` are those of interest, which may change: then all is read anew."""
        self._headers = headers
        self._headers_then = frozenset(headers)
        self._kept: dict[bytes, Received] = {}

    def find(self, data: bytes) -> Received | None:
        """Return the request, if `data` is exactly one whose head is known."""
        if self._headers != self._headers_then:
            self._kept.clear()
            self._headers_then = frozenset(self._headers)
        end = data.find(_END) + 4
        known = self._kept.get(data[:end])
        if known is None or known.length != len(data) - end:
            return None
        received: Received = known.__copy__()  # type: ignore[attr-defined] # `copy.copy` would look for it first
        received.body = data[end:]
        return received

    def learn(self, data: bytes, received: Received) -> None:
        """Keep the head of a request that the parser has read from exactly `data`."""
        end = data.find(_END) + 4
        # What ends or interrupts the connection, or is unpacked from chunks, takes the usual way.
        usual = received.keep_alive and not received.http_1_0 and not received.expects_continue
        if not usual or received.length != len(data) - end or not 4 <= end <= _KEPT_BYTES_MAX:
            return
        if len(self._kept) >= _KEPT_MAX:
            self._kept.clear()
        self._kept[data[:end]] = msgspec.structs.replace(received, body=b"")


def answer_head(answer: Answer, connection: str = "") -> bytes:
    """The head of an answer, with a `Connection` header unless that is empty."""
    if answer.status == 200 and not (connection or answer.encoding or answer.retry_after_s):
        if answer.header_bytes is not None:
            return _BINARY % (len(answer.body), answer.header_bytes)
        if answer.content_type == "application/json" and answer.body:
            return _JSON % len(answer.body)
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
    if answer.allowed:
        lines += f"Allow: {answer.allowed}\r\n"
    if answer.retry_after_s:
        lines += f"Retry-After: {answer.retry_after_s}\r\n"
    if connection:
        lines += f"Connection: {connection}\r\n"
    return _LINE[answer.status] + lines.encode() + b"\r\n"


# What most answers begin with, written once.
_JSON = _LINE[200] + b"Content-Length: %d\r\nContent-Type: application/json\r\n\r\n"
_BINARY = (
    _LINE[200]
    + b"Content-Length: %d\r\nContent-Type: application/octet-stream\r\n"
    + b"Inference-Header-Content-Length: %d\r\n\r\n"
)

"""The same bytes to a real Triton and to our server: as many answers, with the same statuses."""

import re
import socket

import pytest

from tests.differential.talking import PATIENCE_S

pytestmark = pytest.mark.slow

BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = (
    b"GET /v2/models/none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"  # answered with 404, at the end
)


def post(headers: bytes, body: bytes = BODY) -> bytes:
    return b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n" + body


def statuses(address: str, data: bytes) -> list[int]:
    """The statuses of all that is answered until the server closes."""
    host, _, port = address.rpartition(":")
    answers = b""
    with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
        connection.sendall(data)
        try:
            while piece := connection.recv(65536):
                answers += piece
        except ConnectionResetError:
            pass  # Triton closes on what it has not read
    return [int(status) for status in re.findall(rb"HTTP/1\.\d (\d{3}) ", answers)]


SAME = {
    "whole": post(LENGTH),
    "chunked": post(b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "in small letters": post(LENGTH.lower()),
    "no host": b"GET /v2 HTTP/1.1\r\n\r\n",
    "an absolute target": b"GET http://a/v2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  /v2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "many headers": post(LENGTH + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(100))),
    "expecting to go on": post(LENGTH + b"Expect: 100-continue\r\n"),
}
# What we answer, and why Triton does not; not asked of Triton, which may wait for more.
DIFFERENT = {
    "pipelined": (LIVE + LIVE + LAST, [200, 200, 404], "Triton answers the first of a pipeline"),
    "two lengths": (post(b"Content-Length: 5\r\n" + LENGTH), [400], "Triton takes the first of two lengths"),
    "no length": (post(b"Content-Length: x\r\n"), [400], "Triton closes without an answer"),
    "length and chunks": (
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        [400],
        "Triton reads it as one of both, and goes on",
    ),
    "no HTTP": (b"nonsense\r\n\r\n", [400], "Triton closes without an answer"),
    "bare line feeds": (b"GET /v2 HTTP/1.1\nHost: a\n\n", [400], "Triton closes without an answer"),
}


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_the_statuses_are_the_same(both, data):
    theirs = statuses(both.triton.http, with_end(data))
    assert theirs == statuses(both.flowserve.http, with_end(data))
    assert theirs[-1] == 200


def with_end(data: bytes) -> bytes:
    head, _, rest = data.partition(b"\r\n")
    return head + b"\r\nConnection: close\r\n" + rest


@pytest.mark.parametrize(("data", "ours", "why"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_is_answered_otherwise_on_purpose(both, data, ours, why):
    assert statuses(both.flowserve.http, data) == ours, why

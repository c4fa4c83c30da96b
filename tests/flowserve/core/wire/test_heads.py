"""Heads of requests are known again by their bytes, and only where they stand for one whole request."""

import pytest

from flowserve.core.wire.answers import Answer
from flowserve.core.wire.heads import Heads, Received, answer_head

HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 2\r\n\r\n"
RECEIVED = Received("POST", b"/v2/models/m/infer", b"{}", length=2)


def learned(data=HEAD + b"{}", received=RECEIVED):
    heads = Heads()
    heads.learn(data, received)
    return heads


def test_a_head_is_known_again_with_another_body():
    found = learned().find(HEAD + b"[]")
    assert (found.method, found.target, found.body) == ("POST", b"/v2/models/m/infer", b"[]")
    assert found is not learned().find(HEAD + b"[]")


@pytest.mark.parametrize(
    "data", [HEAD, HEAD + b"{", HEAD + b"{}x", b"\r\n" + HEAD + b"{}", HEAD.lower() + b"{}", b""]
)
def test_nothing_else_is_found(data):
    assert learned().find(data) is None


@pytest.mark.parametrize(
    "received",
    [
        Received(length=2, keep_alive=False),
        Received(length=2, http_1_0=True),
        Received(length=2, expects_continue=True),
        Received(length=None),
        Received(length=3),
    ],
)
def test_what_is_out_of_the_ordinary_is_not_kept(received):
    assert learned(received=received).find(HEAD + b"{}") is None


def test_what_is_kept_is_bounded():
    heads = Heads()
    for number in range(5000):
        head = b"GET /%d HTTP/1.1\r\n\r\n" % number
        heads.learn(head, Received("GET", b"/%d" % number))
    assert 0 < len(heads._kept) <= 1024
    long = b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 2000)
    heads.learn(long, Received("GET"))
    assert heads.find(long) is None


@pytest.mark.parametrize(
    ("answer", "connection", "head"),
    [
        (Answer(body=b"{}"), "", "HTTP/1.1 200 OK|Content-Length: 2|Content-Type: application/json||"),
        (Answer(), "close", "HTTP/1.1 200 OK|Content-Length: 0|Connection: close||"),
        (
            Answer(body=b"{}xx", header_bytes=2),
            "",
            "HTTP/1.1 200 OK|Content-Length: 4|Content-Type: application/octet-stream|"
            "Inference-Header-Content-Length: 2||",
        ),
        (
            Answer(503, b"{}", retry_after_s=3),
            "",
            "HTTP/1.1 503 Service Unavailable|Content-Length: 2|Content-Type: application/json|"
            "Retry-After: 3||",
        ),
    ],
)
def test_heads_of_answers(answer, connection, head):
    assert answer_head(answer, connection) == head.replace("|", "\r\n").encode()


def test_when_other_headers_are_of_interest_all_is_read_anew():
    headers = set()
    heads = Heads(headers)
    heads.learn(HEAD + b"{}", RECEIVED)
    assert heads.find(HEAD + b"{}")
    headers.add(b"x-group")
    assert heads.find(HEAD + b"{}") is None

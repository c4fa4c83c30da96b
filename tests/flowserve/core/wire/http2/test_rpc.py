"""gRPC over HTTP/2, as values: heads and trailers."""

import hpack
import pytest

from flowc.plan.diagnostics import Diagnostic
from flowserve.core.engine.calls import Overloaded
from flowserve.core.wire.http2.rpc import (
    ANSWER,
    Head,
    Malformed,
    TooLong,
    Trailers,
    literal,
    read_head,
    refusal_trailers,
    trailers,
)

CALL = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/s/M"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]


def test_a_head():
    more = [(b"grpc-timeout", b"20m"), (b"grpc-encoding", b"gzip"), (b"authorization", b"Bearer x")]
    head = read_head([*CALL, *more])
    assert (head.path, head.timeout_ms, head.coding, head.authorization) == ("/s/M", 20, "gzip", b"Bearer x")
    assert (head.http_status, head.fault) == (200, None)
    assert read_head([(b"x", b"y")]) == Trailers()
    assert read_head(None) == TooLong()


@pytest.mark.parametrize(
    ("text", "ms"),
    [("1H", 3.6e6), ("2M", 1.2e5), ("3S", 3e3), ("4m", 4), ("5u", 5e-3), ("99999999n", 99.999999)],
)
def test_timeouts(text, ms):
    assert read_head([*CALL, (b"grpc-timeout", text.encode())]).timeout_ms == pytest.approx(ms)


@pytest.mark.parametrize("text", ["", "S", "1", "-1S", "123456789S", "1s", " 1S"[1:] + "S", "\xb2S"])
def test_what_is_no_timeout(text):
    head = read_head([*CALL, (b"grpc-timeout", text.encode("latin-1"))])
    assert head.fault[0] == "INTERNAL"


def changed(name: bytes, value: bytes | None) -> list:
    fields = [(n, v) for n, v in CALL if n != name]
    return (
        fields
        if value is None
        else [(name, value), *fields]
        if name[:1] == b":"
        else [*fields, (name, value)]
    )


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        (b":method", b"GET", 405),
        (b"content-type", b"text/html", 415),
        (b"content-type", None, 415),
        (b"content-type", b"application/grpc+json", 415),
        (b"content-type", b"application/grpc+proto", 200),
        (b"content-type", b"application/grpc;charset=utf-8", 200),
    ],
)
def test_what_is_not_grpc(name, value, status):
    assert read_head(changed(name, value)).http_status == status


@pytest.mark.parametrize(
    "fields",
    [
        changed(b":method", None),
        changed(b":scheme", None),
        changed(b":path", None),
        changed(b":path", b""),
        changed(b":status", b"200"),
        [*CALL, (b":authority", b"x")],  # after others
        [CALL[0], *CALL],  # twice
        [*CALL, (b"Upper", b"x")],
        [*CALL, (b"connection", b"close")],
        [*CALL, (b"transfer-encoding", b"chunked")],
        changed(b"te", b"gzip"),
        [*CALL, (b"x", b"a\r\nb")],
        [*CALL, (b"x", b" a")],
        [*CALL, (b"", b"a")],
        [*CALL, (b"content-length", b"-1")],
    ],
)
def test_what_is_no_request(fields):
    assert isinstance(read_head(fields), Malformed)


def decoded(block: bytes) -> dict[str, str]:
    return dict(hpack.Decoder().decode(block))


def test_trailers():
    said = decoded(ANSWER + trailers("NOT_FOUND", "größe\n100%"))
    assert said == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "5",
        "grpc-message": "gr%C3%B6%C3%9Fe%0A100%25",
    }
    assert (
        decoded(trailers("UNIMPLEMENTED", "", accepts=True))["grpc-accept-encoding"]
        == "identity,deflate,gzip"
    )
    busy = decoded(refusal_trailers(Overloaded(Diagnostic("FS220", "busy"), retry_after_s=3)))
    assert (busy["grpc-status"], busy["grpc-retry-pushback-ms"]) == ("8", "3000")


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 300, 4096, 20_000])
def test_literals(length):
    assert decoded(literal(b"name", b"v" * length)) == {"name": "v" * length}


def test_a_long_reason_is_cut_between_codes():
    said = decoded(trailers("INTERNAL", "ß" * 5000))["grpc-message"]
    assert len(said) <= 4096
    assert len(said.replace("%C3%9F", "")) in (0, 3)


def test_heads_are_values():
    assert isinstance(read_head(CALL), Head)
    assert read_head(CALL) == read_head(CALL)

"""Lines of the access log, and what a traceparent says."""

import json

import pytest

from flowserve.core.observe.ended import Ended, Parent, clean_id, common_line, json_line, parent_of

ENDED = Ended(
    1_700_000_000.25, "http", "10.0.0.7", "POST", "/v2/models/m/infer", 200, 134, 1.23456, "r-1", "m", 7, 2
)


def test_json():
    line = json_line(ENDED)
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "client": "10.0.0.7",
        "protocol": "http",
        "method": "POST",
        "target": "/v2/models/m/infer",
        "model": "m",
        "version": 7,
        "rows": 2,
        "code": 200,
        "bytes": 134,
        "ms": 1.235,
        "request_id": "r-1",
    }


def test_common():
    said = '"POST /v2/models/m/infer HTTP/1.1" 200 134 1.235 m 7 "r-1"'
    assert common_line(ENDED).decode() == f"10.0.0.7 - - [14/Nov/2023:22:13:20 +0000] {said}\n"


def test_a_client_writes_no_line_of_its_own():
    sly = Ended(0, "http", "c", "GET", '/"\n127.0.0.1 - - \\', 404, 0, 0.0, 'x" y')
    assert common_line(sly).count(b"\n") == json_line(sly).count(b"\n") == 1
    assert rb'"GET /\"\n127.0.0.1 - - \\ HTTP/1.1" 404' in common_line(sly)
    assert rb'"x\" y"' in common_line(sly)


def test_an_id_is_short_and_can_be_printed():
    assert clean_id("a\x1b[31mb\n" + "x" * 1000) == "a[31mb" + "x" * (128 - 8)


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "parent"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"00-{TRACE}-{SPAN}-00", Parent(int(TRACE, 16), int(SPAN, 16), False)),
        (f"01-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("", None),
        ("00-x-y-01", None),
    ],
)
def test_traceparents(text, parent):
    assert parent_of(text) == parent

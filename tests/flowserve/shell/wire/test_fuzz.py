"""The HTTP parser path under bytes that nobody would send in earnest.

Whatever comes in whatever pieces: no exception, no 500, whole answers and nothing else, one for each request,
and a connection never holds more than its limits.
"""

import asyncio
import json
from socket import AF_UNIX
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flowc.plan.diagnostics import Refused
from flowserve.core.datatypes import DATATYPES
from flowserve.core.engine.tally import Tally
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.answers import answer_infer, answer_predict, describe, refusal
from flowserve.core.wire.extension_routes import ExtensionRoute
from flowserve.core.wire.heads import Heads
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.plain import parse_plain
from flowserve.core.wire.protocol import parse_request
from flowserve.core.wire.routes import Infer, Predict, parse_route
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.connection import Connection
from flowserve.shell.wire.extensions import Extensions
from flowserve.shell.wire.repository import FixedRepository
from tests.flowserve.shell.wire.nonsense import (
    GOOD,
    SMUGGLED,
    SMUGGLING,
    answers,
    cut,
    json_values,
    places,
    post,
    sizes,
)

FP32 = DATATYPES["FP32"]
SIGNATURE = Signature((TensorSpec("x", FP32, (-1, -1)),), (TensorSpec("y", FP32, (-1, -1)),))
MODELS = Serving.of([Model("m", 1, SIGNATURE, lambda feed, names: [feed["x"]])])
LIMITS = Limits(body_bytes=4096, head_bytes=1024)
THOROUGH = settings(max_examples=max(150, settings().max_examples), suppress_health_check=list(HealthCheck))


class Uncounted:
    """An engine that has run nothing."""

    def __init__(self):
        self.tallies = {}

    def tally(self, model):
        return Tally()


class Wire:
    """A transport that keeps what is written, and a host that answers at once."""

    limits = LIMITS
    draining = False
    observer = None
    headers = {b"x-canary"}  # noqa: RUF012 - nobody changes it

    def __init__(self) -> None:
        self.written = b""
        self.answers = {}
        self.closed = False
        self.extensions = Extensions(FixedRepository(MODELS, Uncounted()))

    def opened(self, connection):
        return True

    def answer(self, received, connection):
        try:
            route = parse_route(received.method, received.target.decode("latin-1"))
            if isinstance(route, Infer | Predict):
                return infer(MODELS.resolve(route.name), isinstance(route, Predict), received)
            if isinstance(route, ExtensionRoute):
                return self.extensions.answer(route, received.body, True, lambda answer: None)
            return describe(route, MODELS.table, True, "1")
        except Refused as refused:
            return refusal(refused)

    def admits(self, received):
        return True

    def settled(self):
        pass

    def write(self, data):
        assert not self.closed
        self.written += data

    def writelines(self, parts):
        self.write(b"".join(parts))

    def close(self):
        self.closed = True

    abort = write_eof = close
    pause_reading = resume_reading = lambda self: None

    def can_write_eof(self):
        return False

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name):
        return SimpleNamespace(family=AF_UNIX)


def infer(model, plain, received):
    """As the server does, without its engine."""
    length = int(received.header_bytes) if received.header_bytes else None
    signature = model.signature
    request = (
        parse_plain(received.body, signature) if plain else parse_request(received.body, length, signature)
    )
    outputs = model.run(request.feed, [wanted.spec.name for wanted in request.wanted])
    return (answer_predict if plain else answer_infer)(model, request, outputs)


def exchange(pieces: list[bytes]) -> tuple[list[tuple[int, bytes]], bool]:
    """The answers to some bytes, and whether the server closed."""

    heads = Heads()

    async def talk():
        wire = Wire()
        host = type("Host", (), {"answers": {}, "observer": None})()
        for name in ("limits", "draining", "headers", "opened", "admits", "answer", "settled"):
            setattr(host, name, getattr(wire, name))
        host.heads, host.held_bytes = heads, 0
        host.refusals = SimpleNamespace(standing={})
        host.closed = lambda connection: None
        connection = Connection(host)
        connection.connection_made(wire)
        for piece in pieces:
            if not wire.closed:
                connection.data_received(piece)
            incoming = connection._incoming
            held = incoming._body_bytes + incoming._head_bytes + incoming._withheld_bytes
            assert held <= LIMITS.body_bytes + LIMITS.head_bytes + len(piece)
        connection.connection_lost(None)
        assert host.held_bytes == 0
        return wire

    wire = asyncio.run(talk())
    again = asyncio.run(talk())  # with the heads known that could be learned
    assert (again.written, again.closed) == (wire.written, wire.closed)
    return answers(wire.written), wire.closed


DATA = ({"data": [1, 2]}, {"parameters": {"binary_data_size": 8}})
SIZED = ("binary_data_size", "shared_memory_region", "timeout")
OTHERS = ("/predict/m", "/v2/logging", "/v2/trace/setting", "/v2/repository/index")
FIELDS = ("name", "shape", "datatype", "data", "parameters")


@THOROUGH
@given(st.binary(max_size=300), places)
@example(b"\0", [])
@example(b"GET / HTTP/9.9\r\n\r\n", [])
@example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [3])
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [])
def test_any_bytes(data, at):
    exchange(cut(data, at))


@THOROUGH
@given(st.integers(0, 400), st.binary(min_size=1, max_size=4), places)
def test_a_request_with_some_bytes_changed(place, change, at):
    whole = post(json.dumps(GOOD).encode(), headers=b"Accept: */*\r\n")
    place %= len(whole)
    exchange(cut(whole[:place] + change + whole[place + len(change) :] + whole, at))


@THOROUGH
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, min_size=1, max_size=2), places)
def test_fields_of_any_json(change, at):
    body = json.dumps({"inputs": [GOOD["inputs"][0] | change]}).encode()
    ((status, _),), _ = exchange(cut(post(body), at))
    assert status in (200, 400)


@THOROUGH
@given(st.lists(sizes, max_size=3), st.sampled_from(DATA))
def test_huge_and_negative_shapes(shape, rest):
    tensor = {"name": "x", "datatype": "FP32", "shape": shape} | rest
    head = json.dumps({"inputs": [tensor]}).encode()
    binary = b"" if "data" in rest else bytes(8)
    length = b"Inference-Header-Content-Length: %d\r\n" % len(head) if binary else b""
    ((status, body),), _ = exchange([post(head + binary, headers=length)])
    assert status == 400 or json.loads(body)["outputs"][0]["shape"] in ([1, 2], [2, 1])


@THOROUGH
@given(st.dictionaries(st.sampled_from(SIZED), sizes), sizes)
def test_wrong_lengths(parameters, length):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": parameters}
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    if isinstance(length, int) and 0 <= length < 10**18:
        header = b"Inference-Header-Content-Length: %d\r\n" % length
        ((status, _),), _ = exchange([post(head, headers=header)])
        assert status == 400


@THOROUGH
@given(st.sampled_from(OTHERS), json_values)
def test_bodies_of_other_routes(path, body):
    ((status, _),), _ = exchange([post(json.dumps(body).encode(), path)])
    assert status in (200, 400)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"inputs":[', b'{"parameters":{"a":'])
@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/predict/m", "/v2/logging"])
def test_deep_json(opening, path):
    ((status, _),), _ = exchange([post(opening * (4000 // len(opening)), path)])
    assert status == 400


@THOROUGH
@given(st.lists(st.sampled_from(["good", "bad", "health", "gone"]), min_size=1, max_size=8), places)
def test_pipelined_requests_are_answered_in_their_order(kinds, at):
    requests = {
        "good": (post(json.dumps(GOOD).encode()), 200),
        "bad": (post(b"{}"), 400),
        "health": (b"GET /v2/health/live HTTP/1.1\r\n\r\n", 200),
        "gone": (b"GET /v2/models/none HTTP/1.1\r\n\r\n", 404),
    }
    found, closed = exchange(cut(b"".join(requests[kind][0] for kind in kinds), at))
    assert [status for status, _ in found] == [requests[kind][1] for kind in kinds]
    assert not closed


@THOROUGH
@given(st.integers(0, 10_000))
def test_half_a_request_is_not_answered(place):
    whole = post(json.dumps(GOOD).encode())
    found, closed = exchange([whole[: place % len(whole)]])
    assert found == []
    assert not closed


@pytest.mark.parametrize("headers", SMUGGLING)
@pytest.mark.parametrize("each", [False, True], ids=["whole", "by byte"])
def test_lengths_that_two_readers_could_read_differently(headers, each):
    data = b"POST /v2/models/m/infer HTTP/1.1\r\n" + headers + b"\r\n" + b"0\r\n\r\n" + SMUGGLED
    found, _ = exchange([bytes([byte]) for byte in data] if each else [data])
    assert [status for status, _ in found][:1] == [400] or found[0][0] == 413
    assert 404 not in [status for status, _ in found], "the smuggled request was answered"

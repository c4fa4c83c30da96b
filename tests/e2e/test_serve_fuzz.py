"""A running server among bytes that nobody would send in earnest, over real connections.

It answers whole or not at all, never with a 500; afterwards it is the same process, answers as ever, and
holds neither connections nor memory. `pytest -m slow --hypothesis-profile=search` sends others, for longer.
"""

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import serialised
from running import PATIENCE_S, serving, until

from flowserve.core.wire.http2.frames import PREFACE
from flowserve.core.wire.http2.frames import settings as settings_frame
from flowserve.shell.models.repository import publish
from tests.flowserve.shell.wire.nonsense import (
    CALLS,
    FRAMES,
    GOOD,
    SMUGGLED,
    SMUGGLING,
    answers,
    cut,
    frames_of,
    json_values,
    places,
    post,
    sizes,
)

pytestmark = pytest.mark.slow

LONG = settings(
    max_examples=max(1500, settings().max_examples),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
GROWTH_MB_MAX = 60  # heads that were read are kept, of requests too; all of it has bounds
OTHERS = ("/predict/m", "/v2/logging", "/v2/trace/setting", "/v2/repository/index", "/v2/models/m/infer")


def model(name: str, kind: int) -> bytes:
    ends = [[(end, kind, [None] * 2)] for end in "xy"]
    return serialised([helper.make_node("Identity", ["x"], ["y"])], *ends)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    publish(folder / "models", "m", model("m", TensorProto.FLOAT))
    publish(folder / "models", "double", model("double", TensorProto.FLOAT))
    with serving(folder, "--grpc", "127.0.0.1:0", "--processes", "1") as server:
        (process,) = server.status()["processes"]
        server.process_id = process
        yield server


@pytest.fixture(autouse=True)
def unharmed(server):
    """What holds before and after thousands of requests."""
    before_mb, files = resident_mb(server.process_id), open_files(server.process_id)
    yield
    assert server.status()["processes"] == [server.process_id]
    status, body = server.ask("POST", "/v2/models/m/infer", GOOD)
    assert (status, json.loads(body)["outputs"][0]["data"]) == (200, [1.0, 2.0])
    until(lambda: open_files(server.process_id) <= files + 2)
    assert resident_mb(server.process_id) <= before_mb + GROWTH_MB_MAX
    assert "error" not in server.said().lower()


def resident_mb(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def said(port: int, pieces: list[bytes], leave: bool = False) -> bytes:
    """What comes back until the server closes; with `leave` the client is gone before it reads anything."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
            if leave:
                return b""
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has been refused before its end
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


@LONG
@given(st.binary(max_size=300), places, st.booleans())
def test_any_bytes(server, data, at, leave):
    answers(said(server.port, cut(data, at), leave))


@LONG
@given(st.integers(0, 400), st.binary(min_size=1, max_size=4), places, st.booleans())
def test_a_request_with_some_bytes_changed(server, place, change, at, leave):
    whole = post(json.dumps(GOOD).encode(), headers=b"Accept: */*\r\n")
    place %= len(whole)
    answers(said(server.port, cut(whole[:place] + change + whole[place + len(change) :] + whole, at), leave))


@LONG
@given(st.sampled_from(OTHERS), json_values, st.dictionaries(st.sampled_from(list(GOOD["inputs"][0])), sizes))
def test_any_json(server, path, body, change):
    wrong = {"inputs": [GOOD["inputs"][0] | change]}
    found = answers(said(server.port, [post(json.dumps(value).encode(), path) for value in (body, wrong)]))
    assert len(found) == 2
    assert {status for status, _ in found} <= {200, 400}


@LONG
@given(st.sampled_from(SMUGGLING), places)
def test_lengths_that_two_readers_could_read_differently(server, headers, at):
    data = b"POST /v2/models/m/infer HTTP/1.1\r\n" + headers + b"\r\n" + b"0\r\n\r\n" + SMUGGLED
    assert 404 not in [status for status, _ in answers(said(server.port, cut(data, at)))]


@LONG
@given(st.lists(st.one_of(FRAMES, CALLS), max_size=30), places, st.booleans())
def test_any_frames(server, frames, at, leave):
    data = PREFACE + settings_frame({}) + b"".join(frames)
    port = int(server.grpc.rpartition(":")[2])
    found = frames_of(said(port, cut(data, at), leave))
    ends = [number for kind, flags, number in found if kind == 1 and flags & 1]
    assert len(ends) == len(set(ends)), "a stream was answered twice"


@LONG
@given(st.binary(max_size=300), st.booleans(), places)
def test_any_bytes_after_a_preface(server, data, polite, at):
    opening = PREFACE + settings_frame({}) if polite else b""
    frames_of(said(int(server.grpc.rpartition(":")[2]), cut(opening + data, at)))

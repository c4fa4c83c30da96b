"""Extensions of the protocol on real sockets, with a repository that is a few lists."""

import asyncio
import json
import os
from pathlib import Path

import numpy as np
import pytest
import uvloop

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.observe.statistics import ModelStatistics
from flowserve.core.wire.limits import Limits
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.connection import Connection
from flowserve.shell.wire.http import Server
from flowserve.shell.wire.listening import bind
from flowserve.shell.wire.repository import Indexed

FP32 = DATATYPES["FP32"]
SIGNATURE = Signature((TensorSpec("x", FP32, (-1,)),), (TensorSpec("y", FP32, (-1,)),))
DOUBLE = Model("double", 1, SIGNATURE, lambda feed, names: [feed["x"] * 2])


class Repository:
    """Loads `late` after a turn of the loop, everything else at once but `broken`."""

    def __init__(self) -> None:
        self.asked = []

    def index(self):
        return [Indexed("double", "1", "READY"), Indexed("late", "1", "UNAVAILABLE", "not loaded")]

    def load(self, name, parameters, done):
        self.asked.append(("load", name, dict(parameters)))
        if name == "gone":
            refuse("FS202", "there is no model `gone`")
        if name == "late":
            asyncio.get_running_loop().call_soon(done, None)
        else:
            done(Refused(Diagnostic("FS103", "it does not load")) if name == "broken" else None)

    def unload(self, name, dependents, done):
        self.asked.append(("unload", name, dependents))
        done(None)

    def statistics(self, name, version, done):
        if name not in ("", "double"):
            refuse("FS202", f"there is no model `{name}`")
        done([ModelStatistics("double", "1", inference_count=3)])


def ask(*requests):
    """The (status, JSON) of each (method, path, body), asked one after the other; and the repository."""

    async def talk():
        repository = Repository()
        server = Server(Serving.of([DOUBLE]), "1", Limits(), repository)
        loop = asyncio.get_running_loop()
        acceptor = await loop.create_server(lambda: Connection(server), sock=bind("127.0.0.1", 0))
        reader, writer = await asyncio.open_connection(*acceptor.sockets[0].getsockname())
        found = []
        for method, path, body in requests:
            text = json.dumps(body).encode() if body is not None else b""
            writer.write(f"{method} {path} HTTP/1.1\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
            length = int(head.split("Content-Length: ")[1].split("\r\n")[0])
            content = await reader.readexactly(length)
            found.append((int(head.split()[1]), json.loads(content) if content else None))
        writer.close()
        acceptor.close()
        await server.drain()
        return found, repository

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(talk())


def one(method, path, body=None):
    return ask((method, path, body))[0][0]


def test_index():
    assert [entry["name"] for entry in one("POST", "/v2/repository/index")[1]] == ["double", "late"]
    assert [entry["name"] for entry in one("POST", "/v2/repository/index", {"ready": True})[1]] == ["double"]


def test_index_says_why_not_and_nothing_where_there_is_nothing_to_say():
    assert one("POST", "/v2/repository/index") == (
        200,
        [
            {"name": "double", "version": "1", "state": "READY"},
            {"name": "late", "version": "1", "state": "UNAVAILABLE", "reason": "not loaded"},
        ],
    )


def test_flags_must_be_flags():
    found, _ = ask(
        ("POST", "/v2/repository/index", {"ready": 1}),
        ("POST", "/v2/repository/models/double/unload", {"parameters": {"unload_dependents": "yes"}}),
    )
    assert found == [
        (400, {"error": "[FS201] `ready` must be true or false, got 1"}),
        (400, {"error": '[FS201] `parameters.unload_dependents` must be true or false, got "yes"'}),
    ]


def test_load_and_unload_are_asked_of_the_repository():
    base = "/v2/repository/models"
    found, repository = ask(
        ("POST", f"{base}/early/load", {"parameters": {"a": 1}}),
        ("POST", f"{base}/late/load", None),
        ("POST", f"{base}/broken/load", {}),
        ("POST", f"{base}/gone/load", {}),
        ("POST", f"{base}/early/unload", {"parameters": {"unload_dependents": True}}),
        ("POST", f"{base}/early/load", {"parameters": []}),
        ("GET", "/v2/health/live", None),
    )
    assert [status for status, _ in found] == [200, 200, 503, 404, 200, 400, 200]
    assert found[2][1] == {"error": "[FS103] it does not load"}
    assert repository.asked == [
        ("load", "early", {"a": 1}),
        ("load", "late", {}),
        ("load", "broken", {}),
        ("load", "gone", {}),
        ("unload", "early", True),
    ]


@pytest.mark.parametrize(
    "path", ["/v2/models/stats", "/v2/models/double/stats", "/v2/models/double/versions/1/stats"]
)
def test_statistics(path):
    status, answer = one("GET", path)
    assert status == 200
    assert answer["model_stats"][0]["inference_count"] == 3
    assert answer["model_stats"][0]["inference_stats"]["success"] == {"count": 0, "ns": 0}


def test_statistics_and_traces_of_no_model():
    assert one("GET", "/v2/models/none/stats")[0] == 404
    assert one("GET", "/v2/models/none/trace/setting")[0] == 404


def test_predict_answers_rows():
    status, answer = one("POST", "/predict/double", [1, 2])
    assert (status, answer["predictions"]) == (200, [{"y": 2.0}, {"y": 4.0}])


def test_inputs_and_outputs_in_shared_memory():
    file = Path(f"/dev/shm/flowserve-test-{os.getpid()}")
    file.write_bytes(np.array([1, 2, 0, 0], "<f4").tobytes())
    try:
        region = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
        tensor = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": region}
        output = {"name": "y", "parameters": region | {"shared_memory_offset": 8}}
        request = {"inputs": [tensor], "outputs": [output]}
        found, _ = ask(
            ("POST", "/v2/models/double/infer", request),
            ("POST", "/v2/systemsharedmemory/region/r/register", {"key": f"/{file.name}", "byte_size": 16}),
            ("POST", "/v2/models/double/infer", request),
            ("GET", "/v2/systemsharedmemory/region/r/status", None),
            ("POST", "/v2/systemsharedmemory/region/r/unregister", None),
            ("GET", "/v2/systemsharedmemory/region/r/status", None),
        )
        assert [status for status, _ in found] == [404, 200, 200, 200, 200, 404]
        assert found[2][1]["outputs"][0]["parameters"] == output["parameters"]
        assert np.frombuffer(file.read_bytes(), "<f4").tolist() == [1, 2, 2, 4]
    finally:
        file.unlink()


@pytest.mark.parametrize(
    "body",
    [{}, {"key": 1}, {"key": "/x", "byte_size": -1}, {"key": "/x", "byte_size": 2**63}, {"key": "/x"}, [1]],
)
def test_registering_needs_a_key_and_sizes(body):
    assert one("POST", "/v2/systemsharedmemory/region/r/register", body)[0] == 400


def test_cuda_memory_is_refused():
    assert one("GET", "/v2/cudasharedmemory/status") == (200, [])
    assert one("POST", "/v2/cudasharedmemory/unregister")[0] == 200
    assert one("POST", "/v2/cudasharedmemory/region/r/register", {})[0] == 400


def test_settings_are_shown_and_changed():
    found, _ = ask(
        ("GET", "/v2/trace/setting", None),
        ("POST", "/v2/models/double/trace/setting", {"trace_level": ["TENSORS"]}),
        ("POST", "/v2/logging", {"log_info": False}),
        ("GET", "/v2/logging", None),
    )
    assert [status for status, _ in found] == [200, 400, 200, 200]
    assert found[0][1]["trace_level"] == ["OFF"]
    assert found[3][1]["log_info"] is False


def test_pages_are_html():
    async def talk():
        server = Server(Serving.of([DOUBLE]), "1", Limits())
        loop = asyncio.get_running_loop()
        acceptor = await loop.create_server(lambda: Connection(server), sock=bind("127.0.0.1", 0))
        reader, writer = await asyncio.open_connection(*acceptor.sockets[0].getsockname())
        writer.write(b"GET /predict/double HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        acceptor.close()
        await server.drain()
        return answer

    answer = asyncio.run(talk())
    assert b"Content-Type: text/html; charset=utf-8\r\n" in answer
    assert b"<!doctype html>" in answer

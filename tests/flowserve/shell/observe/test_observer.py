"""What of a request is passed on, over a real connection and to real files."""

import asyncio
import json

import uvloop

from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.observe.measures import Logged
from flowserve.core.observe.settings import AccessLog, Observed, Samples, Traces
from flowserve.core.wire.datatypes import DATATYPES
from flowserve.core.wire.limits import Limits
from flowserve.shell.models.serving import Serving
from flowserve.shell.observe.observer import Observer
from flowserve.shell.wire.connection import Connection
from flowserve.shell.wire.http import Server
from flowserve.shell.wire.listening import bind

X, Y = (TensorSpec(name, DATATYPES["FP32"], (-1,)) for name in "xy")
MODEL = Model("double", 3, Signature((X,), (Y,)), lambda feed, names: [feed["x"] * 2])
BODY = b'{"id": "mine", "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [3, 4]}]}'
INFER = "POST /v2/models/double/infer?token=secret HTTP/1.1"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


def asked(line, body=b"", *headers):
    head = "\r\n".join([line, f"Content-Length: {len(body)}", *headers])
    return f"{head}\r\n\r\n".encode() + body


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def serve(observed, *requests, chance=lambda: 0.0, sent=None):
    """Send requests one after the other, and return the observer once it has written all."""

    async def run():
        observer = Observer(observed, "1.2", chance)
        if sent is not None:
            observer._spans.close()
            observer._spans._send = sent.extend
            observer._spans.put = lambda ended: sent.append(ended)
        server = Server(Serving.of([MODEL]), "1.2", Limits(), observer=observer)
        loop = asyncio.get_running_loop()
        acceptor = await loop.create_server(lambda: Connection(server), sock=bind("127.0.0.1", 0))
        port = acceptor.sockets[0].getsockname()[1]
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            writer.write_eof()
            assert (await reader.read()).startswith(b"HTTP/1.1 ")
            writer.close()
        acceptor.close()
        await server.drain()
        observer.close()
        return observer

    async def bounded():
        async with asyncio.timeout(20):
            return await run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


def test_every_request_has_its_line(tmp_path):
    observer = serve(
        Observed(AccessLog(str(tmp_path / "log"))),
        asked(INFER, BODY, "Authorization: Bearer secret", "X-Request-Id: theirs"),
        asked(INFER, BODY),
        asked(INFER, b"{}"),
        asked("GET /nope HTTP/1.1"),
        b"nonsense\r\n\r\n",
    )
    text = (tmp_path / "log").read_text()
    assert "secret" not in text
    first, second, third, fourth, fifth = lines(tmp_path / "log")
    assert (first["request_id"], second["request_id"]) == ("theirs", "mine")
    assert first["target"] == "/v2/models/double/infer"
    assert (first["model"], first["version"], first["rows"], first["code"]) == ("double", 3, 2, 200)
    assert first["client"] == "127.0.0.1"
    assert first["bytes"] > 50
    assert first["ms"] > 0
    assert (third["model"], third["code"], third["reason"]) == ("double", 400, "FS201")
    assert third["request_id"] not in ("", fourth["request_id"])
    assert (fourth["target"], fourth["code"], fourth["reason"]) == ("/nope", 404, "FS209")
    assert (fifth["method"], fifth["code"]) == ("-", 400)
    assert observer.logged == {"access": Logged(5)}


def test_samples_are_a_share_of_what_was_answered_with_outputs(tmp_path):
    turns = iter([0.4, 0.6])
    observed = Observed(samples=Samples(str(tmp_path / "log"), share=0.0, shares={"double": 0.5}))
    serve(observed, asked(INFER, BODY), asked(INFER, b"{}"), asked(INFER, BODY), chance=lambda: next(turns))
    (line,) = lines(tmp_path / "log")
    assert line["inputs"]["x"]["data"] == [3, 4]
    assert line["outputs"]["y"]["data"] == [6, 8]
    assert (line["model"], line["version"], line["request_id"]) == ("double", 3, "mine")


def test_a_trace_says_whether_it_is_sampled_and_otherwise_chance(tmp_path):
    sent = []
    turns = iter([0.05, 0.5])
    serve(
        Observed(traces=Traces("http://127.0.0.1:9", share=0.1)),
        asked(INFER, BODY, f"traceparent: {PARENT}01"),
        asked(INFER, BODY, f"traceparent: {PARENT}00"),
        asked(INFER, BODY),
        asked(INFER, BODY),
        chance=lambda: next(turns),
        sent=sent,
    )
    assert [of.traceparent for of in sent] == [f"{PARENT}01", ""]
    assert sent[0].stages is not None
    assert sent[0].stages.inference > 0


def test_a_full_disk_stops_nobody():
    observer = serve(Observed(AccessLog("/dev/full")), asked(INFER, BODY), asked(INFER, BODY))
    assert observer.logged["access"].lost == 2

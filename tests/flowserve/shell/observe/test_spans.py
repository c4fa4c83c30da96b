"""Spans as a receiver of OTLP gets them."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from flowserve.core.observe.ended import Ended, Stages
from flowserve.shell.observe.spans import Spans

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = Stages(0.5, 0.5, 2.0, 4.0, 1.0)


def ended(**more):
    given = {"model": "m", "version": 7, "rows": 2, "stages": STAGES, **more}
    return Ended(100.0, "http", "c", "POST", "/v2/models/m/infer", 200, 10, 9.0, "id", **given)


@contextlib.contextmanager
def receiver(status=200):
    """What was posted, as paths and messages."""
    got = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.put((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def made(request):
    exporter = InMemorySpanExporter()
    Spans(exporter, "1.2").send([request])
    return exporter.get_finished_spans()


def test_a_request_its_wait_and_its_run():
    whole, queue, inference = made(ended())
    assert (whole.name, queue.name, inference.name) == ("infer m", "queue", "inference")
    assert whole.kind == SpanKind.SERVER
    assert whole.parent is None
    assert {queue.parent.span_id, inference.parent.span_id} == {whole.context.span_id}
    assert len({span.context.trace_id for span in (whole, queue, inference)}) == 1
    assert len({span.context.span_id for span in (whole, queue, inference)}) == 3
    ms = 1_000_000
    end = 100_000 * ms
    assert (whole.start_time, whole.end_time) == (end - 9 * ms, end)
    assert (queue.start_time, queue.end_time) == (end - 8 * ms, end - 6 * ms)
    assert (inference.start_time, inference.end_time) == (end - 6 * ms, end - 2 * ms)
    told = dict(whole.attributes)
    assert (told["flow.model"], told["flow.version"], told["flow.rows"]) == ("m", 7, 2)
    assert (told["http.response.status_code"], told["flow.request_id"]) == (200, "id")


def test_it_is_a_part_of_the_client_s_trace():
    whole, queue, _ = made(ended(traceparent=f"00-{TRACE}-{SPAN}-01", tracestate="a=1"))
    assert whole.parent.span_id == int(SPAN, 16)
    assert whole.context.trace_id == queue.context.trace_id == int(TRACE, 16)
    assert whole.context.trace_state["a"] == "1"


def test_a_refusal_is_one_span_and_an_error_where_the_server_is_to_blame():
    (own,) = made(Ended(1.0, "http", "c", "GET", "/nope", 404, 1, 1.0, "id", reason="FS209"))
    assert own.status.status_code == StatusCode.UNSET
    assert own.attributes["error.type"] == "FS209"
    (own,) = made(Ended(1.0, "grpc", "c", "POST", "/x", 503, 1, 1.0, "id", "m", 7, reason="FS221"))
    assert own.status.status_code == StatusCode.ERROR


def test_a_receiver_gets_them():
    with receiver() as (url, got):
        spans = Spans.to(url, "1.2")
        spans.send([ended(), ended()])
        spans.close()
        path, message = got.get(timeout=10)
    assert path == "/v1/traces"
    (resource,) = message.resource_spans
    names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert (names["service.name"], names["service.version"]) == ("flowserve", "1.2")
    assert sum(len(scope.spans) for scope in resource.scope_spans) == 6


def test_what_a_receiver_does_not_take_is_lost():
    with receiver(400) as (url, _):
        spans = Spans.to(f"{url}/own/path", "1.2")
        with pytest.raises(OSError, match="did not take"):
            spans.send([ended()])
        spans.close()

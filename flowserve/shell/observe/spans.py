"""Requests as OpenTelemetry spans: one for the request, in it one for its wait and one for the model's run.

Made and sent on a thread of their own. Imported only where traces are asked for: it needs the extra `otel`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from flowserve.core.observe.ended import Ended, parent_of

_SCOPE = InstrumentationScope("flowserve")
_FLAGS = TraceFlags(TraceFlags.SAMPLED)


class Spans:
    """Sends spans of requests to a receiver."""

    def __init__(self, exporter: SpanExporter, version: str) -> None:
        service = os.environ.get("OTEL_SERVICE_NAME", "flowserve")
        self._exporter = exporter
        self._resource = Resource.create(
            {"service.name": service, "service.version": version, "process.pid": os.getpid()}
        )

    @classmethod
    def to(cls, url: str, version: str) -> Spans:
        """Spans that go to an OTLP receiver over HTTP."""
        endpoint = url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1/traces"
        return cls(OTLPSpanExporter(endpoint=endpoint, timeout=5), version)

    def send(self, requests: Sequence[Ended]) -> None:
        """Send the spans of requests; raises when they are not taken. Takes seconds when there is nobody."""
        spans = [span for ended in requests for span in self.spans(ended)]
        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise OSError("the OpenTelemetry endpoint did not take them")

    def spans(self, ended: Ended) -> Iterator[ReadableSpan]:
        """What a request is as spans, the outermost first."""
        end = round(ended.ended_s * 1e9)
        start = end - _ns(ended.ms)
        parent = parent_of(ended.traceparent)
        around, trace = None, parent.trace if parent else _random(16)
        state = TraceState.from_header([ended.tracestate]) if parent and ended.tracestate else TraceState()
        if parent is not None:
            around = SpanContext(trace, parent.span, True, _FLAGS, state)
        own = SpanContext(trace, _random(8), False, _FLAGS, state)
        of_model: dict[str, str | int] = {
            "flow.model": ended.model,
            "flow.version": ended.version,
            "flow.rows": ended.rows,
        }
        asked: dict[str, str | int] = {
            "http.request.method": ended.method,
            "url.path": ended.target,
            "http.response.status_code": ended.status,
            "http.response.body.size": ended.bytes,
            "client.address": ended.client,
            "network.protocol.name": ended.protocol,
            "flow.request_id": ended.request_id,
            **({"error.type": ended.reason} if ended.reason else {}),
            **(of_model if ended.model else {}),
        }
        name = f"infer {ended.model}" if ended.model else f"{ended.method} {ended.target}"
        wrong = Status(StatusCode.ERROR, ended.reason) if ended.status >= 500 else Status(StatusCode.UNSET)
        yield self._span(name, own, around, SpanKind.SERVER, start, end, asked, wrong)
        if (stages := ended.stages) is None:
            return
        queued = start + _ns(stages.route + stages.parse)
        begun = queued + _ns(stages.queue)
        for stage, begin, ended_ns in (
            ("queue", queued, begun),
            ("inference", begun, begun + _ns(stages.inference)),
        ):
            inside = SpanContext(trace, _random(8), False, _FLAGS, state)
            until = min(ended_ns, end)
            yield self._span(stage, inside, own, SpanKind.INTERNAL, min(begin, until), until, of_model)

    def close(self) -> None:
        """Let go of the receiver."""
        self._exporter.shutdown()

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        start: int,
        end: int,
        attributes: dict[str, str | int],
        status: Status = Status(StatusCode.UNSET),  # noqa: B008 - never changes
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            kind=kind,
            instrumentation_scope=_SCOPE,
            status=status,
            start_time=start,
            end_time=end,
        )


def _ns(ms: float) -> int:
    return round(ms * 1e6)


def _random(count: int) -> int:
    return int.from_bytes(os.urandom(count), "big") or 1

"""A run as OpenTelemetry spans: one for the run, in it one for each attempt, linked along dependencies.

Trace and span ids follow from the run: who sends it twice sends the same. `TRACEPARENT` in the environment,
as CI servers set it, makes the run a part of that trace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from blake3 import blake3
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, Span, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flowc.plan.model import sources_of
from flowrun.core.changes import AnyChange, Exited, Finish, Logged, Opened, Retry, Start
from flowrun.core.state import State
from flowrun.core.task import Task

_QUEUE = 1 << 17  # spans
_FLUSH_MS = 8000
_LONGEST = 4000  # characters of an attribute


class Spans:
    """Sends spans when what they are of is over."""

    def __init__(self, exporter: SpanExporter, run: str, environment: Mapping[str, str]) -> None:
        self._run = run
        self._sender = _Sender(exporter)
        self._ids = _Ids()
        service = environment.get("OTEL_SERVICE_NAME", "flowrun")
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._sender, max_queue_size=_QUEUE))
        self._tracer = self._provider.get_tracer("flowrun")
        carrier = {
            name.lower(): environment[name] for name in ("TRACEPARENT", "TRACESTATE") if name in environment
        }
        self._around = TraceContextTextMapPropagator().extract(carrier)
        self._root: Span | None = None
        self._inside = Context()
        self._open: dict[str, Any] = {}  # by node
        self._done: dict[str, Any] = {}  # of nodes, the context of their last span

    @classmethod
    def to(cls, url: str, run: str, environment: Mapping[str, str]) -> Spans:
        """Spans that go to an OTLP endpoint over HTTP; without a URL to that of the environment."""
        path = urlsplit(url).path.rstrip("/")
        endpoint = f"{url.rstrip('/')}/v1/traces" if url and not path else url or None
        return cls(OTLPSpanExporter(endpoint=endpoint), run, environment)

    def see(self, state: State, change: AnyChange) -> None:
        """A change, which is applied to the state."""
        match change:
            case Opened():
                self._begin(state, change)
            case Start():
                self._start(state, change)
            case Exited():
                self._exited(state.by_id[change.node], change)
            case Logged(notes=notes):
                span = self._open.get(change.node)
                if span is not None:
                    for note in notes:
                        span.add_event("note", {"text": note[:_LONGEST]}, timestamp=_ns(change.at_ms))
            case Retry():
                assert self._root is not None, "the run began"
                self._root.add_event("retry", {"flow.node": change.node}, timestamp=_ns(change.at_ms))
            case Finish():
                failed = change.status != "succeeded"
                self._end(self._root, change.at_ms, change.status if failed else "")
                self._root = None

    def close(self, state: State) -> str:
        """Send what is left; what went wrong."""
        for span in self._open.values():
            self._end(span, state.now_ms, "interrupted")
        if self._root is not None:
            self._end(self._root, state.now_ms, "interrupted")
        flushed = self._provider.force_flush(_FLUSH_MS)
        if self._sender.failed:
            return f"{self._sender.failed} spans were not taken by the OpenTelemetry endpoint"
        return "" if flushed else "the OpenTelemetry endpoint is too slow"

    def _begin(self, state: State, opened: Opened) -> None:
        header = state.plan.header
        attributes: dict[str, Any] = {"flow.run": self._run, "flow.workflow": header.workflow}
        attributes |= {"flow.plan": opened.plan, "flow.nodes": len(state.tasks)}
        attributes |= {f"flow.input.{name}": _text(value) for name, value in opened.inputs.items()}
        self._ids.next(f"{self._run} {opened.at_ms}", f"{self._run} {opened.at_ms}")
        self._root = self._tracer.start_span(
            header.name, self._around, attributes=attributes, start_time=_ns(opened.at_ms)
        )
        self._inside = set_span_in_context(self._root)

    def _start(self, state: State, start: Start) -> None:
        task = state.by_id[start.node]
        refs = dict.fromkeys(ref for tree in task.node.args.values() for ref in sources_of(tree))
        links = [Link(self._done[ref]) for ref in refs if ref in self._done]
        attributes: dict[str, Any] = {"flow.node": start.node, "flow.attempt": start.attempt}
        attributes |= {"flow.operator": task.site.op, "flow.site": task.site.site}
        attributes |= {"flow.cpus": start.placement.cpus, "flow.gpus": list(start.placement.gpus)}
        attributes |= {"flow.waited_ms": max(0, start.at_ms - task.ready_at_ms)}
        self._ids.next("", f"{self._run} {start.node} {start.attempt}")
        self._open[start.node] = self._tracer.start_span(
            start.node, self._inside, attributes=attributes, links=links, start_time=_ns(start.at_ms)
        )

    def _exited(self, task: Task, exited: Exited) -> None:
        span = self._open.pop(exited.node, None)
        if span is None:
            return
        used = exited.usage
        span.set_attributes({"flow.cpu_ms": used.cpu_ms, "flow.peak_mb": used.peak_mb})
        if exited.artifact is not None:
            told = {"flow.artifact": exited.artifact.hash, "flow.bytes": exited.artifact.bytes}
            span.set_attributes(told)
            self._done[task.node.id] = span.get_span_context()
        failure = exited.failure
        if failure is not None:
            told = {"exception.type": failure.code, "exception.message": failure.message[:_LONGEST]}
            span.add_event("exception", told, timestamp=_ns(exited.at_ms))
        self._end(span, exited.at_ms, f"[{failure.code}] {failure.message}" if failure else "")

    @staticmethod
    def _end(span: Any, at_ms: int, wrong: str) -> None:
        span.set_status(Status(StatusCode.ERROR, wrong[:_LONGEST]) if wrong else Status(StatusCode.OK))
        span.end(_ns(at_ms))


class _Ids(IdGenerator):
    """Ids that follow from what a span is of."""

    def __init__(self) -> None:
        self._trace = self._span = ""

    def next(self, trace: str, span: str) -> None:
        """What the next span is of."""
        self._trace, self._span = trace, span

    def generate_trace_id(self) -> int:
        return int.from_bytes(blake3(self._trace.encode()).digest(16), "big") or 1

    def generate_span_id(self) -> int:
        return int.from_bytes(blake3(self._span.encode()).digest(8), "big") or 1


class _Sender(SpanExporter):
    """Counts what is not taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # whatever a library raises
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _text(value: object) -> str:
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:_LONGEST]


def _ns(at_ms: int) -> int:
    return at_ms * 1_000_000

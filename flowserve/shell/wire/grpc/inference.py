"""One inference request over gRPC, from its message to the message that answers it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.arrays import Array
from flowserve.core.models.model import Model
from flowserve.core.wire.answers import status_of
from flowserve.core.wire.coding import COMPRESSED_BYTES_MIN, packed
from flowserve.core.wire.grpc.inference import (
    infer_response,
    parse_infer,
    read_infer,
    stream_failure,
    stream_response,
)
from flowserve.core.wire.protocol import Admit, InferRequest
from flowserve.shell.observe.observer import Observer
from flowserve.shell.wire import inference
from flowserve.shell.wire.http2.streams import Stream
from flowserve.shell.wire.inference import INLINE_BYTES_MAX, LEFT, Inference
from flowserve.shell.wire.observing import NAMES, Asked, Ran, client_of, tell


class Host(inference.Host, Protocol):
    """What a request over gRPC needs of its server."""

    answers: dict[int, int]
    """How many requests for predictions were answered, by HTTP's status for the same."""
    running: set[GrpcInference]
    """Those that are being answered."""

    @property
    def observer(self) -> Observer | None:
        """Who is told of requests, if anybody is."""


class Answered(msgspec.Struct, frozen=True):
    """A message, in a coding if it is compressed."""

    data: bytes
    coding: str = ""


Outcome = Answered | Refused


class GrpcInference(Inference[Answered]):
    """One request."""

    __slots__ = ("_coding", "_decoding_s", "_message", "_stream", "_streamed", "_told")

    _host: Host

    def __init__(self, host: Host, stream: Stream, done: Callable[[Outcome], None], streamed: bool) -> None:
        """`streamed` says that it is one of several: what is refused then is a message as well."""
        due_ms = None
        if stream.head.timeout_ms is not None:
            due_ms = host.engine.now_ms() + (stream.expires_s - stream.connection.now()) * 1e3
        super().__init__(host, stream.connection, perf_counter(), due_ms)
        self._stream = stream
        self._told = done
        self._streamed = streamed
        self._message: Any = None
        self._coding = ""
        self._decoding_s = 0.0

    def begin(self, data: bytes, compressed: bool) -> None:
        """Answer a message; `done` is called once, maybe before this returns, unless it is cancelled."""
        self._host.running.add(self)
        if compressed:
            self._coding = self._stream.head.coding
        if len(data) <= INLINE_BYTES_MAX and not compressed:
            self._decoded(self._decode(data, compressed))
        else:
            self._host.engine.aside(functools.partial(self._decode, data, compressed), self._decoded)

    def cancel(self) -> None:
        """Hear that the client has left."""
        if not self._over:
            super().cancel()
            self._count(LEFT, "", 0, Ran(self._model) if self._model is not None else None)

    def _decode(self, data: bytes, compressed: bool) -> Refused | None:
        began_s = perf_counter()
        try:
            data = self._stream.unpacked(data, compressed)
            self._short = len(data) <= INLINE_BYTES_MAX
            self._message = read_infer(data)
        except Refused as refused:
            return refused
        self._decoding_s = perf_counter() - began_s
        return None

    def _decoded(self, refused: Refused | None) -> None:
        if refused is not None:
            self._fail(refused)
        elif not self._over:
            self._find(self._message.model_name, self._message.model_version)

    def _read(self, model: Model, admit: Admit | None) -> InferRequest:
        self._reading_s -= self._decoding_s  # as if it had come after finding the model
        return parse_infer(self._message, model.signature, self._region, admit)

    def _write(self, model: Model, outputs: list[Array]) -> Answered:
        response = infer_response(model.name, model.version, self._request, outputs)
        data = stream_response(response) if self._streamed else response.SerializeToString()
        # A client that compresses what it asks is answered so too, if it is long.
        coding = self._coding
        if not coding or len(data) < COMPRESSED_BYTES_MIN or coding not in self._stream.head.accepts:
            return Answered(data)
        return Answered(packed(data, coding), coding)

    def _answer(self, reply: Answered, ran: Ran | None) -> None:
        self._count(200, "", len(reply.data), ran)
        self._told(reply)

    def _refuse(self, refused: Refused, ran: Ran | None) -> None:
        self._count(status_of(refused), refused.diagnostics[0].code, 0, ran)
        if self._streamed:
            request_id = self._message.id if self._message is not None else ""
            self._told(Answered(stream_failure(str(refused), request_id)))
        else:
            self._told(refused)

    def _header(self, name: str) -> str:
        return self._stream.head.named(name)

    def _count(self, status: int, reason: str, size: int, ran: Ran | None) -> None:
        """Count a request that is over, and tell the observer of it."""
        host = self._host
        host.running.discard(self)
        host.answers[status] = host.answers.get(status, 0) + 1
        if host.observer is not None:
            head = self._stream.head
            headers = {name: head.named(name) for name in NAMES}
            asked = Asked("grpc", client_of(self._stream.connection.peer), "POST", head.path, headers)
            ms = (perf_counter() - self._began_s) * 1e3
            tell(host.observer, asked, status, reason, size, ms, ran)

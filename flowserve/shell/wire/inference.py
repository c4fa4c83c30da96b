"""One inference request over gRPC, from its message to the message that answers it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.arrays import Array
from flowserve.core.catalog.fork import Fork, Forked
from flowserve.core.catalog.version import Cold
from flowserve.core.engine.calls import Call, Done, priority_of, rows_of
from flowserve.core.models.model import Model
from flowserve.core.observe.ended import Stages
from flowserve.core.wire.answers import status_of
from flowserve.core.wire.coding import COMPRESSED_BYTES_MIN, packed
from flowserve.core.wire.grpc import infer_response, parse_infer, read_infer, stream_failure, stream_response
from flowserve.core.wire.http2.rpc import unpacked_message
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.protocol import InferRequest
from flowserve.core.wire.shared import no_regions
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.observe.observer import Observer
from flowserve.shell.rollout.trials import Trial, Trials
from flowserve.shell.wire.exchange import LEFT
from flowserve.shell.wire.extensions import Extensions
from flowserve.shell.wire.observing import NAMES, Asked, Ran, client_of, tell
from flowserve.shell.wire.streams import Stream

_log = logging.getLogger("flowserve")
FAILED = "the server failed while answering; its log has the reason"
# Up to this, messages are read and written on the loop, in about a millisecond at most.
_INLINE_BYTES_MAX = 64 * 2**10


class Host(Protocol):
    """What an inference needs of its server."""

    limits: Limits
    engine: LoopEngine
    extensions: Extensions
    models: Serving
    trials: Trials
    observer: Observer | None
    answers: dict[int, int]
    """How many requests for predictions were answered, by HTTP's status for the same."""
    running: set[Inference]
    """Those that are being answered."""


class Answered(msgspec.Struct, frozen=True):
    """A message, in a coding if it is compressed."""

    data: bytes
    coding: str = ""


Outcome = Answered | Refused | None
"""None is our own failure, of which the log has more."""


class Inference:
    """One request, as `Exchange` is one over HTTP. All methods run on the loop.

    Most is over before `begin` returns; what is long, by its bytes, is read and written on a thread.
    """

    __slots__ = (
        "_began_s",
        "_call",
        "_coding",
        "_deadline_ms",
        "_done",
        "_gone",
        "_message",
        "_model",
        "_outputs",
        "_read_ms",
        "_request",
        "_resolved",
        "_route_ms",
        "_server",
        "_size",
        "_stream",
        "_streamed",
        "_trial",
        "_write_ms",
    )

    def __init__(self, server: Host, stream: Stream, done: Callable[[Outcome], None], streamed: bool) -> None:
        """`streamed` says that it is one of several: what is refused then is a message as well."""
        self._server = server
        self._stream = stream
        self._done = done
        self._streamed = streamed
        self._gone = False
        self._trial: Trial | None = None
        self._call: Call | None = None
        self._message: Any = None
        self._coding = ""
        self._size = 0
        self._began_s = perf_counter()
        self._resolved = False
        self._outputs: list[Array] | None = None
        self._route_ms = self._read_ms = self._write_ms = 0.0
        self._deadline_ms: float | None = None
        if stream.head.timeout_ms is not None:
            left_s = stream.expires_s - stream.connection.now()
            self._deadline_ms = server.engine.now_ms() + left_s * 1e3

    def begin(self, data: bytes, compressed: bool) -> None:
        """Answer a message; `done` is called once, maybe before this returns, unless it is cancelled."""
        self._server.running.add(self)
        self._size = len(data)
        if compressed:
            self._coding = self._stream.head.coding
        if len(data) <= _INLINE_BYTES_MAX and not compressed:
            self._resolve(self._decode(data))
        else:
            self._server.engine.aside(functools.partial(self._decode, data), self._resolve)

    def cancel(self) -> None:
        """Hear that the client has left."""
        if not self._gone and self in self._server.running:
            self._count(LEFT, "", 0, None)
        self._gone = True
        if self._call is not None:
            self._server.engine.cancel(self._call)
            self._call = None
        if self._trial is not None:
            self._trial.ended(ok=False)

    def _decode(self, data: bytes) -> Refused | None:
        began = perf_counter()
        try:
            if self._coding:
                data = unpacked_message(data, self._coding, self._server.limits.body_bytes)
                self._size = len(data)
            self._message = read_infer(data)
        except Refused as refused:
            return refused
        self._read_ms = (perf_counter() - began) * 1e3
        return None

    def _resolve(self, refused: Refused | None) -> None:
        if self._gone:
            return
        if refused is not None:
            self._finish(refused)
            return
        message = self._message
        try:
            self._parse(self._server.models.resolve(message.model_name, message.model_version))
        except Cold as cold:
            self._server.models.fetch(cold.version, self._fetched)
        except Forked as forked:
            self._try(forked.fork)
        except Refused as unknown:
            self._finish(unknown)

    def _try(self, fork: Fork) -> None:
        """Have the side of a rollout answer that the request gets."""
        self._trial = self._server.trials.begin(fork, self._stream.head.named)
        version = self._trial.version
        if version.model is not None:
            self._parse(version.model)
        else:
            self._server.models.fetch(version, self._fetched)

    def _fetched(self, found: Model | Refused) -> None:
        if isinstance(found, Refused):
            self._finish(found)
        elif not self._gone:
            self._parse(found)

    def _parse(self, model: Model) -> None:
        self._model = model
        self._resolved = True
        self._route_ms = max(0.0, (perf_counter() - self._began_s) * 1e3 - self._read_ms)
        if self._size <= _INLINE_BYTES_MAX:
            self._submit(self._read())
        else:
            self._server.engine.aside(self._read, self._submit)

    def _read(self) -> InferRequest | Refused | None:
        began = perf_counter()
        model = self._model
        try:
            local = self._stream.connection.local
            regions = self._server.extensions.shared_memory.get if local else no_regions
            admit = self._admit if self._server.engine.is_crowded(model) else None
            return parse_infer(self._message, model.signature, regions, admit)
        except Refused as refused:
            return refused
        except Exception:
            _log.exception("a request to model %s, version %s, failed", model.name, model.version)
            return None
        finally:
            self._read_ms += (perf_counter() - began) * 1e3

    def _admit(self, rows: int, timeout_us: int, priority: int) -> None:
        self._server.engine.check(self._model, rows, self._due_ms(timeout_us), priority_of(priority))

    def _due_ms(self, timeout_us: int) -> float | None:
        """The earlier of the client's own deadline and the request's."""
        if not timeout_us:
            return self._deadline_ms
        due_ms = self._server.engine.now_ms() + timeout_us / 1e3
        return due_ms if self._deadline_ms is None else min(due_ms, self._deadline_ms)

    def _submit(self, request: InferRequest | Refused | None) -> None:
        if not isinstance(request, InferRequest):
            self._finish(request)
        elif not self._gone:
            self._request = request
            names, rows = tuple([wanted.spec.name for wanted in request.wanted]), rows_of(request.feed)
            done: Done = self._ran
            if self._trial is not None:
                done = self._trial.watched(request.feed, names, rows, done)
            self._call = Call(
                self._model,
                request.feed,
                names,
                rows,
                done,
                self._due_ms(request.timeout_us),
                priority_of(request.priority),
            )
            self._server.engine.submit(self._call)

    def _ran(self, outputs: list[Array] | Refused) -> None:
        if isinstance(outputs, Refused):
            self._finish(outputs)
            return
        self._outputs = outputs
        if sum([array.nbytes for array in outputs]) <= _INLINE_BYTES_MAX:
            self._finish(self._write(outputs))
        else:
            self._server.engine.aside(functools.partial(self._write, outputs), self._finish)

    def _write(self, outputs: list[Array]) -> Outcome:
        began = perf_counter()
        model = self._model
        try:
            response = infer_response(model.name, model.version, self._request, outputs)
            data = stream_response(response) if self._streamed else response.SerializeToString()
            return self._packed(data)
        except Refused as refused:  # an output larger than the shared memory for it
            return refused
        except Exception:
            _log.exception("a request to model %s, version %s, failed", model.name, model.version)
            return None
        finally:
            self._write_ms = (perf_counter() - began) * 1e3

    def _packed(self, data: bytes) -> Answered:
        """A client that compresses what it asks is answered so too, if it is long."""
        coding = self._coding
        if not coding or len(data) < COMPRESSED_BYTES_MIN or coding not in self._stream.head.accepts:
            return Answered(data)
        return Answered(packed(data, coding), coding)

    def _finish(self, outcome: Outcome) -> None:
        call, self._call = self._call, None  # it holds `self._ran`: without the circle, all is freed at once
        if self._gone:
            return
        match outcome:
            case Answered(data):
                self._count(200, "", len(data), call)
            case Refused():
                self._count(status_of(outcome), outcome.diagnostics[0].code, 0, call)
            case None:
                self._count(500, "FS210", 0, call)
        if self._trial is not None:
            self._trial.ended(isinstance(outcome, Answered))
        if self._streamed and not isinstance(outcome, Answered):
            said = FAILED if outcome is None else str(outcome)
            request_id = self._message.id if self._message is not None else ""
            outcome = Answered(stream_failure(said, request_id))
        self._done(outcome)

    def _count(self, status: int, reason: str, size: int, call: Call | None) -> None:
        """Count a request that is answered, and tell the observer of it."""
        server = self._server
        server.running.discard(self)
        server.answers[status] = server.answers.get(status, 0) + 1
        ended_s = perf_counter()
        whole_ms = (ended_s - self._began_s) * 1e3
        done = status == 200 and call is not None
        if self._resolved:
            tally = server.engine.tally(self._model)
            if done and call is not None:
                reading_s = self._began_s + self._route_ms / 1e3
                read_s, writing_s = reading_s + self._read_ms / 1e3, ended_s - self._write_ms / 1e3
                stamps = self._began_s, reading_s, read_s, writing_s, ended_s
                tally.answered((*stamps, call.queue_ms, call.run_ms))
            else:
                tally.refused(status, reason)
        if server.observer is None:
            return
        ran = Ran(self._model) if self._resolved else None
        if done and call is not None and self._outputs is not None:
            stages = Stages(self._route_ms, self._read_ms, call.queue_ms, call.run_ms, self._write_ms)
            ran = Ran(self._model, self._request, self._outputs, call.rows, stages)
        head = self._stream.head
        headers = {name: head.named(name) for name in NAMES}
        asked = Asked("grpc", client_of(self._stream.connection.peer), "POST", head.path, headers)
        tell(server.observer, asked, status, reason, size, whole_ms, ran)

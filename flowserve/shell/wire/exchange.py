"""One inference request over HTTP, from its bytes to its answer."""

from __future__ import annotations

import functools
import logging
from time import perf_counter
from typing import Protocol

import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.arrays import Array
from flowserve.core.engine.calls import Call, Done, Overloaded, priority_of, rows_of
from flowserve.core.engine.tally import Stamps
from flowserve.core.models.model import ByModel, Model
from flowserve.core.observe.ended import Stages
from flowserve.core.wire.alike import Alike
from flowserve.core.wire.answers import Answer, answer_infer, answer_predict, failure, refusal
from flowserve.core.wire.coding import COMPRESSED_BYTES_MIN, chosen_coding, packed, unpacked
from flowserve.core.wire.heads import Received
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.plain import parse_plain
from flowserve.core.wire.protocol import Admit, InferRequest
from flowserve.core.wire.shared import Region, no_regions
from flowserve.core.wording import cut
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.rollout.trials import Trial
from flowserve.shell.wire.connection import AnswerObserver, Connection
from flowserve.shell.wire.extensions import Extensions
from flowserve.shell.wire.observing import Ran
from flowserve.shell.wire.refusals import Refusals

_log = logging.getLogger("flowserve")
# Up to this, bodies are read and written on the loop, in about a millisecond at most.
_INLINE_BYTES_MAX = 64 * 2**10
LEFT = 499  # nginx's status for a client that left: nobody gets it, but it is counted
_GONE = Answer()  # whatever it is: there is nobody to read it


class Host(Protocol):
    """What an exchange needs of its server."""

    limits: Limits
    engine: LoopEngine
    extensions: Extensions
    readers: ByModel[Alike]
    refusals: Refusals
    observer: AnswerObserver | None
    exchanges: dict[Connection, Exchange]
    """What connections wait for."""


class Exchange:
    """One inference request, from its bytes to its answer. All methods run on the loop.

    Everything is called back and most is over before `begin` returns: a future, a task or a thread would cost
    more than a small model does. What is long, by its bytes, is read and written on a thread.
    """

    __slots__ = (
        "_answer",
        "_call",
        "_connection",
        "_later",
        "_model",
        "_outputs",
        "_plain",
        "_read_s",
        "_reading_s",
        "_received",
        "_refused_early",
        "_request",
        "_run_ms",
        "_server",
        "_trial",
        "_writing_s",
        "_written_s",
    )

    def __init__(
        self,
        server: Host,
        model: Model,
        received: Received,
        connection: Connection,
        plain: bool,
        trial: Trial | None = None,
    ) -> None:
        self._plain = plain
        self._trial = trial
        self._server = server
        self._model = model
        self._received = received
        self._connection = connection
        self._answer: Answer | None = None
        self._call: Call | None = None
        self._later = False
        self._refused_early = False
        self._outputs: list[Array] | None = None
        self._run_ms = 0.0
        # When it came to each stage, on the clock of `perf_counter`.
        self._reading_s = self._read_s = self._writing_s = self._written_s = 0.0

    def begin(self) -> Answer | None:
        """Answer now, or return None and tell the connection later."""
        received = self._received
        if len(received.body) <= _INLINE_BYTES_MAX and received.coding in ("", "identity"):
            crowded = self._server.engine.is_crowded(self._model)
            self._submit(self._read(self._admit if crowded else None))
        else:
            self._server.engine.aside(self._read, self._submit)
        if self._answer is None:
            self._later = True
            self._server.exchanges[self._connection] = self
        return self._answer

    def cancel(self) -> None:
        """Hear that the client has left."""
        if self._call is not None:
            self._server.engine.cancel(self._call)
        self._server.engine.tally(self._model).refused(LEFT, "")
        self._answer = _GONE
        if self._trial is not None:
            self._trial.ended(ok=False)

    def _admit(self, rows: int, timeout_us: int, priority: int) -> None:
        deadline_ms = self._deadline_ms(timeout_us)
        try:
            self._server.engine.check(self._model, rows, deadline_ms, priority_of(priority))
        except Overloaded:
            self._refused_early = True
            raise

    def _deadline_ms(self, timeout_us: int) -> float | None:
        return self._server.engine.now_ms() + timeout_us / 1e3 if timeout_us else None

    def _read(self, admit: Admit | None = None) -> InferRequest | Answer:
        received = self._received
        self._reading_s = perf_counter()
        try:
            body = unpacked(received.body, received.coding, self._server.limits.body_bytes)
            if self._plain:
                return parse_plain(body, self._model.signature)
            reader = self._server.readers.of(self._model)
            return reader.read(body, _header_bytes(received.header_bytes), admit, self._region)
        except Refused as refused:
            return refusal(refused)
        except Exception:
            return _broken(self._model)
        finally:
            self._read_s = perf_counter()

    def _region(self, name: str) -> Region:
        """Shared memory is for clients on this host."""
        memory = self._server.extensions.shared_memory
        return memory.get(name) if self._connection.local else no_regions(name)

    def _submit(self, request: InferRequest | Answer) -> None:
        if isinstance(request, Answer):
            self._finish(request)
        elif self._answer is None:  # else the client left while its body was read
            self._request = request
            engine, model, feed = self._server.engine, self._model, request.feed
            names = tuple([wanted.spec.name for wanted in request.wanted])
            rows, deadline_ms = rows_of(feed), self._deadline_ms(request.timeout_us)
            done: Done = self._done
            if self._trial is not None:
                done = self._trial.watched(feed, names, rows, done)
            outputs = engine.run_now(model, feed, names, rows, deadline_ms)
            if outputs is not None:
                self._run_ms = engine.ran_ms
                done(outputs)
                return
            self._call = Call(model, feed, names, rows, done, deadline_ms, priority_of(request.priority))
            engine.submit(self._call)

    def _done(self, outputs: list[Array] | Refused) -> None:
        if isinstance(outputs, Refused):
            self._finish(refusal(outputs))
            return
        self._outputs = outputs
        if sum([array.nbytes for array in outputs]) <= _INLINE_BYTES_MAX:
            self._finish(self._write(outputs))
        else:
            self._server.engine.aside(functools.partial(self._write, outputs), self._finish)

    def _write(self, outputs: list[Array]) -> Answer:
        self._writing_s = perf_counter()
        try:
            write = answer_predict if self._plain else answer_infer
            return _packed(write(self._model, self._request, outputs), self._received.accept_coding)
        except Refused as refused:  # an output larger than the shared memory for it
            return refusal(refused)
        except Exception:
            return _broken(self._model)
        finally:
            self._written_s = perf_counter()

    def _finish(self, answer: Answer) -> None:
        if self._trial is not None and self._answer is None:
            self._trial.ended(answer.status < 400)
        call, self._call = self._call, None  # it holds `self._done`: without the circle, all is freed at once
        if self._answer is None:
            self._answer = answer
            tally = self._server.engine.tally(self._model)
            queue_ms, run_ms = (call.queue_ms, call.run_ms) if call is not None else (0.0, self._run_ms)
            if answer.status == 200:
                tally.answered(self._stamps, queue_ms, run_ms)
            else:
                tally.refused(answer.status, answer.reason)
            if self._server.observer is not None:
                self._observe(answer, queue_ms, run_ms)
            elif self._refused_early and self._trial is None:
                self._server.refusals.learn(self._received, self._model, answer)
            if self._later:
                del self._server.exchanges[self._connection]
                self._connection.answered(answer)

    @property
    def _stamps(self) -> Stamps:
        return self._received.began_s, self._reading_s, self._read_s, self._writing_s, self._written_s

    def _observe(self, answer: Answer, queue_ms: float, run_ms: float) -> None:
        """Leave with the request what the observer is told of it."""
        ran = Ran(self._model)
        if answer.status == 200 and self._outputs is not None:
            began_s, reading_s, read_s, writing_s, written_s = self._stamps
            route_ms, read_ms = (reading_s - began_s) * 1e3, (read_s - reading_s) * 1e3
            stages = Stages(route_ms, read_ms, queue_ms, run_ms, (written_s - writing_s) * 1e3)
            ran = Ran(self._model, self._request, self._outputs, rows_of(self._request.feed), stages)
        self._received.ran = ran


def _broken(model: Model) -> Answer:
    _log.exception("a request to model %s, version %s, failed", model.name, model.version)
    return failure(500, "the server failed while answering; its log has the reason")


def _packed(answer: Answer, accepted: str) -> Answer:
    coding = chosen_coding(accepted) if accepted and len(answer.body) >= COMPRESSED_BYTES_MIN else ""
    if not coding:
        return answer
    return msgspec.structs.replace(answer, body=packed(answer.body, coding), encoding=coding)


def _header_bytes(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        text = cut(value.decode("latin-1"))
        refuse("FS201", f"`Inference-Header-Content-Length` must be a number of bytes, got `{text}`")
    return int(value)

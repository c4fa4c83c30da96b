"""One request for a prediction, from its bytes to its answer, by whatever protocol it came."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.arrays import Array
from flowserve.core.catalog.split import Undecided
from flowserve.core.catalog.version import Cold, Version
from flowserve.core.engine.calls import Call, Done, priority_of, rows_of
from flowserve.core.models.model import Model
from flowserve.core.observe.ended import Stages
from flowserve.core.wire.answers import status_of
from flowserve.core.wire.limits import Limits
from flowserve.core.wire.protocol import Admit, InferRequest
from flowserve.core.wire.shared import Region, no_regions
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.rollout.trials import Trial, Trials
from flowserve.shell.wire.extensions import Extensions
from flowserve.shell.wire.observing import Ran

_log = logging.getLogger("flowserve")
INLINE_BYTES_MAX = 64 * 2**10
"""Up to this, bytes are read and written on the loop, in about a millisecond at most."""
LEFT = 499
"""nginx's status for a client that left: nobody gets it, but it is counted."""
FAILED = Refused(Diagnostic("FS210", "the server failed while answering; its log has the reason"))

Reply = TypeVar("Reply")


class Host(Protocol):
    """What a request needs of its server."""

    limits: Limits
    engine: LoopEngine
    extensions: Extensions
    models: Serving
    trials: Trials

    @property
    def observer(self) -> object | None:
        """Who is told of requests, if anybody is."""


class Client(Protocol):
    """The connection that a request came by."""

    @property
    def local(self) -> bool:
        """Whether the client is on this host."""


class Inference(ABC, Generic[Reply]):
    """One request. All methods run on the loop, but for `_read` and `_write` of what is long.

    Everything is called back and most is over before a request's first method returns: a future, a task or a
    thread would cost more than a small model does. A protocol's class reads, writes and tells.
    """

    __slots__ = (
        "_began_s",
        "_call",
        "_client",
        "_due_ms",
        "_host",
        "_model",
        "_outputs",
        "_over",
        "_read_s",
        "_reading_s",
        "_request",
        "_rows",
        "_run_ms",
        "_short",
        "_trial",
        "_writing_s",
        "_written_s",
    )

    # There once it has come so far.
    _short: bool
    """Whether it is read on the loop."""
    _request: InferRequest
    _outputs: list[Array]
    # Of a run that it did not wait for.
    _run_ms: float
    _rows: int
    # When it came to each stage, on the clock of `perf_counter`.
    _reading_s: float
    _read_s: float
    _writing_s: float
    _written_s: float

    def __init__(self, host: Host, client: Client, began_s: float, due_ms: float | None = None) -> None:
        """`began_s` is on the clock of `perf_counter`, `due_ms`, the client's deadline, on the engine's."""
        self._host = host
        self._client = client
        self._began_s = began_s
        self._due_ms = due_ms
        self._model: Model | None = None
        self._trial: Trial | None = None
        self._call: Call | None = None
        self._over = False

    def cancel(self) -> None:
        """Hear that the client has left."""
        if self._over:
            return
        self._over = True
        engine = self._host.engine
        if self._call is not None:
            engine.cancel(self._call)
            self._call = None
        if self._model is not None:
            engine.tally(self._model).refused(LEFT, "")
        if self._trial is not None:
            self._trial.ended(ok=False)

    # What a protocol does

    @abstractmethod
    def _read(self, model: Model, admit: Admit | None) -> InferRequest:
        """Read the request. Raises `Refused`."""

    @abstractmethod
    def _write(self, model: Model, outputs: list[Array]) -> Reply:
        """Write the answer. Raises `Refused` for an output that is larger than the shared memory for it."""

    @abstractmethod
    def _answer(self, reply: Reply, ran: Ran | None) -> None:
        """Tell the client, once, this or what is refused. `ran` is there if somebody observes requests."""

    @abstractmethod
    def _refuse(self, refused: Refused, ran: Ran | None) -> None:
        """Tell the client why not. There is no `ran` either where the request came to no model."""

    @abstractmethod
    def _header(self, name: str) -> str:
        """Return the value of a header that decides in rollouts, "" where there is none."""

    def _region(self, name: str) -> Region:
        """Shared memory of that name, which is for clients on this host. Raises `Refused` FS232."""
        return self._host.extensions.shared_memory.get(name) if self._client.local else no_regions(name)

    # From the model's name on

    def _find(self, name: str, tag: str) -> None:
        """Have the model answer that a name and a tag stand for, once it is in memory."""
        try:
            model = self._host.models.resolve(name, tag)
        except Cold as cold:
            self._fetch(cold.version)
        except Undecided as undecided:
            self._trial = self._host.trials.begin(undecided.split, self._header)
            version = self._trial.version
            self._go(version.model) if version.model is not None else self._fetch(version)
        except Refused as unknown:
            self._fail(unknown)
        else:
            self._go(model)

    def _fetch(self, version: Version) -> None:
        def fetched(found: Model | Refused) -> None:
            if isinstance(found, Refused):
                self._fail(found)
            elif not self._over:
                self._go(found)

        self._host.models.fetch(version, fetched)

    def _go(self, model: Model) -> None:
        self._model = model
        engine = self._host.engine
        if self._short:
            self._submit(model, self._reading(model, self._admit if engine.is_crowded(model) else None))
        else:
            engine.aside(
                functools.partial(self._reading, model, None), functools.partial(self._submit, model)
            )

    def _admit(self, rows: int, timeout_us: int, priority: int) -> None:
        assert self._model is not None
        self._host.engine.gate.check(self._model, rows, self._deadline_ms(timeout_us), priority_of(priority))

    def _deadline_ms(self, timeout_us: int) -> float | None:
        """The earlier of the client's own deadline and the request's."""
        if not timeout_us:
            return self._due_ms
        deadline_ms = self._host.engine.now_ms() + timeout_us / 1e3
        return deadline_ms if self._due_ms is None else min(deadline_ms, self._due_ms)

    def _reading(self, model: Model, admit: Admit | None) -> InferRequest | Refused:
        self._reading_s = perf_counter()
        try:
            return self._read(model, admit)
        except Refused as refused:
            return refused
        except Exception:
            return _broken(model)
        finally:
            self._read_s = perf_counter()

    def _submit(self, model: Model, request: InferRequest | Refused) -> None:
        if isinstance(request, Refused):
            self._fail(request)
        elif not self._over:  # else the client left while its request was read
            self._request = request
            engine, feed = self._host.engine, request.feed
            wanted = request.wanted  # mostly of one output, and a comprehension is a call
            names = (wanted[0].spec.name,) if len(wanted) == 1 else tuple([of.spec.name for of in wanted])
            rows, timeout_us = rows_of(feed), request.timeout_us
            deadline_ms = self._deadline_ms(timeout_us) if timeout_us else self._due_ms
            done: Done = self._done
            if self._trial is not None:
                done = self._trial.watched(feed, names, rows, done)
            outputs = engine.run_now(model, feed, names, rows, deadline_ms)
            if outputs is not None:
                self._run_ms, self._rows = engine.ran_ms, rows
                done(outputs)
                return
            self._call = Call(model, feed, names, rows, done, deadline_ms, priority_of(request.priority))
            engine.submit(self._call)

    def _done(self, outputs: list[Array] | Refused) -> None:
        if isinstance(outputs, Refused):
            self._fail(outputs)
            return
        self._outputs = outputs
        size = 0
        for array in outputs:
            size += array.nbytes
        if size <= INLINE_BYTES_MAX:
            self._finish(self._writing(outputs))
        else:
            self._host.engine.aside(functools.partial(self._writing, outputs), self._finish)

    def _writing(self, outputs: list[Array]) -> Reply | Refused:
        model = self._model
        assert model is not None
        self._writing_s = perf_counter()
        try:
            return self._write(model, outputs)
        except Refused as refused:
            return refused
        except Exception:
            return _broken(model)
        finally:
            self._written_s = perf_counter()

    def _finish(self, outcome: Reply | Refused) -> None:
        if isinstance(outcome, Refused):
            self._fail(outcome)
            return
        call, self._call = self._call, None  # it holds `self._done`: without the circle, all is freed at once
        if self._over:
            return
        self._over = True
        model = self._model
        assert model is not None
        if call is None:
            queue_ms, run_ms, rows = 0.0, self._run_ms, self._rows
        else:
            queue_ms, run_ms, rows = call.queue_ms, call.run_ms, call.run_rows
        began_s, reading_s, read_s = self._began_s, self._reading_s, self._read_s
        writing_s, written_s = self._writing_s, self._written_s
        tally = self._host.engine.tally(model)
        tally.answered((began_s, reading_s, read_s, writing_s, written_s, queue_ms, run_ms, rows))
        ran = None
        if self._host.observer is not None:
            route_ms, read_ms = (reading_s - began_s) * 1e3, (read_s - reading_s) * 1e3
            stages = Stages(route_ms, read_ms, queue_ms, run_ms, (written_s - writing_s) * 1e3)
            ran = Ran(model, self._request, self._outputs, rows_of(self._request.feed), stages)
        if self._trial is not None:
            self._trial.ended(ok=True)
        self._answer(outcome, ran)

    def _fail(self, refused: Refused) -> None:
        self._call = None
        if self._over:
            return
        self._over = True
        model = self._model
        if model is not None:
            self._host.engine.tally(model).refused(status_of(refused), refused.diagnostics[0].code)
        if self._trial is not None:
            self._trial.ended(ok=False)
        self._refuse(refused, Ran(model) if model is not None else None)


def _broken(model: Model) -> Refused:
    _log.exception("a request to model %s, version %s, failed", model.name, model.version)
    return FAILED

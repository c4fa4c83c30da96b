"""Counts calls of gRPC, and tells the observer of them."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from urllib.parse import unquote

import msgspec

from flowserve.core.engine.calls import Call, Engine
from flowserve.core.models.registry import Model
from flowserve.core.observe.ended import Stages
from flowserve.core.wire.protocol import InferRequest
from flowserve.core.wire.tensors import Array
from flowserve.shell.observe.observer import Observer
from flowserve.shell.wire.grpc_calls import Context
from flowserve.shell.wire.observing import Asked, Ran, tell

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class Run(msgspec.Struct):
    """A request for a prediction, as far as it has come. Times are in milliseconds."""

    began_s: float
    """On the clock of `perf_counter`."""
    model: Model | None = None
    request: InferRequest | None = None
    call: Call | None = None
    outputs: Sequence[Array] | None = None
    route_ms: float = 0.0
    read_ms: float = 0.0
    write_ms: float = 0.0


class Calls:
    """What was answered, by HTTP's status for the same refusal."""

    def __init__(self, engine: Engine, observer: Observer | None) -> None:
        self.answers: dict[int, int] = {}
        self._engine = engine
        self._observer = observer

    def ended(self, run: Run, status: int, reason: str, size: int, context: Context) -> None:
        """Count a request that is answered, with `size` bytes if it has outputs."""
        whole_ms = (perf_counter() - run.began_s) * 1e3
        self.answers[status] = self.answers.get(status, 0) + 1
        model, call = run.model, run.call
        done = status == 200 and call is not None
        if model is not None:
            tally = self._engine.tally(model)
            if done and call is not None:
                times = (run.route_ms, run.read_ms, call.queue_ms, call.run_ms, run.write_ms)
                tally.answered(*times, whole_ms)
            else:
                tally.refused(status, reason)
        if self._observer is None:
            return
        ran = Ran(model) if model is not None else None
        if model is not None and done and call is not None and run.outputs is not None:
            stages = Stages(run.route_ms, run.read_ms, call.queue_ms, call.run_ms, run.write_ms)
            ran = Ran(model, run.request, run.outputs, call.rows, stages)
        headers = {name: text for name, text in context.invocation_metadata() if isinstance(text, str)}
        asked = Asked("grpc", _client(context), "POST", _METHOD, headers)
        tell(self._observer, asked, status, reason, size, whole_ms, ran)


def _client(context: Context) -> str:
    kind, _, peer = unquote(context.peer()).partition(":")
    return "unix" if kind == "unix" else peer.rpartition(":")[0].strip("[]")

"""Tells the observer of answers, in the words of each protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from socket import AF_UNIX
from time import perf_counter, time

import msgspec

from flowserve.core.models.registry import Model
from flowserve.core.observe.ended import Ended, Stages, clean_id
from flowserve.core.observe.samples import Exchanged
from flowserve.core.wire.answers import Answer
from flowserve.core.wire.protocol import InferRequest
from flowserve.core.wire.tensors import Array
from flowserve.shell.observe.observer import Observer
from flowserve.shell.wire.connection import Received

_TARGET_MAX = 1024


class Ran(msgspec.Struct, frozen=True):
    """A request that went to a model; what follows the model is there if it was answered with outputs."""

    model: Model
    request: InferRequest | None = None
    outputs: Sequence[Array] = ()
    rows: int = 0
    stages: Stages | None = None


class HttpObserver:
    """What connections tell of."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer

    def answered(self, received: Received | None, answer: Answer, peer: object) -> None:
        """Hear of an answer; of what was no request there is nothing."""
        if received is None:
            received = Received(method="-", target=b"-")
        ms = (perf_counter() - received.began_s) * 1e3 if received.began_s else 0.0
        target = received.target.partition(b"?")[0].decode("latin-1")
        headers = {name.decode(): text.decode("latin-1") for name, text in (received.others or {}).items()}
        size = 0 if received.method == "HEAD" else len(answer.body)
        said = Ended(
            time(), "http", _client(peer), received.method, target[:_TARGET_MAX], answer.status, size, ms, ""
        )
        tell(self.observer, said, answer.reason, headers, received.ran)


def tell(observer: Observer, ended: Ended, reason: str, headers: Mapping[str, str], ran: Ran | None) -> None:
    """Tell of an answer, with what the client's headers or metadata say of its request."""
    request = ran.request if ran is not None else None
    named = clean_id(headers.get("x-request-id", "")) or (clean_id(request.id) if request is not None else "")
    whole = msgspec.structs.replace(
        ended,
        request_id=named or observer.new_id(),
        reason=reason,
        traceparent=headers.get("traceparent", ""),
        tracestate=headers.get("tracestate", ""),
    )
    if ran is None:
        observer.ended(whole)
        return
    of_model = msgspec.structs.replace(
        whole, model=ran.model.name, version=ran.model.version, rows=ran.rows, stages=ran.stages
    )
    exchanged = Exchanged(ran.model, request, ran.outputs) if request is not None else None
    observer.ended(of_model, exchanged)


def _client(peer: object) -> str:
    if isinstance(peer, tuple):
        return str(peer[0])
    return "unix" if peer is AF_UNIX else ""

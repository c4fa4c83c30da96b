"""Tells the observer of answers, in the words of each protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from socket import AF_UNIX
from time import perf_counter, time
from typing import Literal

import msgspec

from flowserve.core.models.model import Model
from flowserve.core.observe.ended import Ended, Stages, clean_id
from flowserve.core.observe.samples import Exchanged
from flowserve.core.wire.answers import Answer
from flowserve.core.wire.heads import Received
from flowserve.core.wire.protocol import InferRequest
from flowserve.core.wire.tensors import Array
from flowserve.shell.observe.observer import Observer

_TARGET_MAX = 1024
NAMES = ("x-request-id", "traceparent", "tracestate")
"""Headers that mean something here."""


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
        others = received.others or {}
        asked = Asked(
            "http",
            client_of(peer),
            received.method,
            received.target.partition(b"?")[0][:_TARGET_MAX].decode("latin-1"),
            {name.decode(): text.decode("latin-1") for name, text in others.items()},
        )
        size = 0 if received.method == "HEAD" else len(answer.body)
        tell(self.observer, asked, answer.status, answer.reason, size, ms, received.ran)


class Asked(msgspec.Struct, frozen=True):
    """A request as its protocol has it. `headers` are those that mean something here, by lower-case names."""

    protocol: Literal["http", "grpc"]
    client: str
    method: str
    target: str
    headers: Mapping[str, str]


def tell(
    observer: Observer, asked: Asked, status: int, reason: str, size: int, ms: float, ran: Ran | None
) -> None:
    """Tell of an answer of `size` bytes."""
    request = ran.request if ran is not None else None
    headers = asked.headers
    named = clean_id(headers.get("x-request-id", "")) or (clean_id(request.id) if request is not None else "")
    ended = Ended(
        time(),
        asked.protocol,
        asked.client,
        asked.method,
        asked.target,
        status,
        size,
        ms,
        named or observer.new_id(),
        ran.model.name if ran is not None else "",
        ran.model.version if ran is not None else 0,
        ran.rows if ran is not None else 0,
        ran.stages if ran is not None else None,
        reason,
        headers.get("traceparent", ""),
        headers.get("tracestate", ""),
    )
    exchanged = None
    if ran is not None and request is not None:
        exchanged = Exchanged(ran.model, request, ran.outputs)
    observer.ended(ended, exchanged)


def client_of(peer: object) -> str:
    """The client's address, or that it came by a Unix socket."""
    if isinstance(peer, tuple):
        return str(peer[0])
    return "unix" if peer is AF_UNIX else ""

"""One inference request over HTTP, from its bytes to its answer."""

from __future__ import annotations

from typing import Protocol

import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.arrays import Array
from flowserve.core.engine.calls import Overloaded
from flowserve.core.models.model import ByModel, Model
from flowserve.core.wire.alike import Alike
from flowserve.core.wire.answers import Answer, answer_infer, answer_predict, refusal
from flowserve.core.wire.coding import COMPRESSED_BYTES_MIN, chosen_coding, packed, unpacked
from flowserve.core.wire.heads import Received
from flowserve.core.wire.plain import parse_plain
from flowserve.core.wire.protocol import Admit, InferRequest
from flowserve.core.wording import cut
from flowserve.shell.wire import inference
from flowserve.shell.wire.connection import Connection
from flowserve.shell.wire.inference import INLINE_BYTES_MAX, Inference
from flowserve.shell.wire.observing import Ran
from flowserve.shell.wire.refusals import Refusals


class Host(inference.Host, Protocol):
    """What a request over HTTP needs of its server."""

    readers: ByModel[Alike]
    refusals: Refusals
    running: dict[Connection, HttpInference]
    """What connections wait for."""


class HttpInference(Inference[Answer]):
    """One request."""

    __slots__ = ("_answered", "_later", "_plain", "_received", "_refused_early")

    _host: Host
    _client: Connection

    def begin(self, received: Received, name: str, tag: str, plain: bool) -> Answer | None:
        """Answer now, or return None and tell the connection later.

        `plain` is a request of rows or columns, not of the protocol.
        """
        self._received = received
        self._plain = plain
        self._answered: Answer | None = None
        self._later = False
        self._refused_early = False
        self._short = len(received.body) <= INLINE_BYTES_MAX and received.coding in ("", "identity")
        self._find(name, tag)
        if self._answered is None:
            self._later = True
            self._host.running[self._client] = self
        return self._answered

    def _admit(self, rows: int, timeout_us: int, priority: int) -> None:
        try:
            super()._admit(rows, timeout_us, priority)
        except Overloaded:
            self._refused_early = True
            raise

    def _read(self, model: Model, admit: Admit | None) -> InferRequest:
        host, received = self._host, self._received
        body = received.body
        if received.coding:
            body = unpacked(body, received.coding, host.limits.body_bytes)
        if self._plain:
            return parse_plain(body, model.signature)
        header_bytes = None if received.header_bytes is None else _length(received.header_bytes)
        return host.readers.of(model).read(body, header_bytes, admit, self._region)

    def _write(self, model: Model, outputs: list[Array]) -> Answer:
        write = answer_predict if self._plain else answer_infer
        answer = write(model, self._request, outputs)
        accepted = self._received.accept_coding
        return _packed(answer, accepted) if accepted else answer

    def _answer(self, reply: Answer, ran: Ran | None) -> None:
        self._answered = reply
        self._received.ran = ran
        if self._later:
            del self._host.running[self._client]
            self._client.answered(reply)

    def _refuse(self, refused: Refused, ran: Ran | None) -> None:
        answer, host = refusal(refused), self._host
        if self._refused_early and self._trial is None and host.observer is None and self._model is not None:
            host.refusals.learn(self._received, self._model, answer)
        self._answer(answer, ran)

    def _header(self, name: str) -> str:
        return (self._received.others or {}).get(name.encode(), b"").decode("latin-1")


def _packed(answer: Answer, accepted: str) -> Answer:
    coding = chosen_coding(accepted) if len(answer.body) >= COMPRESSED_BYTES_MIN else ""
    if not coding:
        return answer
    return msgspec.structs.replace(answer, body=packed(answer.body, coding), encoding=coding)


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        text = cut(value.decode("latin-1"))
        refuse("FS201", f"`Inference-Header-Content-Length` must be a number of bytes, got `{text}`")
    return int(value)

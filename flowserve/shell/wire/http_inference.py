"""One inference request over HTTP, from its bytes to its answer."""

from __future__ import annotations

from typing import Protocol

import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.arrays import Array
from flowserve.core.models.model import ByModel, Model
from flowserve.core.wire.alike import Alike
from flowserve.core.wire.answers import Answer, answer_infer, answer_predict, refusal
from flowserve.core.wire.coding import COMPRESSED_BYTES_MIN, chosen_coding, packed, unpacked
from flowserve.core.wire.heads import Received
from flowserve.core.wire.plain import parse_plain
from flowserve.core.wire.protocol import Admit, InferRequest
from flowserve.core.wire.shared import no_regions
from flowserve.core.wording import cut
from flowserve.shell.wire import inference
from flowserve.shell.wire.connection import Connection
from flowserve.shell.wire.inference import INLINE_BYTES_MAX, Inference
from flowserve.shell.wire.observing import Ran


class Host(inference.Host, Protocol):
    """What a request over HTTP needs of its server."""

    readers: ByModel[Alike]
    running: dict[Connection, HttpInference]
    """What connections wait for."""


class HttpInference(Inference[Answer]):
    """One request."""

    __slots__ = ("_answer", "_connection", "_later", "_plain", "_received", "_server")

    def __init__(self, server: Host, received: Received, connection: Connection, plain: bool) -> None:
        """`plain` is a request of rows or columns, not of the protocol."""
        super().__init__(server, received.began_s)
        self._server = server
        self._received = received
        self._connection = connection
        self._plain = plain
        self._answer: Answer | None = None
        self._later = False

    def begin(self, name: str, tag: str) -> Answer | None:
        """Answer now, or return None and tell the connection later."""
        received = self._received
        self._short = len(received.body) <= INLINE_BYTES_MAX and received.coding in ("", "identity")
        self._find(name, tag)
        if self._answer is None:
            self._later = True
            self._server.running[self._connection] = self
        return self._answer

    def _read(self, model: Model, admit: Admit | None) -> InferRequest:
        server, received = self._server, self._received
        body = unpacked(received.body, received.coding, server.limits.body_bytes)
        if self._plain:
            return parse_plain(body, model.signature)
        # Shared memory is for clients on this host.
        regions = server.extensions.shared_memory.get if self._connection.local else no_regions
        header_bytes = received.header_bytes
        return server.readers.of(model).read(
            body, None if header_bytes is None else _length(header_bytes), admit, regions
        )

    def _write(self, model: Model, outputs: list[Array]) -> Answer:
        write = answer_predict if self._plain else answer_infer
        answer = write(model, self._request, outputs)
        accepted = self._received.accept_coding
        return _packed(answer, accepted) if accepted else answer

    def _tell(self, outcome: Answer | Refused, ran: Ran | None) -> None:
        answer = self._answer = refusal(outcome) if isinstance(outcome, Refused) else outcome
        self._received.ran = ran
        if self._later:
            del self._server.running[self._connection]
            self._connection.answered(answer)

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

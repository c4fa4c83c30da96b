"""Refusals that stand for a moment: who asks for the same as one just refused is told the same.

Under ten times the load that a model bears, what nine of ten requests cost is taken from the tenth. Such a
request is neither read nor routed: that the bytes around its tensor are those of one that was refused says
all that the engine would ask.
"""

from __future__ import annotations

import msgspec

from flowserve.core.engine.tally import Tally
from flowserve.core.models.model import ByModel, Model
from flowserve.core.wire.alike import Alike, before_data
from flowserve.core.wire.answers import Answer
from flowserve.core.wire.heads import Received, answer_head
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.engine.lanes import Told

_KEPT_MAX = 32


class _Kept(msgspec.Struct, frozen=True):
    """An answer as it is sent, and to what."""

    sent: bytes
    answer: Answer
    after: bytes
    model: Model
    told: Told
    tally: Tally


class Refusals:
    """Those of one process."""

    def __init__(self, engine: LoopEngine, readers: ByModel[Alike], answers: dict[int, int]) -> None:
        """`answers` counts them, by status."""
        self._engine = engine
        self._readers = readers
        self._answers = answers
        self.standing: dict[tuple[bytes, bytes], _Kept] = {}
        """By target and what stands before the tensor; empty most of the time."""

    def learn(self, received: Received, model: Model, answer: Answer) -> None:
        """Keep what a request was told that `LoopEngine.check` refused."""
        told = self._engine.gate.told(model)
        around = self._readers.of(model).around(received.body)
        if told is None or around is None or received.header_bytes is not None:
            return
        before, after = around
        if len(self.standing) >= _KEPT_MAX:
            self.standing.clear()
        kept = _Kept(answer_head(answer) + answer.body, answer, after, model, told, self._engine.tally(model))
        self.standing[received.target, before] = kept

    def again(self, received: Received) -> bytes | None:
        """Return what a request is told that is alike; None where somebody has to look."""
        body = received.body
        kept = self.standing.get((received.target, before_data(body)))
        if (
            kept is None
            or received.header_bytes is not None
            or received.coding
            or not body.endswith(kept.after)
        ):
            return None
        again = self._engine.gate.tells_again(kept.model, kept.told)
        if not again:
            if again is None:
                self.standing.clear()
            return None
        status = kept.answer.status
        kept.tally.refused(status, kept.answer.reason)
        self._answers[status] = self._answers.get(status, 0) + 1
        return kept.sent

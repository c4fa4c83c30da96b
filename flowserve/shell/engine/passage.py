"""One request's way through a pipeline: every step is a call of its own, to the same engine.

So a step is batched with other requests to its model, waits in its queue, and may be refused there; steps
that do not wait for each other run side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.engine.calls import Call, Engine, Overloaded, rows_of
from flowserve.core.models.model import Bound
from flowserve.core.models.pipeline import Stage, said
from flowserve.core.wire.tensors import Array

Outcome = list[Array] | Refused


class Passage:
    """A request on its way. Runs on the event loop; `done` is called exactly once, unless it is cancelled."""

    def __init__(
        self, engine: Engine, call: Call, stages: tuple[Stage, ...], done: Callable[[Outcome], None]
    ) -> None:
        """`call` is to the pipeline, with the deadline and priority that its steps will have."""
        assert call.model.bound is not None
        self._engine = engine
        self._call = call
        self._bound: Bound = call.model.bound
        self._stages = stages
        self._done = done
        self._have: dict[str, Array] = dict(call.feed)
        self._waits = [stage.waits for stage in stages]
        self._running: dict[int, Call] = {}
        self._ready = deque(at for at, stage in enumerate(stages) if not stage.waits)
        self._left = len(stages)
        self._submitting = False
        self._over = False

    def begin(self) -> None:
        """Begin with what waits for nothing."""
        self._advance()

    def cancel(self) -> None:
        """Drop it: `done` is not called any more."""
        self._over = True
        for call in self._running.values():
            self._engine.cancel(call)
        self._running.clear()
        self._have.clear()

    def _advance(self) -> None:
        # A step may be over before `submit` returns: not by recursion, however many steps there are.
        if self._submitting:
            return
        self._submitting = True
        while self._ready and not self._over:
            self._submit(self._ready.popleft())
        self._submitting = False

    def _submit(self, at: int) -> None:
        stage = self._stages[at]
        model = self._bound.members[stage.step]
        feed = {own: self._have[tensor] for own, tensor in stage.takes}
        for spec in model.signature.inputs:
            if not spec.accepts(feed[spec.name].shape):
                given = list(feed[spec.name].shape)
                message = f"the model takes {spec}, and was given the shape {given}"
                self._end(self._told(stage, Refused(Diagnostic("FS210", message))))
                return
        names = tuple([own for own, _ in stage.gives])
        call = Call(
            model,
            feed,
            names,
            rows_of(feed),
            partial(self._ran, at),
            self._call.deadline_ms,
            self._call.priority,
        )
        self._running[at] = call
        self._engine.submit(call)

    def _ran(self, at: int, outcome: Outcome) -> None:
        if self._over:
            return
        del self._running[at]
        stage = self._stages[at]
        if isinstance(outcome, Refused):
            self._end(self._told(stage, outcome))
            return
        self._have |= zip([tensor for _, tensor in stage.gives], outcome, strict=True)
        self._left -= 1
        if not self._left:
            self._end([self._have[name] for name in self._call.outputs])
            return
        for later in stage.then:
            self._waits[later] -= 1
            if not self._waits[later]:
                self._ready.append(later)
        self._advance()

    def _end(self, outcome: Outcome) -> None:
        self.cancel()
        self._done(outcome)

    def _told(self, stage: Stage, refused: Refused) -> Refused:
        """A refusal of a step, as the request is told."""
        step = said(self._bound.pipeline, stage.step)
        first = refused.diagnostics[0]
        told = msgspec.structs.replace(first, message=f"in {step}: {first.message}")
        if isinstance(refused, Overloaded):
            return Overloaded(told, refused.retry_after_s)
        # The client's tensors fitted the pipeline: what a step does not take is not the client's mistake.
        return Refused(msgspec.structs.replace(told, code="FS210") if told.code == "FS205" else told)

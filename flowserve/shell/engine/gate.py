"""Refusing calls before they are made, so cheaply that those which were made do not suffer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flowserve.core.engine.batching import Entry, Refusal
from flowserve.core.engine.overload import explained
from flowserve.core.models.model import ByModel, Model
from flowserve.shell.engine.lanes import Lane, Told

# After so many refusals in a row the loop looks for requests only so often. To be woken for each of them
# takes more of the processor from what runs than refusing does.
_FLOOD = 16
_REST_S = 0.003
# So long, who asks for no less is told the same as the one before.
_STANDS_MS = 1.0
# So long a refusal is worded as before, if it is one for the same reason.
_SAID_MS = 100.0


class Gate:
    """Whether calls may be made. `in_a_row` were refused, with none run between them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lanes: ByModel[Lane],
        now_ms: Callable[[], float],
        rest: Callable[[float], None],
    ) -> None:
        """`rest` holds the loop still for so many seconds at most, if that helps what runs."""
        self._loop = loop
        self._lanes = lanes
        self.now_ms = now_ms
        self._rest_for = rest
        self.in_a_row = 0
        self._will_rest = False

    def check(self, model: Model, rows: int, deadline_ms: float | None, priority: int) -> None:
        """Raise the `Overloaded` that such a call would be told, so that it need not be made."""
        lane, now_ms = self._lanes.of(model), self.now_ms()
        priority = lane.priority(priority)
        due_ms = lane.deadline_ms(deadline_ms, now_ms)
        before = lane.refused
        if not (before and now_ms < before.stands_ms and before.covers(rows, due_ms - now_ms, priority)):
            reason = lane.batcher.refuses(rows, due_ms, priority, now_ms)
            if reason is None:
                return
            entry = Entry(None, rows, None, due_ms, priority)
            told = explained(model.name, Refusal(entry, reason, lane.batcher.wait_ms(now_ms, priority)))
            stands_ms = now_ms + _STANDS_MS if due_ms > now_ms else 0.0
            lane.refused = before = Told(told, reason, rows, due_ms - now_ms, priority, now_ms, stands_ms)
        self._one_more_refused()
        raise before.told.with_traceback(None)

    def told(self, model: Model) -> Told | None:
        """What `check` raised last for a model."""
        return self._lanes.of(model).refused

    def tells_again(self, model: Model, told: Told) -> bool | None:
        """Refuse a call like one that was told so; False where it has to be asked for, None if ever after."""
        now_ms = self.now_ms()
        if now_ms >= told.stands_ms:
            if now_ms >= told.said_ms + _SAID_MS:
                return None
            batcher = self._lanes.of(model).batcher
            reason = batcher.refuses(told.rows, now_ms + told.time_ms, told.priority, now_ms)
            if reason is not told.reason:
                return False
            told.stands_ms = now_ms + _STANDS_MS
        self._one_more_refused()
        return True

    def stay_awake(self) -> None:
        """Hear that there is more to do than to refuse: the loop does not rest for a while."""
        self.in_a_row = 0

    def _one_more_refused(self) -> None:
        self.in_a_row += 1
        if self.in_a_row >= _FLOOD and not self._will_rest:
            self._will_rest = True
            self._loop.call_soon(self._rest)

    def _rest(self) -> None:
        self._will_rest = False
        self._rest_for(_REST_S)

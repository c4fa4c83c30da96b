"""What the wire asks of the engine: a call, and the engine's two verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.arrays import Array
from flowserve.core.engine.tally import Tally
from flowserve.core.models.model import Model
from flowserve.core.models.settings import PRIORITIES

Done = Callable[[list[Array] | Refused], None]

UNSAID = -1
"""The priority of a call whose client asks for none: the model's."""


class Call(msgspec.Struct, eq=False):
    """A request that fits its model: run it, and tell `done` of the outputs or why there are none."""

    model: Model
    feed: dict[str, Array]
    outputs: tuple[str, ...]
    rows: int
    """How many rows it brings: the first dimension of its inputs (`rows_of`)."""
    done: Done
    deadline_ms: float | None = None
    """By when the answer is of use, on the clock of `Engine.now_ms`; None: the model's own."""
    priority: int = UNSAID
    """From 0, which goes first, to `PRIORITIES - 1`, which everything beyond is taken for."""
    queue_ms: float = 0.0
    """How long it waited, and how long it ran, once `done` is told."""
    run_ms: float = 0.0
    run_rows: int = 0
    """And with how many rows, those of others that ran with it among them; 0 where it did not run."""


class Engine(Protocol):
    """Runs calls. Its methods are called on the event loop, and it calls `done` there."""

    def now_ms(self) -> float:
        """Milliseconds of a clock that only goes on, for deadlines."""

    def submit(self, call: Call) -> None:
        """Take a call. Its `done` is called exactly once, maybe before this returns, unless it is cancelled.

        `done` is given what the model refuses (FS205, FS210), and `Overloaded` for what could not be run in
        time or would wait behind too much.
        """

    def tally(self, model: Model) -> Tally:
        """What was counted of a model's calls; who reads and writes their bytes adds those times to it."""

    @property
    def tallies(self) -> Mapping[tuple[str, int], Tally]:
        """What was counted, by name and version."""

    def cancel(self, call: Call) -> None:
        """Drop a call whose client has left: `done` is not called any more. A run that began goes on."""


class Overloaded(Refused):
    """A refusal for which the caller is not to blame; trying again makes sense after `retry_after_s`."""

    def __init__(self, diagnostic: Diagnostic, retry_after_s: int) -> None:
        super().__init__(diagnostic)
        self.retry_after_s = retry_after_s


def priority_of(asked: int) -> int:
    """The engine's priority for the protocol's, where 0 asks for none and 1 goes first."""
    return min(asked, PRIORITIES) - 1 if asked else UNSAID


def rows_of(feed: Mapping[str, Array]) -> int:
    """The first dimension of the first input, 1 for a scalar or a model without inputs."""
    for array in feed.values():
        return int(array.shape[0]) if array.ndim else 1
    return 1

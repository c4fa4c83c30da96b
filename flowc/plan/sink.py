"""Where what an operator logs goes: to the run that it is in, if there is one.

`flowrun` says where in the process that runs an operator; operators log by `flowc.log_metric` and others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Sink(Protocol):
    """Takes what an operator logs."""

    def metric(self, name: str, value: float, step: int | None) -> None:
        """A value of a metric."""

    def note(self, text: str) -> None:
        """Something to be read with the run."""

    def artifact(self, name: str, value: Any) -> None:
        """A small value to be kept with the run."""

    def close(self) -> None:
        """Nothing more is going to be logged."""


_make: Callable[[], Sink] | None = None
_made: Sink | None = None


def begin(make: Callable[[], Sink]) -> None:
    """From now on what is logged goes to a sink, which is made when something is: most log nothing."""
    global _make
    _make = make


def end() -> None:
    """From now on what is logged goes nowhere."""
    global _make, _made
    made, _make, _made = _made, None, None
    if made is not None:
        made.close()


def sink() -> Sink | None:
    """Where what is logged goes; `None` outside of a run."""
    global _made
    if _made is None and _make is not None:
        _made = _make()
    return _made

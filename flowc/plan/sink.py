"""Where what an operator logs goes: to the run that it is in, if there is one.

`flowrun` sets the sink in the process that runs an operator; operators log by `flowc.log_metric` and others.
"""

from __future__ import annotations

from typing import Any, Protocol


class Sink(Protocol):
    """Takes what an operator logs."""

    def metric(self, name: str, value: float, step: int | None) -> None:
        """A value of a metric."""

    def note(self, text: str) -> None:
        """Something to be read with the run."""

    def artifact(self, name: str, value: Any) -> None:
        """A small value to be kept with the run."""


_sinks: list[Sink] = []


def set_sink(sink: Sink | None) -> None:
    """What is logged from now on goes there; nowhere with `None`."""
    _sinks[:] = [] if sink is None else [sink]


def sink() -> Sink | None:
    """Where what is logged goes; `None` outside of a run."""
    return _sinks[-1] if _sinks else None

"""For operators: what they log while they run lands with the run at once.

@operator
def train(data: Table, epochs: int) -> Model:
    log_note(f"{len(data)} rows")
    for epoch in range(epochs):
        loss = step(model, data)
        log_metric("loss", loss, epoch)
    log_artifact("confusion", confusion(model, data))
    return model

Outside of a run, and in processes that an operator starts, nothing is kept; what is no number or no name is
an error there, too.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

from flowc.plan.sink import sink

MAX_NAME = 200  # characters


def log_metric(name: str, value: SupportsFloat, step: int | None = None) -> None:
    """Keep a value of a metric; `step` is your own count. Of very many values as many as a plot can show.

    `flowrun show` plots it, `flowrun runs --where metric.NAME>0.9` finds the run by its last value.
    """
    _demand_name(name)
    number = float(value)
    count = None if step is None else int(step)
    if (to := sink()) is not None:
        to.metric(name, number, count)


def log_note(text: str) -> None:
    """Keep a text, of at most 4,000 characters, to be read with the run."""
    if not isinstance(text, str):
        raise TypeError(f"a note is a `str`, got `{type(text).__name__}`")
    if (to := sink()) is not None:
        to.note(text)


def log_artifact(name: str, value: Any) -> None:
    """Keep a value of any kind that an operator may return, now and under a name. Nobody waits for it."""
    _demand_name(name)
    if (to := sink()) is not None:
        to.artifact(name, value)


def _demand_name(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a name is a `str`, got `{type(name).__name__}`")
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"a name is one line of 1 to {MAX_NAME} characters, got {name[:40]!a}")

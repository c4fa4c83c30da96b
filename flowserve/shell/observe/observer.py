"""Hears of every request that is answered, where somebody wants to: for logs, samples and traces."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from flowserve.core.observe.ended import LINES, Ended, parent_of
from flowserve.core.observe.measures import Logged
from flowserve.core.observe.samples import Exchanged, Sample, sample_line, share_of
from flowserve.core.observe.settings import Observed
from flowserve.shell.observe.outbox import Outbox
from flowserve.shell.observe.rotating import Rotating

_MB = 2**20
_SAMPLES_WAITING_MAX = 256  # with all that they brought
_SPANS_PAUSE_S = 0.5


class Observer:
    """Passes on what is wanted of a request. Lives on the event loop, and waits for nothing."""

    def __init__(self, observed: Observed, version: str, chance: Callable[[], float] = random.random) -> None:
        """`version` is the server's own. Opens no file yet; begins a thread for each that is wanted."""
        self._chance = chance
        self._observed = observed
        self._access = self._samples = self._spans = None
        self._begun = f"{os.getpid():x}{os.urandom(4).hex()}"
        self._numbers = count(1)
        access, samples, traces = observed.access_log, observed.samples, observed.traces
        if access.file:
            file = Rotating(Path(access.file), access.max_mb * _MB, access.files)
            self._access = Outbox("access log", partial(_write, file, LINES[access.format]))
        if samples.file:
            file = Rotating(Path(samples.file), samples.max_mb * _MB, samples.files)
            write = partial(_write, file, partial(sample_line, settings=samples))
            self._samples = Outbox("samples", write, _SAMPLES_WAITING_MAX)
        if traces.endpoint:
            from flowserve.shell.observe.spans import Spans

            self._spans = Outbox("traces", Spans.to(traces.endpoint, version).send, pause_s=_SPANS_PAUSE_S)

    @property
    def logged(self) -> dict[str, Logged]:
        """What became of the records of each log."""
        outboxes = {"access": self._access, "samples": self._samples, "traces": self._spans}
        return {name: outbox.logged for name, outbox in outboxes.items() if outbox is not None}

    def new_id(self) -> str:
        """What a request is called that its client has no name for."""
        return f"{self._begun}-{next(self._numbers)}"

    def ended(self, ended: Ended, exchanged: Exchanged | None = None) -> None:
        """Hear of an answer; `exchanged` is there if a model has answered with outputs."""
        if self._access is not None:
            self._access.put(ended)
        if self._samples is not None and exchanged is not None:
            share = share_of(self._observed.samples, ended.model)
            if share and self._chance() < share:
                self._samples.put(Sample(ended, exchanged), exchanged.bytes)
        if self._spans is not None:
            parent = parent_of(ended.traceparent) if ended.traceparent else None
            if parent.sampled if parent else self._chance() < self._observed.traces.share:
                self._spans.put(ended)

    def close(self) -> None:
        """Write what waits, within seconds."""
        for outbox in (self._access, self._samples, self._spans):
            if outbox is not None:
                outbox.close()


def _write(file: Rotating, render: Callable[[Any], bytes], items: list[Any]) -> None:
    lines: list[bytes] = []
    size = 0
    for item in items:
        lines.append(render(item))
        size += len(lines[-1])
        if size >= _MB:
            file.write(b"".join(lines))
            lines, size = [], 0
    if lines:
        file.write(b"".join(lines))

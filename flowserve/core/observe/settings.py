"""What the configuration says of logs, samples and traces: all off unless it says otherwise."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class AccessLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line a request. Off without a file."""

    file: str = ""
    format: Literal["json", "common"] = "json"
    max_mb: Positive = 100
    """After this a new file is begun."""
    files: Positive = 5
    """How many are kept, the current one among them."""


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some requests with what they brought and got. Off without a file."""

    file: str = ""
    share: Share = 0.01
    """Of the requests of every model that `shares` does not name."""
    shares: dict[str, Share] = {}
    redact: dict[str, list[str]] = {}
    """By model, the inputs whose values are not written; `*` stands for all models, or for all inputs."""
    rows: Positive = 100
    """So many rows of a request are written at most."""
    max_mb: Positive = 100
    files: Positive = 5


class Traces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spans for OpenTelemetry. Off without an endpoint."""

    endpoint: str = ""
    """An OTLP receiver's, over HTTP; `/v1/traces` unless it has a path."""
    share: Share = 0.01
    """Of the requests that are part of no trace; of one that is, the trace says whether it is sampled."""


class Observed(msgspec.Struct, frozen=True):
    """All three."""

    access_log: AccessLog = AccessLog()
    samples: Samples = Samples()
    traces: Traces = Traces()

    @property
    def any(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.access_log.file or self.samples.file or self.traces.endpoint)

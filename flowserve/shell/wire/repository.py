"""The model repository as requests see and change it: what that needs of the server around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowc.plan.exposition import exposition
from flowserve.core.engine.calls import Engine
from flowserve.core.observe.measures import ModelMeasure, ProcessMeasure, ServerMeasure, measured
from flowserve.core.observe.metrics import metrics
from flowserve.core.observe.statistics import ModelStatistics, statistics
from flowserve.core.wire.coding import packed
from flowserve.shell.models.serving import Serving

Done = Callable[[Refused | None], None]
"""Called exactly once, on the event loop: with nothing when it is done, or with why not."""
Counted = Callable[[Sequence[ModelStatistics]], None]
"""Called exactly once, on the event loop."""
Exposed = Callable[[bytes], None]
"""Called exactly once, on the event loop."""


class Indexed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version in the repository index. `state` is READY, LOADING, UNLOADING, UNAVAILABLE or UNKNOWN."""

    name: str
    version: str
    state: str
    reason: str = ""


class Repository(Protocol):
    """The models, as requests may see and change them."""

    def index(self) -> Sequence[Indexed]:
        """Return every version that is known, loaded or not, by name and version."""

    def load(self, name: str, parameters: Mapping[str, str | int | float | bool], done: Done) -> None:
        """Load a model, or load it again as it is on disk now. Refuses FS107, or FS230."""

    def unload(self, name: str, dependents: bool, done: Done) -> None:
        """Stop serving a model, and with `dependents` what is made of it. Refuses FS107, or FS230."""

    def statistics(self, name: str, version: str, done: Counted) -> None:
        """Tell what was counted: of all models, of all versions of one, or of one version.

        Raises `Refused` FS202.
        """

    def metrics(self, stages: bool, openmetrics: bool, done: Exposed) -> None:
        """Tell all that is counted, as text for Prometheus, packed with gzip."""


class FixedRepository:
    """The repository of a server whose models do not change while it runs."""

    def __init__(self, models: Serving, engine: Engine) -> None:
        self._models = models
        self._engine = engine

    def index(self) -> list[Indexed]:
        """Return what was loaded at the start."""
        keys = [version.key for version in self._models.table]
        return [Indexed(key.name, str(key.version), "READY") for key in keys]

    def load(self, name: str, parameters: Any, done: Done) -> None:
        """Refuse FS230."""
        refuse("FS230", "this server's models are those it was started with")

    def unload(self, name: str, dependents: bool, done: Done) -> None:
        """Refuse FS230."""
        refuse("FS230", "this server's models are those it was started with")

    def statistics(self, name: str, version: str, done: Counted) -> None:
        """Tell what the engine has counted. Raises `Refused` FS202."""
        done(statistics(self._models.table.keys(name, version), self._measured()))

    def metrics(self, stages: bool, openmetrics: bool, done: Exposed) -> None:
        """Tell what the engine has counted."""
        process = ProcessMeasure(os.getpid())
        server = ServerMeasure("", 0.0, 0, 0, {}, {"0": process}, process, self._measured())
        done(packed(exposition(metrics(server, stages), openmetrics).encode(), "gzip"))

    def _measured(self) -> list[ModelMeasure]:
        return [measured(*key, tally) for key, tally in sorted(self._engine.tallies.items())]

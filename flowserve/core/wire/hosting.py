"""What the extensions of the protocol need of the server around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.statistics import ModelStatistics

Done = Callable[[Refused | None], None]
"""Called exactly once, on the event loop: with nothing when it is done, or with why not."""


Counted = Callable[[Sequence[ModelStatistics]], None]
"""Called exactly once, on the event loop."""


Exposed = Callable[[bytes], None]
"""Called exactly once, on the event loop."""


class Indexed(msgspec.Struct, frozen=True):
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

"""A published version as a process knows it.

The same one stands in every table that has it. Its model may come and go, where models are loaded when they
are asked for.
"""

from __future__ import annotations

from typing import NoReturn

from flowc.plan.diagnostics import Refused
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model


class Version:
    """A version and, while it is loaded, its model. `uses` counts what was resolved to it.

    `members` are those that the steps of a pipeline run, or why there are none.
    """

    __slots__ = ("evictions", "key", "load_ms", "loads", "members", "model", "tier", "uses")

    def __init__(self, key: Key, model: Model | None = None, tier: int = 1) -> None:
        self.key = key
        self.model = model
        self.tier = tier
        self.uses = 0
        self.loads = self.evictions = 0
        self.load_ms = 0.0
        self.members: tuple[Version, ...] | Refused = ()

    def absent(self) -> NoReturn:
        """Say that there is no model to run. Raises `Cold`."""
        raise Cold(self)


class Cold(Exception):
    """A version that is served but not in memory: whoever asked for it has to have it loaded."""

    def __init__(self, version: Version) -> None:
        self.version = version
        super().__init__(str(version.key))

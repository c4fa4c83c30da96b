"""Where a rollout parts the requests for an alias, as a process has it."""

from __future__ import annotations

from typing import NoReturn

from msgspec.structs import replace

from flowserve.core.catalog.version import Version
from flowserve.core.models.model import Model
from flowserve.core.rollout.evidence import Evidence
from flowserve.core.rollout.plan import Rollout
from flowserve.core.rollout.sides import Side, forced_side, position, side


class Split:
    """Stands in a table in the place of a version. `evidence` is what this process has seen."""

    __slots__ = (
        "_twin",
        "alias",
        "candidate",
        "evidence",
        "halted",
        "model",
        "name",
        "rollout",
        "stable",
        "uses",
    )

    def __init__(
        self, name: str, alias: str, rollout: Rollout, stable: Version, candidate: Version, evidence: Evidence
    ) -> None:
        self.name = name
        self.alias = alias
        self.rollout = rollout
        self.stable = stable
        self.candidate = candidate
        self.evidence = evidence
        self.model = None
        """None always, as of a version that is not in memory: so that requests without a rollout are
        resolved as fast as if there were none."""
        self.uses = 0
        self.halted = False
        """The candidate gets nothing more, not even what a header sends there: it will be rolled back."""
        self._twin: tuple[Model, Model] | None = None

    def absent(self) -> NoReturn:
        """Say that there is more to know before a model is run. Raises `Undecided`."""
        raise Undecided(self)

    def twin(self, model: Model) -> Model:
        """The candidate's model once more: its shadow calls are queued and counted apart from the others."""
        if self._twin is None or self._twin[0] is not model:
            self._twin = model, replace(model, name=f"{model.name} (shadow)")
        return self._twin[1]

    def choose(self, header: str, key: str, drawn: float) -> tuple[Side, bool]:
        """The side of a request, and whether that was forced, which makes it no sample.

        `drawn` is a number from 0 up to 1.
        """
        if self.halted:
            return "stable", True
        if header and (forced := forced_side(header)):
            return forced, True
        rollout = self.rollout
        at = position(self.name, self.alias, rollout.candidate, key) if key else drawn * 100
        return side(rollout, at), False


class Undecided(Exception):
    """The answer to a request depends on more than the name: whoever asked has to say it."""

    def __init__(self, split: Split) -> None:
        self.split = split
        super().__init__(f"{split.name}@{split.alias}")

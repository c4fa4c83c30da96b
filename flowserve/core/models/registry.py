"""The models that a server has, by name and version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from flowc.plan.diagnostics import refuse
from flowserve.core.models.signature import Signature
from flowserve.core.wording import cut, listed

Run = Callable[[Mapping[str, Any], Sequence[str]], list[Any]]
"""From a numpy array for every input, and the names of outputs, to those outputs in that order."""


class Model(msgspec.Struct, frozen=True, weakref=True):
    """One loaded version of a model. `run` raises `Refused` FS205 or FS210 when the model fails."""

    name: str
    version: int
    signature: Signature
    run: Run


class Registry:
    """Names to versions to models; the latest version is the highest. Does not change once made."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models: dict[str, dict[str, Model]] = {}
        for model in sorted(models, key=lambda model: (model.name, model.version)):
            self._models.setdefault(model.name, {})[str(model.version)] = model
        self._latest = {name: list(versions.values())[-1] for name, versions in self._models.items()}

    def __iter__(self) -> Iterator[Model]:
        """By name, then version."""
        return (model for versions in self._models.values() for model in versions.values())

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, lowest first. Raises `Refused` FS202 where there is none."""
        return list(self._named(name))

    def get(self, name: str, version: str = "") -> Model:
        """Return a model, the latest version unless one is named.

        Raises `Refused` FS202, which lists what there is.
        """
        if not version and (latest := self._latest.get(name)):
            return latest
        versions = self._named(name)
        if version not in versions:
            refuse(
                "FS202", f"model `{name}` has no version `{cut(version)}`; it has {listed(list(versions))}"
            )
        return versions[version]

    def _named(self, name: str) -> dict[str, Model]:
        if name not in self._models:
            refuse("FS202", f"there is no model `{cut(name)}`; the server has {listed(list(self._models))}")
        return self._models[name]

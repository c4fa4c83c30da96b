"""What a server has of models: every version, whether it serves, and the names and rollouts that it has."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowserve.core.models.key import Key
from flowserve.core.rollout.plan import Rollout

State = Literal["known", "loading", "ready", "failed", "leaving"]
"""`known`: on disk, and not served because somebody unloaded it. `loading` may still serve older bytes of the
same version. `leaving`: still serves, and no longer does once what loads beside it is ready."""


class Entry(msgspec.Struct, frozen=True):
    """A version. `serving` is the stamp of the bytes that take traffic ("" for none), `stamp` of those on
    disk ("" when they are gone); `reason` says why the bytes on disk are not the ones that serve."""

    state: State
    stamp: str
    serving: str = ""
    reason: str = ""
    needs: tuple[str, ...] = ()
    """Of a pipeline, what its steps run: names, or NAME@VERSION or NAME@ALIAS."""


class Named(msgspec.Struct, frozen=True):
    """A model: its versions, aliases, and rollouts of aliases. An alias names a version that serves, or one
    that failed where no other could keep it."""

    versions: dict[int, Entry] = {}
    aliases: dict[str, int] = {}
    rollouts: dict[str, Rollout] = {}


class Catalog(msgspec.Struct, frozen=True):
    """All models by name. `generation` grows whenever what is served changes."""

    models: dict[str, Named] = {}
    generation: int = 0

    def serving(self) -> list[Key]:
        """The versions that take traffic, by name and version."""
        return [
            Key(name, number, entry.serving)
            for name, named in sorted(self.models.items())
            for number, entry in sorted(named.versions.items())
            if entry.serving
        ]

    def aliases(self) -> dict[str, dict[str, int]]:
        """The aliases of every model that has some."""
        return {name: dict(named.aliases) for name, named in sorted(self.models.items()) if named.aliases}

    def failed(self) -> dict[str, dict[int, str]]:
        """Why versions do not serve that should, of every model that has some."""
        found: dict[str, dict[int, str]] = {}
        for name, named in sorted(self.models.items()):
            for number, entry in sorted(named.versions.items()):
                if entry.state == "failed":
                    found.setdefault(name, {})[number] = entry.reason
        return found

    def rollouts(self) -> dict[str, dict[str, Rollout]]:
        """The rollouts of every model that has some, by alias."""
        return {name: dict(named.rollouts) for name, named in sorted(self.models.items()) if named.rollouts}

"""What names a version of a model. Light, since the supervisor imports it and numpy it does not."""

from __future__ import annotations

import msgspec


class Key(msgspec.Struct, frozen=True, order=True):
    """Names the bytes of one version: `stamp` differs when its files do."""

    name: str
    version: int
    stamp: str = ""

    def __str__(self) -> str:
        """`version 7 of model `iris``."""
        return f"version {self.version} of model `{self.name}`"

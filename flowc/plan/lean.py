"""Importing no more than is needed: every command waits for it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:  # as `random` does: hashlib loads OpenSSL, which takes longer than all hashes of a plan
        from _sha2 import sha256
    except ImportError:
        try:
            from _sha256 import sha256  # Python 3.11
        except ImportError:
            from hashlib import sha256

__all__ = ["import_argparse", "import_msgspec", "import_pathlib", "sha256"]


def import_msgspec() -> None:
    """Import msgspec without typing_extensions and `platform`, where nobody has imported those yet.

    msgspec asks for `get_type_hints` of the former first, and takes that of `typing` where it is not
    installed: for the Pythons that are supported here, both do the same. But it brings `inspect`, `ast` and
    `tokenize` along, which takes longer than msgspec itself. Of `platform`, `uuid` wants the system's name.
    """
    if "msgspec" in sys.modules:
        return
    platform = ModuleType("platform")
    vars(platform)["system"] = lambda: os.uname().sysname
    # `None` is how Python marks what is not there.
    with _instead_of("typing_extensions", None), _instead_of("platform", platform):
        import msgspec  # noqa: F401


def import_argparse() -> ModuleType:
    """Import argparse without `gettext` and what that imports, where nobody has: its texts stay English."""
    gettext = ModuleType("gettext")
    vars(gettext)["gettext"] = lambda text: text
    vars(gettext)["ngettext"] = lambda one, many, count: one if count == 1 else many
    with _instead_of("gettext", gettext):
        import argparse
    return argparse


def import_pathlib() -> None:
    """Import pathlib without `urllib.parse`, which only `Path.as_uri` needs, and has then."""

    def quote_from_bytes(name: bytes) -> str:
        from urllib.parse import quote_from_bytes

        return quote_from_bytes(name)

    parse = ModuleType("urllib.parse")
    vars(parse)["quote_from_bytes"] = quote_from_bytes
    with _instead_of("urllib.parse", parse):
        import pathlib  # noqa: F401


@contextlib.contextmanager
def _instead_of(name: str, module: ModuleType | None) -> Iterator[None]:
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]

"""Importing no more than is needed: every command waits for it."""

from __future__ import annotations

import sys
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

__all__ = ["import_msgspec", "sha256"]


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, where nobody has imported that yet.

    msgspec asks for its `get_type_hints` first, and takes that of `typing` where it is not installed: for the
    Pythons that are supported here, both do the same. But it brings `inspect`, `ast` and `tokenize` along,
    which takes longer than msgspec itself.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment] # as Python marks what is not there
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]

"""How the hash of an operator's code follows from the hashes of its parts."""

from __future__ import annotations

from collections.abc import Mapping

from flowc.plan.lean import sha256


def combined(parts: Mapping[str, str]) -> str:
    """16 hex digits of SHA-256 over a line `NAME HASH` for each part, sorted by name."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(parts.items()))
    return sha256(lines.encode()).hexdigest()[:16]

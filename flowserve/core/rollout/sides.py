"""Which side of a rollout a request gets."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

from flowserve.core.rollout.plan import Rollout

Side = Literal["stable", "candidate"]
_FORCED: dict[str, Side] = {"always": "candidate", "never": "stable"}


def forced_side(header: str) -> Side | None:
    """The side that a header's value forces, None for any other value."""
    return _FORCED.get(header.strip().lower())


def position(name: str, alias: str, candidate: int, key: str) -> float:
    """Where a key stands, from 0 up to 100: it is the candidate's where that is below the share.

    So a key that has gone over stays there as the share grows; and it is not always the same keys that try
    what is new, since every candidate has its own order. BLAKE2b with 8 bytes, as a big-endian number.
    """
    text = f"{name}@{alias}/{candidate}:{key}"
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()) / 2**64 * 100


def side(rollout: Rollout, at: float) -> Side:
    """The side of a request at a position, or a number drawn from 0 up to 100."""
    return "candidate" if at < rollout.share else "stable"

"""Times and sizes as people write and read them."""

from __future__ import annotations

import re

_TIMES_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZES_MB = {"mb": 1, "mib": 1, "gb": 1024, "gib": 1024, "tb": 1024**2, "tib": 1024**2}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def duration_ms(text: str) -> int | None:
    """`2h`, `1.5 h`, `1h 30min`, `90` (seconds) in milliseconds; `None` if it is nothing of that."""
    return _sum(text, _TIMES_MS, "s")


def size_mb(text: str) -> int | None:
    """`64GB`, `1 TiB`, `512` (MB) in megabytes; `None` if it is nothing of that."""
    return _sum(text, _SIZES_MB, "mb")


def _sum(text: str, units: dict[str, int], bare: str) -> int | None:
    total, at = 0.0, 0
    while at < len(text) or not text:
        part = _PART.match(text, at)
        if part is None or (part[2].lower() or bare) not in units:
            return None
        total += float(part[1]) * units[part[2].lower() or bare]
        at = part.end()
    return round(total) if total < 2**53 else None


def duration(ms: float) -> str:
    """A time in two units at most: `840 ms`, `7.71 s`, `3 min 20 s`, `4 h 17 min`, `2 d 3 h`."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s" if ms < 9_995 else f"{ms / 1000:.1f} s"
    for unit, smaller, big, small, limit in _PAIRS:
        if ms < limit:
            high, low = divmod(round(ms / small), big // small)
            return f"{high} {unit} {low} {smaller}" if low else f"{high} {unit}"
    return f"{ms / 86_400_000:.0f} d"


_PAIRS = (
    ("min", "s", 60_000, 1000, 3_599_500),
    ("h", "min", 3_600_000, 60_000, 172_770_000),
    ("d", "h", 86_400_000, 3_600_000, 8_640_000_000),
)


def moment(ms: float) -> str:
    """A round time for an axis, in one unit: `0`, `200 ms`, `5 s`, `1.5 h`, `70 min`."""
    for unit, of in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if ms >= of and (unit == "s" or abs(2 * ms / of - round(2 * ms / of)) < 1e-6):
            return f"{ms / of:.3g} {unit}"
    return f"{ms:g} ms" if ms else "0"


def size(mb: float) -> str:
    """`512 MB`, `23.5 GB`, `1 TB`."""
    for unit, of in (("TB", 1024**2), ("GB", 1024)):
        if mb >= of:
            return f"{mb / of:.4g} {unit}"
    return f"{mb:g} MB"


def share(part: float) -> str:
    """`76 %`."""
    return f"{100 * part:.0f} %"
